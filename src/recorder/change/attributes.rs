//! Changes of attributes and extended attributes.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use crate::backing::{self, Attr, Errno, Times, XattrFlags};
use crate::event::{Event, Op, Seq};

use super::super::catalog::Catalog;
use super::super::look::{TOUCHES_MAX, Touch};
use super::super::{Located, Scope};
use super::{Change, modified, touched};

/// chmod(2), chown(2), utimensat(2), in any combination the kernel sends in one request.
pub struct SetAttributes<'a> {
    /// The entry.
    pub entry: &'a dyn Located,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Times.
    pub times: Times,
}

impl Change for SetAttributes<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Setattr
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Entry(self.entry, None)), None]
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        let entry = self.entry.descriptor()?;
        let nothing_else =
            self.mode.is_none() && self.times.atime.is_none() && self.times.mtime.is_none();
        // A chown of nothing still updates the change time and may drop set-id bits, as the call does natively.
        if self.uid.is_some() || self.gid.is_some() || nothing_else {
            backing::set_owner(entry.as_fd(), self.uid, self.gid)?;
        }
        if let Some(mode) = self.mode {
            backing::set_mode(entry.as_fd(), mode)?;
        }
        if self.times.atime.is_some() || self.times.mtime.is_some() {
            backing::set_times(entry.as_fd(), self.times)?;
        }
        backing::attr_of(entry.as_fd())
    }

    fn describe(&self, done: &Attr) -> Event {
        modified(Op::Setattr, self.entry, done)
    }

    fn follow(&self, done: &Attr, seq: Seq, catalog: &Catalog) {
        touched(done, true, seq, catalog);
    }
}

/// setxattr(2), ACLs among them.
pub struct SetXattr<'a> {
    /// The entry.
    pub entry: &'a dyn Located,
    /// Name of the attribute.
    pub name: &'a OsStr,
    /// Its value.
    pub value: &'a [u8],
    /// Whether it must or must not exist.
    pub flags: XattrFlags,
}

impl Change for SetXattr<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Setxattr
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Entry(self.entry, None)), None]
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        let entry = self.entry.descriptor()?;
        backing::set_xattr(entry.as_fd(), self.name, self.value, self.flags)?;
        backing::attr_of(entry.as_fd())
    }

    fn describe(&self, done: &Attr) -> Event {
        modified(Op::Setxattr, self.entry, done)
    }

    fn follow(&self, done: &Attr, seq: Seq, catalog: &Catalog) {
        touched(done, true, seq, catalog);
    }
}

/// removexattr(2).
pub struct RemoveXattr<'a> {
    /// The entry.
    pub entry: &'a dyn Located,
    /// Name of the attribute.
    pub name: &'a OsStr,
}

impl Change for RemoveXattr<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Removexattr
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Entry(self.entry, None)), None]
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        let entry = self.entry.descriptor()?;
        backing::remove_xattr(entry.as_fd(), self.name)?;
        backing::attr_of(entry.as_fd())
    }

    fn describe(&self, done: &Attr) -> Event {
        modified(Op::Removexattr, self.entry, done)
    }

    fn follow(&self, done: &Attr, seq: Seq, catalog: &Catalog) {
        touched(done, true, seq, catalog);
    }
}
