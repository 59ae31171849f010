//! Changes of names: what comes, goes and moves.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use crate::backing::{self, AsCaller, Attr, Errno, FileType, OFlags, RenameFlags};
use crate::event::{Event, EventType, Op, Replaced};
use crate::event_log::Purpose;

use super::super::{Located, Scope, Tree};
use super::{Change, join, seen};

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

    fn describe(&self, done: &Made) -> Event {
        Event {
            handle: Some(self.handle),
            ..made(Op::Create, self.dir, self.name, &done.attr)
        }
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

    fn perform(&mut self) -> Result<Made, Errno> {
        let dir = self.dir.descriptor()?;
        self.mode
            .make(|mode| backing::mknod(dir.as_fd(), self.name, self.kind, mode, self.rdev))?;
        Ok(Made {
            attr: backing::lookup(dir.as_fd(), self.name)?,
            file: None,
        })
    }

    fn describe(&self, done: &Made) -> Event {
        made(Op::Mknod, self.dir, self.name, &done.attr)
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

    fn perform(&mut self) -> Result<Made, Errno> {
        let dir = self.dir.descriptor()?;
        self.mode
            .make(|mode| backing::mkdir(dir.as_fd(), self.name, mode))?;
        Ok(Made {
            attr: backing::lookup(dir.as_fd(), self.name)?,
            file: None,
        })
    }

    fn describe(&self, done: &Made) -> Event {
        made(Op::Mkdir, self.dir, self.name, &done.attr)
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

    fn describe(&self, done: &Made) -> Event {
        made(Op::Symlink, self.dir, self.name, &done.attr)
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
}

/// unlink(2).
pub struct Unlink<'a> {
    /// Where.
    pub dir: &'a dyn Located,
    /// What.
    pub name: &'a OsStr,
    /// Lock key of the entry.
    pub key: u64,
}

/// Attributes of an entry as they are right before it goes.
fn before(dir: &dyn Located, name: &OsStr) -> Result<Attr, Errno> {
    backing::lookup(dir.descriptor()?.as_fd(), name)
}

/// The event of an entry that is gone.
fn gone(op: Op, dir: &dyn Located, name: &OsStr, attr: &Attr) -> Event {
    Event {
        is_directory: attr.is_directory(),
        ino: Some(attr.identity.ino),
        size: Some(attr.size),
        ..seen(EventType::Deleted, op, join(dir, name))
    }
}

impl Change for Unlink<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Unlink
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.dir.lock_key(), self.key])
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn purpose(&self) -> Purpose {
        Purpose::Freeing
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        let attr = before(self.dir, self.name)?;
        backing::unlink(self.dir.descriptor()?.as_fd(), self.name)?;
        Ok(attr)
    }

    fn describe(&self, done: &Attr) -> Event {
        gone(Op::Unlink, self.dir, self.name, done)
    }
}

/// rmdir(2).
pub struct Rmdir<'a> {
    /// Where.
    pub dir: &'a dyn Located,
    /// What.
    pub name: &'a OsStr,
    /// Lock key of the entry.
    pub key: u64,
}

impl Change for Rmdir<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Rmdir
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.dir.lock_key(), self.key])
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn purpose(&self) -> Purpose {
        Purpose::Freeing
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        let attr = before(self.dir, self.name)?;
        backing::rmdir(self.dir.descriptor()?.as_fd(), self.name)?;
        Ok(attr)
    }

    fn describe(&self, done: &Attr) -> Event {
        gone(Op::Rmdir, self.dir, self.name, done)
    }
}

/// What a rename moved and what it destroyed.
#[derive(Debug)]
pub struct Moved {
    /// What moved.
    pub attr: Attr,
    /// What stood at the new name; for an exchange, what went the other way.
    pub other: Option<Attr>,
}

/// rename(2) and renameat2(2) with `RENAME_NOREPLACE`.
pub struct Rename<'a> {
    /// Old directory and name.
    pub from: (&'a dyn Located, &'a OsStr),
    /// New directory and name.
    pub to: (&'a dyn Located, &'a OsStr),
    /// Whether an entry at the new name refuses it.
    pub no_replace: bool,
    /// Whether a directory moves.
    pub tree: Tree,
    /// Lock keys of what moves and of what is destroyed.
    pub keys: (u64, Option<u64>),
}

/// Scope of a rename or an exchange.
fn move_scope(from: &dyn Located, to: &dyn Located, tree: Tree, keys: (u64, Option<u64>)) -> Scope {
    Scope {
        tree,
        keys: [
            Some(from.lock_key()),
            Some(to.lock_key()),
            Some(keys.0),
            keys.1,
        ],
    }
}

impl Change for Rename<'_> {
    type Done = Moved;

    fn op(&self) -> Op {
        Op::Rename
    }

    fn scope(&self) -> Scope {
        move_scope(self.from.0, self.to.0, self.tree, self.keys)
    }

    fn path_bytes(&self) -> usize {
        self.from.0.path().len() + self.from.1.len() + self.to.0.path().len() + self.to.1.len() + 2
    }

    fn perform(&mut self) -> Result<Moved, Errno> {
        let (from, to) = (self.from.0.descriptor()?, self.to.0.descriptor()?);
        let attr = backing::lookup(from.as_fd(), self.from.1)?;
        let other = match backing::lookup(to.as_fd(), self.to.1) {
            Ok(other) => Some(other),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        let flags = if self.no_replace {
            RenameFlags::NOREPLACE
        } else {
            RenameFlags::empty()
        };
        backing::rename((from.as_fd(), self.from.1), (to.as_fd(), self.to.1), flags)?;
        Ok(Moved { attr, other })
    }

    fn describe(&self, done: &Moved) -> Event {
        let replaced = done.other.map(|other| Replaced {
            ino: other.identity.ino,
            size: other.size,
        });
        Event {
            replaced,
            ..moved(Op::Rename, self.from, self.to, &done.attr)
        }
    }
}

/// The event of an entry with another name.
fn moved(op: Op, from: (&dyn Located, &OsStr), to: (&dyn Located, &OsStr), attr: &Attr) -> Event {
    Event {
        dest_path: Some(join(to.0, to.1)),
        is_directory: attr.is_directory(),
        ino: Some(attr.identity.ino),
        size: Some(attr.size),
        ..seen(EventType::Moved, op, join(from.0, from.1))
    }
}

/// renameat2(2) with `RENAME_EXCHANGE`.
pub struct Exchange<'a> {
    /// One directory and name.
    pub from: (&'a dyn Located, &'a OsStr),
    /// The other directory and name.
    pub to: (&'a dyn Located, &'a OsStr),
    /// Whether a directory moves.
    pub tree: Tree,
    /// Lock keys of both entries.
    pub keys: (u64, Option<u64>),
}

impl Change for Exchange<'_> {
    type Done = Moved;

    fn op(&self) -> Op {
        Op::Exchange
    }

    fn scope(&self) -> Scope {
        move_scope(self.from.0, self.to.0, self.tree, self.keys)
    }

    fn path_bytes(&self) -> usize {
        self.from.0.path().len() + self.from.1.len() + self.to.0.path().len() + self.to.1.len() + 2
    }

    fn perform(&mut self) -> Result<Moved, Errno> {
        let (from, to) = (self.from.0.descriptor()?, self.to.0.descriptor()?);
        let attr = backing::lookup(from.as_fd(), self.from.1)?;
        let other = backing::lookup(to.as_fd(), self.to.1)?;
        backing::exchange((from.as_fd(), self.from.1), (to.as_fd(), self.to.1))?;
        Ok(Moved {
            attr,
            other: Some(other),
        })
    }

    fn describe(&self, done: &Moved) -> Event {
        moved(Op::Exchange, self.from, self.to, &done.attr)
    }
}
