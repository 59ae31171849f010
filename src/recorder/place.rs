//! How a change names what it touches, without knowing who keeps the names.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::backing::{Errno, Identity};

/// An entry of the storage as the owner of names knows it. Asked under the change's locks, where the answers hold.
pub trait Located: Send + Sync {
    /// What it is.
    fn identity(&self) -> Identity;
    /// What its lock is keyed by. The inode number, so that everyone who finds the entry on the disk, by whatever
    /// name, takes the same lock; two filesystems may share a number, and then a lock.
    fn lock_key(&self) -> u64 {
        self.identity().ino
    }
    /// Where it stands, relative to the storage root; `.` for the root itself; for an entry without a name any
    /// more, the last one it had.
    fn path(&self) -> Vec<u8>;
    /// A descriptor that stands for it.
    ///
    /// # Errors
    /// ESTALE when it is no longer where it was last seen.
    fn descriptor(&self) -> Result<Descriptor, Errno>;
}

/// A descriptor that is kept by someone, or opened for this use.
#[derive(Debug, Clone)]
pub enum Descriptor {
    /// Kept elsewhere too.
    Shared(Arc<OwnedFd>),
    /// Closed after this use.
    Own(Arc<OwnedFd>),
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Shared(fd) | Descriptor::Own(fd) => fd.as_fd(),
        }
    }
}
