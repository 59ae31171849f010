//! Durable consumers on disk: one file `NAME.json` each, replaced as a whole and synced before anyone is answered.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::DaemonError;
use super::store::Store;
use crate::control::{Consumers, Shelf};

/// What every consumer's file ends with.
const SUFFIX: &str = ".json";
/// What the next text of a consumer ends with until it takes the place of the last one.
const NEW_SUFFIX: &str = ".new";
/// Longest text of a consumer: the largest filter and its place.
const TEXT_BYTES_MAX: u64 = 128 * 1024;

/// The consumers of a store.
pub(super) fn consumers(store: &Store) -> Result<Consumers, DaemonError> {
    let failed = DaemonError::io("consumers", "see the disk and the limit on open files");
    let dir = store.consumers_dir.try_clone();
    dir.and_then(|dir| Consumers::load(Box::new(DirShelf(dir))))
        .map_err(failed)
}

/// The directory that holds them.
struct DirShelf(OwnedFd);

impl DirShelf {
    fn read(&self, name: &OsStr) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = std::fs::File::from(openat(&self.0, name, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Shelf for DirShelf {
    fn load(&self) -> io::Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(file) = entry.file_name().to_str() else {
                continue;
            };
            if let Some(name) = file.strip_suffix(SUFFIX) {
                all.push((name.to_owned(), self.read(OsStr::new(file))?));
            }
        }
        all.sort();
        Ok(all)
    }

    fn save(&self, name: &str, text: &str) -> io::Result<()> {
        let (place, new) = (format!("{name}{SUFFIX}"), format!("{name}{NEW_SUFFIX}"));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.0, &new, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = std::fs::File::from(fd);
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        renameat(&self.0, &new, &self.0, &place)?;
        Ok(fsync(self.0.as_fd())?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, format!("{name}{SUFFIX}"), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(fsync(self.0.as_fd())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = DirShelf(std::fs::File::open(dir.path()).unwrap().into());
        shelf.save("a", "1").unwrap();
        shelf.save("a", "2").unwrap();
        shelf.save("b.c", "3").unwrap();
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(shelf.load().unwrap(), [pair("a", "2"), pair("b.c", "3")]);
        shelf.remove("a").unwrap();
        shelf.remove("a").unwrap();
        assert_eq!(shelf.load().unwrap(), [pair("b.c", "3")]);
    }
}
