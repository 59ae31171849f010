//! Every change there is. A type here gives both the call and its event, so they cannot disagree.

mod attributes;
mod data;
mod entries;
mod moves;
mod restore;
mod versions;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use crate::backing::{Attr, Errno};
use crate::event::{Access, Event, EventType, Op, Seq, Source};
use crate::event_log::Purpose;

use super::catalog::{Catalog, Hash, State};
use super::keep::{Ahead, Destroyed};
use super::look::{TOUCHES_MAX, Touch};
use super::{Located, Scope};

pub use attributes::{RemoveXattr, SetAttributes, SetXattr};
pub use data::{Copy, Fallocate, Truncate, Write, Written};
pub use entries::{Create, Link, Made, Mkdir, Mknod, Symlink, UmaskedMode};
pub use moves::{Exchange, Moved, Removed, Rename, Rmdir, Unlink};
pub use restore::{Restore, Restored, Staged};
pub use versions::{Close, Fsync};

/// One change of the storage.
pub trait Change {
    /// What performing it gives.
    type Done;
    /// What is called.
    fn op(&self) -> Op;
    /// What it must hold.
    fn scope(&self) -> Scope;
    /// Bytes its event's paths have together, at most.
    fn path_bytes(&self) -> usize;
    /// Whether it gives room back, and so goes on for longest on a full disk.
    fn purpose(&self) -> Purpose {
        Purpose::Ordinary
    }
    /// What it touches, and so would cover up if that had changed behind the mount.
    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX];
    /// The call itself.
    ///
    /// # Errors
    /// The storage's answer; then nothing has changed.
    fn perform(&mut self) -> Result<Self::Done, Errno>;
    /// Inode number of the entry it made, which nobody could name before.
    fn made(&self, _done: &Self::Done) -> Option<u64> {
        None
    }
    /// Its event, without the caller.
    fn describe(&self, done: &Self::Done) -> Event;
    /// Content that performing it destroys.
    fn destroys(&self) -> Option<Destroyed<'_>> {
        None
    }
    /// Is told the hash of what it destroys, before it is performed.
    fn remember(&self, _before: Option<Hash>) {}
    /// The file whose content, as it is after, is a version of its own.
    fn leaves<'a>(&'a self, _done: &'a Self::Done) -> Option<(BorrowedFd<'a>, &'a Attr)> {
        None
    }
    /// That content, read before the entry was locked.
    fn ahead(&self) -> Option<&Ahead> {
        None
    }
    /// The bytes it put into a file.
    fn data<'a>(&'a self, _done: &Self::Done) -> Option<Cow<'a, [u8]>> {
        None
    }
    /// An entry that took its content along to another name.
    fn carries<'a>(&self, _done: &'a Self::Done) -> Option<&'a Attr> {
        None
    }
    /// The entry that went the other way.
    fn swaps<'a>(&self, _done: &'a Self::Done) -> Option<&'a Attr> {
        None
    }
    /// The catalog follows what was done and recorded at `seq`.
    fn follow(&self, done: &Self::Done, seq: Seq, catalog: &Catalog);
}

/// An entry is `attr` now; its content is the same as before, or not.
fn touched(attr: &Attr, same_content: bool, seq: Seq, catalog: &Catalog) {
    let key = catalog.key_of(&attr.identity);
    if let Some(before) = catalog.state(key)
        && before.is_of(attr)
    {
        let hash = before.hash.filter(|_| same_content);
        catalog.set(&State::of(attr, hash, seq));
    }
}

/// Key of a directory.
fn key(dir: &dyn Located, catalog: &Catalog) -> u64 {
    catalog.key_of(&dir.identity())
}

/// Path of `name` in `dir`.
#[must_use]
pub fn join(dir: &dyn Located, name: &OsStr) -> Vec<u8> {
    let mut path = dir.path();
    if path == b"." {
        path.clear();
    } else {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    path
}

/// An event seen as a system call on the mount.
fn seen(event_type: EventType, op: Op, path: Vec<u8>) -> Event {
    Event {
        src_path: Some(path),
        ..Event::new(event_type, Some(op), Source::Mount)
    }
}

/// What an entry is, and who might do what with it.
fn access(attr: &Attr) -> Access {
    Access {
        mode: attr.kind.as_raw_mode() | attr.perm,
        uid: attr.uid,
        gid: attr.gid,
    }
}

/// The event of changed content or attributes.
fn modified(op: Op, entry: &dyn Located, attr: &Attr) -> Event {
    Event {
        ino: Some(attr.identity.ino),
        size: Some(attr.size),
        is_directory: attr.is_directory(),
        ..seen(EventType::Modified, op, entry.path())
    }
}
