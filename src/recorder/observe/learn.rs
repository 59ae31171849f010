//! The first listing of a directory: a million names are learnt in seconds, without events and without reading
//! content, because they stood there before anyone watched.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use crate::backing::Errno;
use crate::event::Seq;

use super::super::catalog::State;
use super::super::reach::Tracked;
use super::super::{Located, RecordError, Recorder, Scope};
use super::Adopted;
use super::sight::stands;

impl Recorder {
    /// Learns names of a directory that was never listed, without events: `names` with their inode numbers, as the
    /// directory says them. When all have been passed, [`Recorder::listed`] says so.
    ///
    /// # Errors
    /// As [`Recorder::observe`].
    pub fn adopt(&self, dir: u64, names: &[(OsString, u64)]) -> Result<Adopted, RecordError> {
        let mut adopted = Adopted::default();
        let Some(tracked) = &self.tracked else {
            return Ok(adopted);
        };
        let place = tracked.place(dir).ok_or(Errno::STALE)?;
        let at = place.descriptor()?;
        for (name, ino) in names {
            if name == "." || name == ".." {
                continue;
            }
            let scope = Scope::of(&[place.lock_key(), *ino]);
            let _held = self.locks.hold(&scope);
            let _bearers = self.locks.bearers(scope.keys);
            if tracked.learn_name((dir, at.as_fd()), name, *ino)? {
                adopted.learnt += 1;
            } else {
                adopted.odd.push(name.clone());
            }
        }
        Ok(adopted)
    }
}

impl Tracked {
    /// Learns one name, if it is new, of an entry not known yet, and not on another filesystem.
    fn learn_name(
        &self,
        (dir, at): (u64, BorrowedFd<'_>),
        name: &OsStr,
        ino: u64,
    ) -> Result<bool, Errno> {
        let bytes = name.as_bytes();
        if self.catalog.leaves_out(dir, bytes, None) {
            return Ok(true);
        }
        if self.catalog.is_listed(dir) || self.catalog.child(dir, bytes).is_some() {
            return Ok(false);
        }
        let Some(attr) = stands(at, name)? else {
            return Ok(true);
        };
        if self.catalog.leaves_out(dir, bytes, Some(&attr.identity)) {
            return Ok(true);
        }
        let key = self.catalog.key_of(&attr.identity);
        if attr.identity.ino != ino || self.catalog.state(key).is_some() {
            return Ok(false);
        }
        let state = State::of(&attr, None, Seq(0));
        self.catalog.put(dir, bytes, &state);
        Ok(true)
    }
}
