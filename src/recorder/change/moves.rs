//! Changes of names: what goes and what moves.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::backing::{self, Attr, Errno, RenameFlags};
use crate::event::{Event, EventType, Op, Replaced, Seq};
use crate::event_log::Purpose;

use super::super::catalog::{Catalog, State};
use super::super::keep::Destroyed;
use super::super::look::{TOUCHES_MAX, Touch};
use super::super::{Located, Scope, Tree};
use super::{Change, access, join, key, seen, touched};

/// An entry that lost its name.
#[derive(Debug)]
pub struct Removed {
    /// Its attributes right before.
    pub attr: Attr,
    /// Right after, where it has other names.
    pub left: Option<Attr>,
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

/// Removes a name by `call`.
fn remove(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    call: fn(BorrowedFd<'_>, &OsStr) -> Result<(), Errno>,
) -> Result<Removed, Errno> {
    let attr = backing::lookup(dir, name)?;
    let left = kept(dir, name, &attr);
    call(dir, name)?;
    Ok(Removed {
        attr,
        left: left.and_then(|left| backing::attr_of(left.as_fd()).ok()),
    })
}

/// A way to the entry at `name` for after that name has gone, where it has others.
fn kept(dir: BorrowedFd<'_>, name: &OsStr, attr: &Attr) -> Option<OwnedFd> {
    if attr.is_directory() || attr.nlink < 2 {
        return None;
    }
    backing::open_handle(dir, name).ok()
}

/// The event of an entry that is gone.
fn gone(op: Op, dir: &dyn Located, name: &OsStr, attr: &Attr) -> Event {
    Event {
        is_directory: attr.is_directory(),
        ino: Some(attr.identity.ino),
        size: Some(attr.size),
        access: Some(access(attr)),
        ..seen(EventType::Deleted, op, join(dir, name))
    }
}

impl Change for Unlink<'_> {
    type Done = Removed;

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

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Name(self.dir, self.name)), None]
    }

    fn perform(&mut self) -> Result<Removed, Errno> {
        let dir = self.dir.descriptor()?;
        remove(dir.as_fd(), self.name, backing::unlink)
    }

    fn describe(&self, done: &Removed) -> Event {
        gone(Op::Unlink, self.dir, self.name, &done.attr)
    }

    fn destroys(&self) -> Option<Destroyed<'_>> {
        Some(Destroyed::At(self.dir, self.name))
    }

    fn follow(&self, done: &Removed, seq: Seq, catalog: &Catalog) {
        catalog.remove(key(self.dir, catalog), self.name.as_bytes());
        if let Some(left) = &done.left {
            touched(left, true, seq, catalog);
        }
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
    type Done = Removed;

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

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Going(self.dir, self.name)), None]
    }

    fn perform(&mut self) -> Result<Removed, Errno> {
        let dir = self.dir.descriptor()?;
        remove(dir.as_fd(), self.name, backing::rmdir)
    }

    fn describe(&self, done: &Removed) -> Event {
        gone(Op::Rmdir, self.dir, self.name, &done.attr)
    }

    fn follow(&self, done: &Removed, seq: Seq, catalog: &Catalog) {
        catalog.remove(key(self.dir, catalog), self.name.as_bytes());
        if let Some(left) = &done.left {
            touched(left, true, seq, catalog);
        }
    }
}

/// What a rename moved and what it destroyed.
#[derive(Debug)]
pub struct Moved {
    /// What moved.
    pub attr: Attr,
    /// What stood at the new name; for an exchange, what went the other way.
    pub other: Option<Attr>,
    /// What stood at the new name, right after, where it has other names.
    pub left: Option<Attr>,
}

/// A place in the catalog's terms.
fn at<'a>(place: (&dyn Located, &'a OsStr), catalog: &Catalog) -> (u64, &'a [u8]) {
    (key(place.0, catalog), place.1.as_bytes())
}

/// What stands at `name` now, when it is what `before` says: a rename changes the inode's own time.
fn after(dir: BorrowedFd<'_>, name: &OsStr, before: Attr) -> Attr {
    let now = backing::lookup(dir, name);
    now.ok()
        .filter(|now| now.identity == before.identity)
        .unwrap_or(before)
}

/// An entry has another name.
fn went(attr: &Attr, from: (u64, &[u8]), to: (u64, &[u8]), seq: Seq, catalog: &Catalog) {
    let moved = catalog.key_of(&attr.identity);
    if catalog.child(from.0, from.1) == Some(moved) {
        catalog.rename(moved, from, to);
        touched(attr, true, seq, catalog);
    } else {
        catalog.remove(from.0, from.1);
        catalog.put(to.0, to.1, &State::of(attr, None, seq));
    }
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

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [
            Some(Touch::Name(self.from.0, self.from.1)),
            Some(Touch::Going(self.to.0, self.to.1)),
        ]
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
        let left = other.and_then(|other| kept(to.as_fd(), self.to.1, &other));
        backing::rename((from.as_fd(), self.from.1), (to.as_fd(), self.to.1), flags)?;
        Ok(Moved {
            attr: after(to.as_fd(), self.to.1, attr),
            other,
            left: left.and_then(|left| backing::attr_of(left.as_fd()).ok()),
        })
    }

    fn describe(&self, done: &Moved) -> Event {
        let replaced = done.other.map(|other| Replaced {
            ino: other.identity.ino,
            size: other.size,
            blake3: None,
            access: Some(access(&other)),
        });
        Event {
            replaced,
            ..moved(Op::Rename, self.from, self.to, &done.attr)
        }
    }

    fn destroys(&self) -> Option<Destroyed<'_>> {
        // Without an entry there, nothing is destroyed; and one that comes now is no session's.
        (!self.no_replace && self.keys.1.is_some() && self.keys.1 != Some(self.keys.0))
            .then_some(Destroyed::At(self.to.0, self.to.1))
    }

    fn carries<'b>(&self, done: &'b Moved) -> Option<&'b Attr> {
        Some(&done.attr)
    }

    fn follow(&self, done: &Moved, seq: Seq, catalog: &Catalog) {
        if let Some(left) = &done.left {
            touched(left, true, seq, catalog);
        }
        // Two names of one entry: the call does nothing, and both stay.
        let same = done.other.is_some_and(|o| o.identity == done.attr.identity);
        if !same {
            let (from, to) = (at(self.from, catalog), at(self.to, catalog));
            went(&done.attr, from, to, seq, catalog);
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

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [
            Some(Touch::Name(self.from.0, self.from.1)),
            Some(Touch::Name(self.to.0, self.to.1)),
        ]
    }

    fn perform(&mut self) -> Result<Moved, Errno> {
        let (from, to) = (self.from.0.descriptor()?, self.to.0.descriptor()?);
        let attr = backing::lookup(from.as_fd(), self.from.1)?;
        let other = backing::lookup(to.as_fd(), self.to.1)?;
        backing::exchange((from.as_fd(), self.from.1), (to.as_fd(), self.to.1))?;
        Ok(Moved {
            attr: after(to.as_fd(), self.to.1, attr),
            other: Some(after(from.as_fd(), self.from.1, other)),
            left: None,
        })
    }

    fn describe(&self, done: &Moved) -> Event {
        let exchanged = done.other.as_ref().map(|other| Replaced {
            ino: other.identity.ino,
            size: other.size,
            blake3: None,
            access: Some(access(other)),
        });
        Event {
            exchanged,
            ..moved(Op::Exchange, self.from, self.to, &done.attr)
        }
    }

    fn carries<'b>(&self, done: &'b Moved) -> Option<&'b Attr> {
        Some(&done.attr)
    }

    fn swaps<'b>(&self, done: &'b Moved) -> Option<&'b Attr> {
        done.other.as_ref()
    }

    fn follow(&self, done: &Moved, seq: Seq, catalog: &Catalog) {
        catalog.swap(at(self.from, catalog), at(self.to, catalog));
        touched(&done.attr, true, seq, catalog);
        if let Some(other) = &done.other {
            touched(other, true, seq, catalog);
        }
    }
}
