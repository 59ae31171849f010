//! The storage as it is now, for the control directory: told from the catalog, changed through the filesystem.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use crate::backing::{self, FileType};
use crate::control::{EntryKind, Present, PresentEntry, Returned};
use crate::event::{Caller, Seq};
use crate::recorder::{Catalog, Located as _, OBJECT_BYTES_MAX_MAX};
use crate::vfs::{Past, Vfs};

/// The present of one mount.
pub(super) struct Now(pub(super) Arc<Vfs>);

impl Now {
    fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.0.recorder().catalog()
    }

    fn key_of(&self, path: &[u8]) -> Option<u64> {
        let catalog = self.catalog()?;
        let names = path.split(|byte| *byte == b'/');
        names
            .filter(|name| *name != b".")
            .try_fold(catalog.root(), |dir, name| catalog.child(dir, name))
    }

    fn untouched(&self, key: u64, not_after: Seq) -> bool {
        let state = self.catalog().and_then(|catalog| catalog.state(key));
        state.is_some_and(|state| state.seq <= not_after)
    }
}

impl Present for Now {
    fn live(&self, path: &[u8], not_after: Seq) -> io::Result<Option<Vec<u8>>> {
        let Some(key) = self
            .key_of(path)
            .filter(|key| self.untouched(*key, not_after))
        else {
            return Ok(None);
        };
        let Some(place) = self.0.recorder().place(key) else {
            return Ok(None);
        };
        let entry = place.descriptor()?;
        let attr = backing::attr_of(entry.as_fd())?;
        let content = match attr.kind {
            FileType::Symlink => backing::readlink(entry.as_fd())?,
            FileType::RegularFile if attr.size <= OBJECT_BYTES_MAX_MAX => {
                let file = backing::reopen_quietly(entry.as_fd())?;
                let mut content = vec![0; usize::try_from(attr.size).unwrap_or_default()];
                let read = backing::read_at(file.as_fd(), 0, &mut content)?;
                content.truncate(read);
                content
            }
            _ => return Ok(None),
        };
        Ok(self.untouched(key, not_after).then_some(content))
    }

    fn entries(&self) -> Vec<PresentEntry> {
        let Some(catalog) = self.catalog() else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        let mut open = vec![(catalog.root(), Vec::new())];
        while let Some((dir, path)) = open.pop() {
            for (name, key) in catalog.names(dir) {
                let Some(state) = catalog.state(key) else {
                    continue;
                };
                let below = if path.is_empty() {
                    name
                } else {
                    [path.as_slice(), b"/", &name].concat()
                };
                let kind = match state.kind() {
                    FileType::Directory => EntryKind::Directory,
                    FileType::Symlink => EntryKind::Symlink,
                    _ => EntryKind::File,
                };
                entries.push(PresentEntry {
                    path: below.clone(),
                    kind,
                    size: state.size,
                    seq: state.seq,
                });
                if kind == EntryKind::Directory {
                    open.push((key, below));
                }
            }
        }
        entries
    }

    fn room(&self) -> u64 {
        let figures = self.0.statfs();
        figures.map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
    }

    fn put_back(&self, path: &[u8], what: &Returned<'_>, caller: &Arc<Caller>) -> io::Result<()> {
        let hash = *blake3::hash(what.content).as_bytes();
        let past = match what.kind {
            EntryKind::File => Past::File(what.content, hash),
            EntryKind::Symlink => Past::Link(what.content, hash),
            EntryKind::Directory => Past::Directory,
        };
        let put = self.0.put_back(path, (past, what.at), what.access, caller);
        put.map_err(|error| io::Error::other(error.to_string()))
    }

    fn take_away(&self, path: &[u8], caller: &Arc<Caller>) -> io::Result<()> {
        let name = OsStr::from_bytes(path);
        log::debug!("{} is taken away as asked", name.display());
        let taken = self.0.take_away(path, caller);
        taken.map_err(|error| io::Error::other(error.to_string()))
    }
}
