//! Changes of names: what comes.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::backing::{self, AsCaller, Attr, Errno, FileType, OFlags};
use crate::event::{Event, EventType, Op, Seq};

use super::super::catalog::{Catalog, State};
use super::super::look::{TOUCHES_MAX, Touch};
use super::super::{Located, Scope};
use super::{Change, join, key, seen};

/// Mode and mask of an entry to make, and whom it will belong to.
#[derive(Clone, Copy, Debug)]
pub struct UmaskedMode {
    /// Permission bits as the caller gave them.
    pub mode: u32,
    /// The caller's mask; a default ACL of the directory takes its place.
    pub umask: u32,
    /// Owner.
    pub uid: u32,
    /// Group, unless the directory gives its own.
    pub gid: u32,
}

impl UmaskedMode {
    /// Runs `make` as the caller, then says what was made.
    fn make<T>(self, make: impl FnOnce(u32) -> Result<T, Errno>) -> Result<T, Errno> {
        backing::own_mask(self.umask)?;
        let _caller = AsCaller::new(self.uid, self.gid);
        make(self.mode)
    }
}

/// An entry that was made.
#[derive(Debug)]
pub struct Made {
    /// Its attributes right after.
    pub attr: Attr,
    /// The open file, for a create.
    pub file: Option<OwnedFd>,
}

/// The catalog knows the entry at its new name, with the content it has elsewhere; gives its key.
fn came(at: (&dyn Located, &OsStr), attr: &Attr, seq: Seq, catalog: &Catalog) -> u64 {
    let before = catalog.state(catalog.key_of(&attr.identity));
    let before = before.filter(|state| !state.unsure && state.is_of(attr));
    let hash = before.and_then(|state| state.hash);
    catalog.put(
        key(at.0, catalog),
        at.1.as_bytes(),
        &State::of(attr, hash, seq),
    )
}

/// The event of an entry that was made.
fn made(op: Op, dir: &dyn Located, name: &OsStr, attr: &Attr) -> Event {
    Event {
        is_directory: attr.is_directory(),
        ino: Some(attr.identity.ino),
        size: Some(attr.size),
        ..seen(EventType::Created, op, join(dir, name))
    }
}

/// open(2) that makes the file.
pub struct Create<'a> {
    /// Where.
    pub dir: &'a dyn Located,
    /// As what.
    pub name: &'a OsStr,
    /// How it is opened.
    pub flags: OFlags,
    /// Mode, mask and owner.
    pub mode: UmaskedMode,
    /// Number that joins it to its writes.
    pub handle: u64,
}

impl Change for Create<'_> {
    type Done = Made;

    fn op(&self) -> Op {
        Op::Create
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.dir.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::NewName(self.dir, self.name)), None]
    }

    fn perform(&mut self) -> Result<Made, Errno> {
        let dir = self.dir.descriptor()?;
        let file = self
            .mode
            .make(|mode| backing::create(dir.as_fd(), self.name, self.flags, mode))?;
        Ok(Made {
            attr: backing::attr_of(file.as_fd())?,
            file: Some(file),
        })
    }

    fn made(&self, done: &Made) -> Option<u64> {
        Some(done.attr.identity.ino)
    }

    fn describe(&self, done: &Made) -> Event {
        Event {
            handle: Some(self.handle),
            ..made(Op::Create, self.dir, self.name, &done.attr)
        }
    }

    fn follow(&self, done: &Made, seq: Seq, catalog: &Catalog) {
        came((self.dir, self.name), &done.attr, seq, catalog);
    }
}

/// mknod(2).
pub struct Mknod<'a> {
    /// Where.
    pub dir: &'a dyn Located,
    /// As what.
    pub name: &'a OsStr,
    /// Type.
    pub kind: FileType,
    /// Device number, for devices.
    pub rdev: u64,
    /// Mode, mask and owner.
    pub mode: UmaskedMode,
}

impl Change for Mknod<'_> {
    type Done = Made;

    fn op(&self) -> Op {
        Op::Mknod
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.dir.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::NewName(self.dir, self.name)), None]
    }

    fn perform(&mut self) -> Result<Made, Errno> {
        let dir = self.dir.descriptor()?;
        self.mode
            .make(|mode| backing::mknod(dir.as_fd(), self.name, self.kind, mode, self.rdev))?;
        Ok(Made {
            attr: backing::lookup(dir.as_fd(), self.name)?,
            file: None,
        })
    }

    fn made(&self, done: &Made) -> Option<u64> {
        Some(done.attr.identity.ino)
    }

    fn describe(&self, done: &Made) -> Event {
        made(Op::Mknod, self.dir, self.name, &done.attr)
    }

    fn follow(&self, done: &Made, seq: Seq, catalog: &Catalog) {
        came((self.dir, self.name), &done.attr, seq, catalog);
    }
}

/// mkdir(2).
pub struct Mkdir<'a> {
    /// Where.
    pub dir: &'a dyn Located,
    /// As what.
    pub name: &'a OsStr,
    /// Mode, mask and owner.
    pub mode: UmaskedMode,
}

impl Change for Mkdir<'_> {
    type Done = Made;

    fn op(&self) -> Op {
        Op::Mkdir
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.dir.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::NewName(self.dir, self.name)), None]
    }

    fn perform(&mut self) -> Result<Made, Errno> {
        let dir = self.dir.descriptor()?;
        self.mode
            .make(|mode| backing::mkdir(dir.as_fd(), self.name, mode))?;
        Ok(Made {
            attr: backing::lookup(dir.as_fd(), self.name)?,
            file: None,
        })
    }

    fn made(&self, done: &Made) -> Option<u64> {
        Some(done.attr.identity.ino)
    }

    fn describe(&self, done: &Made) -> Event {
        made(Op::Mkdir, self.dir, self.name, &done.attr)
    }

    fn follow(&self, done: &Made, seq: Seq, catalog: &Catalog) {
        let key = came((self.dir, self.name), &done.attr, seq, catalog);
        catalog.set_listed(key, true);
    }
}

/// symlink(2).
pub struct Symlink<'a> {
    /// Where.
    pub dir: &'a dyn Located,
    /// As what.
    pub name: &'a OsStr,
    /// What it points to; any bytes.
    pub target: &'a OsStr,
    /// Owner and group of the link.
    pub owner: (u32, u32),
}

impl Change for Symlink<'_> {
    type Done = Made;

    fn op(&self) -> Op {
        Op::Symlink
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.dir.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::NewName(self.dir, self.name)), None]
    }

    fn perform(&mut self) -> Result<Made, Errno> {
        let dir = self.dir.descriptor()?;
        {
            let _caller = AsCaller::new(self.owner.0, self.owner.1);
            backing::symlink(self.target, dir.as_fd(), self.name)?;
        }
        Ok(Made {
            attr: backing::lookup(dir.as_fd(), self.name)?,
            file: None,
        })
    }

    fn made(&self, done: &Made) -> Option<u64> {
        Some(done.attr.identity.ino)
    }

    fn describe(&self, done: &Made) -> Event {
        made(Op::Symlink, self.dir, self.name, &done.attr)
    }

    fn follow(&self, done: &Made, seq: Seq, catalog: &Catalog) {
        came((self.dir, self.name), &done.attr, seq, catalog);
    }
}

/// link(2): the event names the new entry.
pub struct Link<'a> {
    /// What gets a further name.
    pub entry: &'a dyn Located,
    /// Where.
    pub dir: &'a dyn Located,
    /// As what.
    pub name: &'a OsStr,
}

impl Change for Link<'_> {
    type Done = Made;

    fn op(&self) -> Op {
        Op::Link
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.dir.lock_key(), self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [
            Some(Touch::Entry(self.entry, None)),
            Some(Touch::NewName(self.dir, self.name)),
        ]
    }

    fn perform(&mut self) -> Result<Made, Errno> {
        let (entry, dir) = (self.entry.descriptor()?, self.dir.descriptor()?);
        backing::link(entry.as_fd(), dir.as_fd(), self.name)?;
        Ok(Made {
            attr: backing::attr_of(entry.as_fd())?,
            file: None,
        })
    }

    fn describe(&self, done: &Made) -> Event {
        made(Op::Link, self.dir, self.name, &done.attr)
    }

    fn carries<'b>(&self, done: &'b Made) -> Option<&'b Attr> {
        Some(&done.attr)
    }

    fn follow(&self, done: &Made, seq: Seq, catalog: &Catalog) {
        came((self.dir, self.name), &done.attr, seq, catalog);
    }
}
