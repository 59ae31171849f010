//! Reading a directory's names, from any position the filesystem gave out before.

use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, OFlags, RawDir, SeekFrom};

use super::Errno;

/// Bytes read from the storage at once: enough for the largest reply the kernel asks for.
const BUFFER_BYTES: usize = 32 * 1024;

/// One name of a directory.
#[derive(Debug, Clone)]
pub struct DirEntry {
    /// The name, `.` and `..` among them.
    pub name: OsString,
    /// Inode number as the directory says it.
    pub ino: u64,
    /// Type, `Unknown` where the filesystem does not say.
    pub kind: FileType,
    /// Position after this name.
    pub next: u64,
}

/// An open directory with its reading position.
pub struct DirReader {
    fd: OwnedFd,
    position: u64,
}

impl DirReader {
    /// Opens the directory that `dir` stands for.
    ///
    /// # Errors
    /// As openat(2).
    pub fn open(dir: BorrowedFd<'_>) -> Result<DirReader, Errno> {
        let fd = super::open_entry(dir, OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(DirReader { fd, position: 0 })
    }

    /// Hands the names from `position` on to `take` until it says `false` or the directory ends.
    ///
    /// # Errors
    /// As getdents64(2), lseek(2).
    pub fn read(
        &mut self,
        position: u64,
        mut take: impl FnMut(DirEntry) -> bool,
    ) -> Result<(), Errno> {
        if position != self.position {
            rustix::fs::seek(&self.fd, SeekFrom::Start(position))?;
            self.position = position;
        }
        let mut buffer = [MaybeUninit::<u8>::uninit(); BUFFER_BYTES];
        let mut names = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = names.next() {
            let entry = entry?;
            let next = entry.next_entry_cookie();
            let found = DirEntry {
                name: OsStr::from_bytes(entry.file_name().to_bytes()).to_owned(),
                ino: entry.ino(),
                kind: entry.file_type(),
                next,
            };
            if !take(found) {
                // The kernel has read past this name; the next call seeks back to it.
                self.position = u64::MAX;
                return Ok(());
            }
            self.position = next;
        }
        Ok(())
    }
}

impl AsFd for DirReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
