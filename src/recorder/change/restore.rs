//! An earlier version put back: prepared where nobody sees it, then named in one step.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::backing::{self, Attr, Errno, OFlags, RenameFlags, XattrFlags};
use crate::event::{Access, Event, EventType, Op, Replaced, Seq};

use super::super::catalog::{Catalog, Hash, State};
use super::super::keep::Destroyed;
use super::super::look::{TOUCHES_MAX, Touch};
use super::super::{Located, Scope};
use super::{Change, access, join, key, seen};

/// Name of what is prepared, with its inode number, for the moment in which it has one; and where files without a
/// name do not exist, until it is in its place.
const STAGED_PREFIX: &str = ".hippofs-restore-";

/// What is put back.
pub enum Staged {
    /// A file that has no name yet.
    Unnamed(OwnedFd),
    /// A file under a name of its own, where the storage knows no files without one.
    Named(OwnedFd, OsString),
    /// A symbolic link to this target.
    Link(Vec<u8>),
}

impl Staged {
    /// Prepares a file with this content in the directory `dir`; it can be seen by nobody, or by its owner only.
    ///
    /// # Errors
    /// As open(2), write(2).
    pub fn file(dir: BorrowedFd<'_>, content: &[u8], seq: Seq) -> Result<Staged, Errno> {
        let (file, name) = match backing::create_unnamed(dir) {
            Ok(file) => (file, None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                let name = staged_name(seq.0);
                let file = backing::create(dir, &name, OFlags::RDWR, 0o600)?;
                (file, Some(name))
            }
            Err(errno) => return Err(errno),
        };
        let mut done = 0;
        while done < content.len() {
            match backing::write_at(file.as_fd(), done as u64, &content[done..]) {
                Ok(count) if count > 0 => done += count,
                short => {
                    if let Some(name) = name {
                        let _ = backing::unlink(dir, &name);
                    }
                    return Err(short.err().unwrap_or(Errno::NOSPC));
                }
            }
        }
        Ok(match name {
            None => Staged::Unnamed(file),
            Some(name) => Staged::Named(file, name),
        })
    }
}

fn staged_name(number: u64) -> OsString {
    OsString::from_vec(format!("{STAGED_PREFIX}{number}").into_bytes())
}

/// A version put back at a name.
pub struct Restore<'a> {
    /// Where.
    pub dir: &'a dyn Located,
    /// As what.
    pub name: &'a OsStr,
    /// What.
    pub staged: Staged,
    /// Hash of its content.
    pub hash: Hash,
    /// Permission bits and owner, where nothing stands there that gives its own.
    pub access: Access,
    /// The event whose content it is.
    pub at: Seq,
    /// Lock key of what stands there.
    pub key: Option<u64>,
}

/// What was put back, and over what.
#[derive(Debug)]
pub struct Restored {
    /// What stands there now.
    pub attr: Attr,
    /// What stood there.
    pub replaced: Option<Attr>,
}

impl Restore<'_> {
    /// Gives the prepared file the permissions, owner and extended attributes it is to have.
    fn dress(
        &self,
        file: BorrowedFd<'_>,
        standing: Option<(&Attr, BorrowedFd<'_>)>,
    ) -> Result<(), Errno> {
        let access = standing.map_or(self.access, |(attr, _)| access(attr));
        if let Err(errno) = backing::set_owner(file, Some(access.uid), Some(access.gid))
            && errno != Errno::PERM
        {
            return Err(errno);
        }
        if let Some((_, standing)) = standing {
            copy_xattrs(standing, file);
        }
        backing::set_mode(file, access.mode)
    }

    /// Gives what was prepared a name of its own in `dir`.
    fn name_staged(&self, dir: BorrowedFd<'_>) -> Result<OsString, Errno> {
        let named = match &self.staged {
            Staged::Named(_, name) => return Ok(name.clone()),
            Staged::Unnamed(file) => {
                let name = staged_name(backing::attr_of(file.as_fd())?.identity.ino);
                (backing::link(file.as_fd(), dir, &name), name)
            }
            Staged::Link(target) => {
                let name = staged_name(self.at.0);
                (
                    backing::symlink(OsStr::from_bytes(target), dir, &name),
                    name,
                )
            }
        };
        named.0.map(|()| named.1)
    }

    fn put(&self, dir: BorrowedFd<'_>, replaces: bool) -> Result<(), Errno> {
        match &self.staged {
            Staged::Unnamed(file) if !replaces => backing::link(file.as_fd(), dir, self.name),
            Staged::Link(target) if !replaces => {
                backing::symlink(OsStr::from_bytes(target), dir, self.name)
            }
            Staged::Unnamed(_) | Staged::Named(..) | Staged::Link(_) => {
                let staged = self.name_staged(dir)?;
                let flags = if replaces {
                    RenameFlags::empty()
                } else {
                    RenameFlags::NOREPLACE
                };
                let put = backing::rename((dir, &staged), (dir, self.name), flags);
                if put.is_err() {
                    let _ = backing::unlink(dir, &staged);
                }
                put
            }
        }
    }
}

/// What cannot be copied was not the owner's to give.
fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let names = backing::list_xattrs(from).unwrap_or_default();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = OsStr::from_bytes(name);
        if let Ok(value) = backing::get_xattr(from, name) {
            let _ = backing::set_xattr(to, name, &value, XattrFlags::empty());
        }
    }
}

impl Change for Restore<'_> {
    type Done = Restored;

    fn op(&self) -> Op {
        Op::Restore
    }

    fn scope(&self) -> Scope {
        let mut scope = Scope::of(&[self.dir.lock_key()]);
        scope.keys[1] = self.key;
        scope
    }

    fn path_bytes(&self) -> usize {
        self.dir.path().len() + self.name.len() + 1
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Name(self.dir, self.name)), None]
    }

    fn perform(&mut self) -> Result<Restored, Errno> {
        let dir = self.dir.descriptor()?;
        let dir = dir.as_fd();
        let standing = match backing::open_handle(dir, self.name) {
            Ok(entry) => Some((backing::attr_of(entry.as_fd())?, entry)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno),
        };
        if standing
            .as_ref()
            .is_some_and(|(attr, _)| attr.is_directory())
        {
            return Err(Errno::ISDIR);
        }
        if let Staged::Unnamed(file) | Staged::Named(file, _) = &self.staged {
            let regular = standing
                .as_ref()
                .filter(|(attr, _)| attr.kind == backing::FileType::RegularFile);
            self.dress(
                file.as_fd(),
                regular.map(|(attr, entry)| (attr, entry.as_fd())),
            )?;
        }
        self.put(dir, standing.is_some())?;
        Ok(Restored {
            attr: backing::lookup(dir, self.name)?,
            replaced: standing.map(|(attr, _)| attr),
        })
    }

    fn made(&self, done: &Restored) -> Option<u64> {
        Some(done.attr.identity.ino)
    }

    fn destroys(&self) -> Option<Destroyed<'_>> {
        Some(Destroyed::At(self.dir, self.name))
    }

    fn leaves<'b>(&'b self, done: &'b Restored) -> Option<(BorrowedFd<'b>, &'b Attr)> {
        match &self.staged {
            Staged::Unnamed(file) | Staged::Named(file, _) => Some((file.as_fd(), &done.attr)),
            Staged::Link(_) => None,
        }
    }

    fn describe(&self, done: &Restored) -> Event {
        let event_type = if done.replaced.is_some() {
            EventType::Modified
        } else {
            EventType::Created
        };
        Event {
            ino: Some(done.attr.identity.ino),
            size: Some(done.attr.size),
            blake3: Some(self.hash),
            restored_from: Some(self.at),
            replaced: done.replaced.map(|attr| Replaced {
                ino: attr.identity.ino,
                size: attr.size,
                blake3: None,
                access: Some(access(&attr)),
            }),
            ..seen(event_type, Op::Restore, join(self.dir, self.name))
        }
    }

    fn follow(&self, done: &Restored, seq: Seq, catalog: &Catalog) {
        let state = State::of(&done.attr, Some(self.hash), seq);
        catalog.put(key(self.dir, catalog), self.name.as_bytes(), &state);
    }
}
