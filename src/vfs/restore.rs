//! Putting the past back: changes that a session asks for through the control directory, so that the kernel has not asked
//! for them and is told what it must forget. Entries are reached through the catalog, whether the kernel knows them
//! or not.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::backing::{self, Attr, Errno};
use crate::event::{Access, Caller, HASH_BYTES, Seq, Source};
use crate::recorder::change::{
    Mkdir, Removed, Restore, Restored, Rmdir, Staged, UmaskedMode, Unlink,
};
use crate::recorder::{CatalogPlace, How, Located, RecordError, Stale};

use super::{CONTROL_NAME, Error, Result, Vfs};

/// A version of an entry.
#[derive(Clone, Copy, Debug)]
pub enum Past<'a> {
    /// A file with this content and its hash.
    File(&'a [u8], [u8; HASH_BYTES]),
    /// A symbolic link to this target, and the target's hash.
    Link(&'a [u8], [u8; HASH_BYTES]),
    /// A directory.
    Directory,
}

impl Vfs {
    /// Puts a version back at `path`, relative to the root, making the directories that lead there. What stands there
    /// gives it permissions and owner, else `access`, else they are the caller's alone. A directory that is there
    /// stays as it is.
    ///
    /// # Errors
    /// As open(2), rename(2): EISDIR and ENOTDIR where something of another kind stands; EPERM for the reserved
    /// name; what cannot be recorded does not happen.
    pub fn put_back(
        &self,
        path: &[u8],
        (past, at): (Past<'_>, Seq),
        access: Option<Access>,
        caller: &Arc<Caller>,
    ) -> Result<()> {
        let (parent, name) = self.way(path, caller)?;
        let (content, hash, is_link) = match past {
            Past::Directory => {
                return self
                    .ensure_directory(parent, name, access, caller)
                    .map(drop);
            }
            Past::File(content, hash) => (content, hash, false),
            Past::Link(target, hash) => (target, hash, true),
        };
        let dir = self.place(parent)?;
        let at_dir = dir.descriptor()?;
        let standing = stands(&dir, name)?;
        let staged = if is_link {
            Staged::Link(content.to_vec())
        } else {
            Staged::file(at_dir.as_fd(), content, at)?
        };
        let own = Access {
            mode: 0o600,
            uid: caller.uid,
            gid: caller.gid,
        };
        let change = Restore {
            dir: &dir,
            name,
            staged,
            hash,
            access: access.unwrap_or(own),
            at,
            key: standing.map(|attr| attr.identity.ino),
        };
        let stale = |done: &Restored| Some(stale(parent, name, done.replaced.as_ref()));
        self.recorder.apply_telling(change, caller, stale, |done| {
            if let Some(replaced) = &done.replaced {
                self.left(parent, name, replaced);
            }
        })?;
        Ok(())
    }

    /// Removes what stands at `path`; a directory only when it is empty.
    ///
    /// # Errors
    /// As unlink(2), rmdir(2).
    pub fn take_away(&self, path: &[u8], caller: &Arc<Caller>) -> Result<()> {
        let (parent, name) = self.way(path, caller)?;
        let dir = self.place(parent)?;
        let attr = stands(&dir, name)?.ok_or(Errno::NOENT)?;
        self.nodes.going(&attr);
        let key = attr.identity.ino;
        let (dir, tell) = (&dir as &dyn Located, |done: &Removed| {
            Some(stale(parent, name, Some(&done.attr)))
        });
        let settle = |done: &Removed| self.left(parent, name, &done.attr);
        if attr.is_directory() {
            let change = Rmdir { dir, name, key };
            self.recorder.apply_telling(change, caller, tell, settle)?;
        } else {
            let change = Unlink { dir, name, key };
            self.recorder.apply_telling(change, caller, tell, settle)?;
        }
        Ok(())
    }

    /// The directory that `path` stands in, made where it is missing, and the last name.
    fn way<'a>(&self, path: &'a [u8], caller: &Arc<Caller>) -> Result<(u64, &'a OsStr)> {
        let root = self.recorder.catalog().ok_or(Error::Invalid)?.root();
        let mut names = path.split(|byte| *byte == b'/').map(OsStr::from_bytes);
        let mut name = names.next().unwrap_or_default();
        if name == CONTROL_NAME {
            return Err(Error::Reserved);
        }
        let mut dir = root;
        for next in names {
            dir = self.ensure_directory(dir, checked(name)?, None, caller)?;
            name = next;
        }
        Ok((dir, checked(name)?))
    }

    /// The directory `name` in `dir`, made with `access` or as open as `dir` itself when it is missing.
    fn ensure_directory(
        &self,
        parent: u64,
        name: &OsStr,
        access: Option<Access>,
        caller: &Arc<Caller>,
    ) -> Result<u64> {
        if let Some(known) = self.known_directory(parent, name)? {
            return Ok(known);
        }
        let dir = self.place(parent)?;
        let like = backing::attr_of(dir.descriptor()?.as_fd())?;
        let access = access.unwrap_or(Access {
            mode: like.perm,
            uid: like.uid,
            gid: like.gid,
        });
        let mode = UmaskedMode {
            mode: access.mode,
            umask: 0,
            uid: access.uid,
            gid: access.gid,
        };
        let change = Mkdir {
            dir: &dir,
            name,
            mode,
        };
        let tell = |_: &_| Some(stale(parent, name, None));
        match self.recorder.apply_telling(change, caller, tell, |_| {}) {
            Ok(_) => {}
            // It stands there, and the first scan has not come by: then it is learnt now.
            Err(RecordError::Storage(Errno::EXIST)) => {
                self.recorder
                    .observe(parent, name, Source::Scan, How::Stat)?;
            }
            Err(error) => return Err(error.into()),
        }
        let made = self.known_directory(parent, name)?;
        made.ok_or(Error::Storage(Errno::AGAIN))
    }

    /// The directory that the catalog knows at `name`.
    fn known_directory(&self, parent: u64, name: &OsStr) -> Result<Option<u64>> {
        let catalog = self.recorder.catalog().ok_or(Error::Invalid)?;
        let Some(key) = catalog.child(parent, name.as_bytes()) else {
            return Ok(None);
        };
        match catalog.state(key) {
            Some(state) if state.is_directory() => Ok(Some(key)),
            Some(_) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::AGAIN.into()),
        }
    }

    fn place(&self, key: u64) -> Result<CatalogPlace<'_>> {
        Ok(self.recorder.place(key).ok_or(Errno::STALE)?)
    }

    /// The kernel's node of `parent`, if it has one, no longer has `name`.
    fn left(&self, parent: u64, name: &OsStr, attr: &Attr) {
        if let Some(dir) = self
            .number_of(parent)
            .and_then(|id| self.nodes.get(id).ok())
        {
            self.nodes.gone(&dir, name, attr);
        }
    }
}

/// A name that can stand in a directory.
fn checked(name: &OsStr) -> Result<&OsStr> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(Error::Invalid);
    }
    Ok(name)
}

fn stands(dir: &dyn Located, name: &OsStr) -> Result<Option<Attr>> {
    match backing::lookup(dir.descriptor()?.as_fd(), name) {
        Ok(attr) => Ok(Some(attr)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn stale(parent: u64, name: &OsStr, before: Option<&Attr>) -> Stale {
    Stale {
        parent,
        name: name.as_bytes().to_vec(),
        ino: before.map(|attr| attr.identity.ino),
        content: false,
        entry: true,
    }
}
