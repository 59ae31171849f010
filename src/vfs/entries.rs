//! Names: looked up, made, removed and moved.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::backing::{self, Attr, Errno, FileType, OFlags};
use crate::event::Caller;
use crate::recorder::change::{
    Create, Exchange, Link, Made, Mkdir, Mknod, Moved, Removed, Rename, Rmdir, Symlink,
    UmaskedMode, Unlink,
};
use crate::recorder::{Located, RecordError, Tree};

use super::files::{OpenHow, Opened};
use super::nodes::{Node, ROOT};
use super::{CONTROL_NAME, Error, Found, Result, Vfs, is_control};

/// Where an entry is to be made, and by whom.
#[derive(Clone, Copy)]
pub struct NewEntry<'a> {
    /// Number of the directory.
    pub dir: u64,
    /// Name in it.
    pub name: &'a OsStr,
    /// Permission bits as the caller gave them.
    pub mode: u32,
    /// The caller's mask.
    pub umask: u32,
    /// The caller.
    pub caller: &'a Arc<Caller>,
}

impl NewEntry<'_> {
    fn umasked(&self) -> UmaskedMode {
        UmaskedMode {
            mode: self.mode,
            umask: self.umask,
            uid: self.caller.uid,
            gid: self.caller.gid,
        }
    }
}

/// Kind of a rename.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameKind {
    /// Replaces what stands at the new name.
    Replace,
    /// Refuses when something stands there.
    NoReplace,
    /// Swaps both.
    Exchange,
}

impl Vfs {
    /// Looks `name` up in `dir`; the kernel will forget it once for each time.
    ///
    /// # Errors
    /// ENOENT when there is none, ESTALE when the directory is gone.
    pub fn lookup(&self, dir: u64, name: &OsStr) -> Result<Found> {
        if is_control(dir) {
            return self.control_lookup(dir, name);
        }
        if dir == ROOT && name == CONTROL_NAME {
            return Ok(self.control_root());
        }
        let dir = self.nodes.get(dir)?;
        let attr = backing::lookup(dir.descriptor()?.as_fd(), name)?;
        Ok(self.found(&dir, name, attr))
    }

    /// The kernel forgets `count` lookups.
    pub fn forget(&self, id: u64, count: u64) {
        if !is_control(id) {
            self.nodes.forget(id, count);
        } else if let Some(version) = super::controls::version_of(id) {
            self.control.forget_version(version, count);
        }
    }

    pub(super) fn found(&self, dir: &Arc<Node>, name: &OsStr, attr: Attr) -> Found {
        let node = self.nodes.looked_up(dir, name, &attr);
        Found {
            id: node.id,
            generation: node.generation,
            attr,
        }
    }

    /// open(2) with `O_CREAT` of a name the kernel does not know.
    ///
    /// # Errors
    /// As open(2); EPERM for the reserved name.
    pub fn create(&self, new: &NewEntry<'_>, how: OpenHow) -> Result<(Found, Opened)> {
        let dir = self.dir_to_change(new.dir, new.name)?;
        let handle = self.recorder.number_handle();
        let change = Create {
            dir: &*dir,
            name: new.name,
            flags: self.create_flags(how),
            mode: new.umasked(),
            handle,
        };
        let mut found = None;
        let made = self.recorder.apply(change, new.caller, |made| {
            found = Some(self.found(&dir, new.name, made.attr));
        });
        match (made, found) {
            (
                Ok(Made {
                    file: Some(file), ..
                }),
                Some(found),
            ) => {
                let opened = self.opened(found.id, file, how, new.caller)?;
                opened.file.created_as(handle);
                Ok((found, opened))
            }
            // Someone else made it since the kernel looked; without O_EXCL that is an ordinary open.
            (Err(RecordError::Storage(Errno::EXIST)), _) if !how.exclusive => {
                let found = self.lookup(new.dir, new.name)?;
                let opened = self.open(found.id, how, new.caller)?;
                Ok((found, opened))
            }
            (Err(error), _) => Err(error.into()),
            (Ok(_), _) => Err(Error::Storage(Errno::IO)),
        }
    }

    /// A file that is made can be read by who makes it, whatever its permissions will be.
    fn create_flags(&self, how: OpenHow) -> OFlags {
        let flags = how.storage_flags();
        if how.writable() && self.recorder.keeps().is_some() {
            (flags - OFlags::RWMODE) | OFlags::RDWR
        } else {
            flags
        }
    }

    /// Whether keeping what stands at `name` may take longer than a kernel-facing thread has. Only a hint.
    #[must_use]
    pub fn is_long_to_destroy(&self, dir: u64, name: &OsStr) -> bool {
        let dir = self.nodes.get(dir).ok();
        dir.is_some_and(|dir| self.recorder.is_long_to_destroy(&*dir, name))
    }

    /// Whether keeping the content of `id` may take longer than a kernel-facing thread has. Only a hint.
    #[must_use]
    pub fn is_long_to_empty(&self, id: u64) -> bool {
        let node = self.nodes.get(id).ok();
        node.is_some_and(|node| self.recorder.is_long_to_empty(&*node))
    }

    /// mknod(2).
    ///
    /// # Errors
    /// As mknod(2); EPERM for the reserved name.
    pub fn mknod(&self, new: &NewEntry<'_>, kind: FileType, rdev: u64) -> Result<Found> {
        let dir = self.dir_to_change(new.dir, new.name)?;
        let change = Mknod {
            dir: &*dir,
            name: new.name,
            kind,
            rdev,
            mode: new.umasked(),
        };
        self.make(&dir, new.name, new.caller, change)
    }

    /// mkdir(2).
    ///
    /// # Errors
    /// As mkdir(2); EPERM for the reserved name.
    pub fn mkdir(&self, new: &NewEntry<'_>) -> Result<Found> {
        if is_control(new.dir) {
            return self.consumer_mkdir(new.dir, new.name);
        }
        let dir = self.dir_to_change(new.dir, new.name)?;
        let change = Mkdir {
            dir: &*dir,
            name: new.name,
            mode: new.umasked(),
        };
        self.make(&dir, new.name, new.caller, change)
    }

    /// symlink(2).
    ///
    /// # Errors
    /// As symlink(2); EPERM for the reserved name.
    pub fn symlink(
        &self,
        dir: u64,
        name: &OsStr,
        target: &OsStr,
        caller: &Arc<Caller>,
    ) -> Result<Found> {
        let dir = self.dir_to_change(dir, name)?;
        let change = Symlink {
            dir: &*dir,
            name,
            target,
            owner: (caller.uid, caller.gid),
        };
        self.make(&dir, name, caller, change)
    }

    /// link(2).
    ///
    /// # Errors
    /// As link(2); EPERM for the reserved name.
    pub fn link(&self, id: u64, dir: u64, name: &OsStr, caller: &Arc<Caller>) -> Result<Found> {
        let entry = self.entry_to_change(id)?;
        let dir = self.dir_to_change(dir, name)?;
        self.make(
            &dir,
            name,
            caller,
            Link {
                entry: &*entry,
                dir: &*dir,
                name,
            },
        )
    }

    fn make<C: crate::recorder::Change<Done = Made>>(
        &self,
        dir: &Arc<Node>,
        name: &OsStr,
        caller: &Arc<Caller>,
        change: C,
    ) -> Result<Found> {
        let mut found = None;
        self.recorder.apply(change, caller, |made| {
            found = Some(self.found(dir, name, made.attr))
        })?;
        found.ok_or(Error::Storage(Errno::IO))
    }

    /// unlink(2), or rmdir(2) with `directory`.
    ///
    /// # Errors
    /// As unlink(2), rmdir(2); EPERM for the reserved name.
    pub fn remove(
        &self,
        dir: u64,
        name: &OsStr,
        directory: bool,
        caller: &Arc<Caller>,
    ) -> Result<()> {
        if directory && is_control(dir) {
            return self.consumer_rmdir(dir, name);
        }
        let dir = self.dir_to_change(dir, name)?;
        let attr = backing::lookup(dir.descriptor()?.as_fd(), name)?;
        self.nodes.going(&attr);
        let key = attr.identity.ino;
        let settle = |gone: &Removed| self.nodes.gone(&dir, name, &gone.attr);
        if directory {
            self.recorder.apply(
                Rmdir {
                    dir: &*dir,
                    name,
                    key,
                },
                caller,
                settle,
            )?;
        } else {
            self.recorder.apply(
                Unlink {
                    dir: &*dir,
                    name,
                    key,
                },
                caller,
                settle,
            )?;
        }
        Ok(())
    }

    /// renameat2(2).
    ///
    /// # Errors
    /// As renameat2(2); EPERM for the reserved name.
    pub fn rename(
        &self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        kind: RenameKind,
        caller: &Arc<Caller>,
    ) -> Result<()> {
        let (from_dir, to_dir) = (
            self.dir_to_change(from.0, from.1)?,
            self.dir_to_change(to.0, to.1)?,
        );
        let moving = backing::lookup(from_dir.descriptor()?.as_fd(), from.1)?;
        let standing = match backing::lookup(to_dir.descriptor()?.as_fd(), to.1) {
            Ok(attr) => Some(attr),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let directory = moving.is_directory() || standing.is_some_and(|attr| attr.is_directory());
        let tree = if directory {
            Tree::Exclusive
        } else {
            Tree::Shared
        };
        let keys = (moving.identity.ino, standing.map(|attr| attr.identity.ino));
        let (from, to): ((&dyn Located, _), (&dyn Located, _)) =
            ((&*from_dir, from.1), (&*to_dir, to.1));
        if kind == RenameKind::Exchange {
            self.recorder.apply(
                Exchange {
                    from,
                    to,
                    tree,
                    keys,
                },
                caller,
                |moved| {
                    self.follow(&moved.attr, (&from_dir, from.1), (&to_dir, to.1));
                    if let Some(other) = &moved.other {
                        self.follow(other, (&to_dir, to.1), (&from_dir, from.1));
                    }
                },
            )?;
            return Ok(());
        }
        if let Some(standing) = &standing {
            self.nodes.going(standing);
        }
        let no_replace = kind == RenameKind::NoReplace;
        self.recorder.apply(
            Rename {
                from,
                to,
                no_replace,
                tree,
                keys,
            },
            caller,
            |moved: &Moved| {
                if let Some(replaced) = &moved.other {
                    self.nodes.gone(&to_dir, to.1, replaced);
                }
                self.follow(&moved.attr, (&from_dir, from.1), (&to_dir, to.1));
            },
        )?;
        Ok(())
    }

    /// The names follow an entry that moved.
    fn follow(&self, attr: &Attr, from: (&Arc<Node>, &OsStr), to: (&Arc<Node>, &OsStr)) {
        self.nodes.came(to.0, to.1, attr);
        self.nodes.gone(from.0, from.1, attr);
    }

    /// Where the symbolic link `id` points.
    ///
    /// # Errors
    /// As readlink(2).
    pub fn readlink(&self, id: u64) -> Result<Vec<u8>> {
        if is_control(id) {
            return Err(Error::Invalid);
        }
        Ok(backing::readlink(
            self.nodes.get(id)?.descriptor()?.as_fd(),
        )?)
    }
}

/// Flags of an open that the storage's own open is to see.
pub(super) const STORAGE_FLAGS: OFlags = OFlags::RWMODE
    .union(OFlags::SYNC)
    .union(OFlags::DSYNC)
    .union(OFlags::NOATIME);
