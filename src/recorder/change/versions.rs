//! The moments at which a content is a version: the writer is through with it, or asked for it to be durable. Nothing is
//! done to the storage.

use std::os::fd::{AsFd, BorrowedFd};

use crate::backing::{self, Attr, Errno};
use crate::event::{Event, EventType, Op, Seq};
use crate::event_log::Purpose;

use super::super::catalog::Catalog;
use super::super::keep::{Ahead, Before};
use super::super::look::{TOUCHES_MAX, Touch};
use super::super::{Located, Scope};
use super::{Change, modified};

/// close(2) of a handle that was written.
pub struct Close<'a> {
    /// The file's entry.
    pub entry: &'a dyn Located,
    /// The file.
    pub file: &'a dyn AsFd,
    /// Number of the handle.
    pub handle: u64,
    /// The content before the handle was written.
    pub before: &'a Before,
    /// Its content, where that was read before the entry was locked.
    pub ahead: Option<Ahead>,
}

impl Change for Close<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Close
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn purpose(&self) -> Purpose {
        // What was written is already recorded; a full disk must not keep its end from being said.
        Purpose::Freeing
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [None, None]
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        backing::attr_of(self.file.as_fd())
    }

    fn describe(&self, done: &Attr) -> Event {
        Event {
            event_type: EventType::Closed,
            handle: Some(self.handle),
            prev_blake3: self.before.hash(),
            ..modified(Op::Close, self.entry, done)
        }
    }

    fn leaves<'b>(&'b self, done: &'b Attr) -> Option<(BorrowedFd<'b>, &'b Attr)> {
        Some((self.file.as_fd(), done))
    }

    fn ahead(&self) -> Option<&Ahead> {
        self.ahead.as_ref()
    }

    fn follow(&self, _done: &Attr, _seq: Seq, _catalog: &Catalog) {
        // Nothing was done: what differs from the catalog now happened behind the mount.
    }
}

/// fsync(2) of a handle that was written.
pub struct Fsync<'a> {
    /// The file's entry.
    pub entry: &'a dyn Located,
    /// The file.
    pub file: &'a dyn AsFd,
    /// Number of the handle.
    pub handle: u64,
    /// The content before the handle was written.
    pub before: &'a Before,
}

impl Change for Fsync<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Fsync
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn purpose(&self) -> Purpose {
        Purpose::Freeing
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [None, None]
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        backing::attr_of(self.file.as_fd())
    }

    fn describe(&self, done: &Attr) -> Event {
        Event {
            handle: Some(self.handle),
            prev_blake3: self.before.hash(),
            ..modified(Op::Fsync, self.entry, done)
        }
    }

    fn leaves<'b>(&'b self, done: &'b Attr) -> Option<(BorrowedFd<'b>, &'b Attr)> {
        Some((self.file.as_fd(), done))
    }

    fn follow(&self, _done: &Attr, _seq: Seq, _catalog: &Catalog) {
        // Nothing was done.
    }
}
