//! Looking at one name: first without locks, which may take long, then again under them, which must show the same.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use crate::backing::{self, Attr, Errno};

use super::super::catalog::State;
use super::super::digest::same;
use super::super::keep::{Captured, Keeper, Moved, capture};
use super::super::locks::KEYS_MAX;
use super::super::reach::Tracked;
use super::super::{Located, Scope, Tree};
use super::How;
use super::decide::{Elsewhere, Sight};

impl Tracked {
    /// Looks at `name` in the directory `dir`, open at `at`; with `read` its content is read where `how` asks for it.
    /// `None` when it changed while it was read.
    pub(super) fn see(
        &self,
        (dir, at): (u64, BorrowedFd<'_>),
        name: &OsStr,
        (how, read): (How, bool),
        keeper: Option<&Keeper>,
    ) -> Result<Option<Sight>, Errno> {
        let mut sight = self.see_names(dir, at, name)?;
        let Some(attr) = &sight.found else {
            return Ok(Some(sight));
        };
        if read && self.wants_content(&sight, attr, how) {
            let keeper = keeper.filter(|_| self.will_be_told(&sight, attr));
            let captured = match capture(at, name, attr, keeper) {
                Ok(captured) => captured,
                Err(Moved) => return Ok(None),
            };
            sight.hash = captured.hash;
            sight.captured = captured;
        }
        Ok(Some(sight))
    }

    /// Whether an event will tell of what stands there, so that its content is to be kept: not of what is learnt
    /// because it stood there before anyone watched, and not of what is only hashed.
    fn will_be_told(&self, sight: &Sight, attr: &Attr) -> bool {
        let known = self.catalog.state(self.catalog.key_of(&attr.identity));
        match known.filter(|state| state.is_of(attr)) {
            Some(state) => !state.difference(attr).is_none(),
            None => sight.listed || sight.known.is_some(),
        }
    }

    /// Whether the same is seen again, now that it cannot be changed through the mount any more.
    pub(super) fn sees_again(
        &self,
        (dir, at): (u64, BorrowedFd<'_>),
        name: &OsStr,
        before: &Sight,
    ) -> Result<bool, Errno> {
        let now = self.see_names(dir, at, name)?;
        let found = match (&before.found, &now.found) {
            (None, None) => true,
            (Some(before), Some(now)) => same(before, now),
            (None, Some(_)) | (Some(_), None) => false,
        };
        Ok(found
            && now.known == before.known
            && now.elsewhere == before.elsewhere
            && now.listed == before.listed)
    }

    fn see_names(&self, dir: u64, at: BorrowedFd<'_>, name: &OsStr) -> Result<Sight, Errno> {
        let bytes = name.as_bytes();
        let found = stands(at, name)?
            .filter(|attr| !self.catalog.leaves_out(dir, bytes, Some(&attr.identity)));
        let known = self.catalog.child(dir, bytes);
        let known = match known {
            None => None,
            // Its inode number is just getting a new bearer: to be looked at again.
            Some(key) => Some((key, self.catalog.state(key).ok_or(Errno::STALE)?)),
        };
        let elsewhere = match &found {
            Some(attr) => self.elsewhere(attr, (dir, bytes))?,
            None => Elsewhere::Unknown,
        };
        Ok(Sight {
            known,
            found,
            hash: None,
            captured: Captured::default(),
            elsewhere,
            listed: self.catalog.is_listed(dir),
        })
    }

    /// Where else than `here` the catalog knows the entry that `attr` is of.
    fn elsewhere(&self, attr: &Attr, here: (u64, &[u8])) -> Result<Elsewhere, Errno> {
        let key = self.catalog.key_of(&attr.identity);
        if !self
            .catalog
            .state(key)
            .is_some_and(|state| state.is_of(attr))
        {
            return Ok(Elsewhere::Unknown);
        }
        let mut elsewhere = Elsewhere::Unknown;
        for (dir, name) in self.catalog.places(key) {
            if dir == here.0 && name == here.1 {
                continue;
            }
            if !self.holds(dir, &name, attr)? {
                return Ok(Elsewhere::Left((dir, name)));
            }
            elsewhere = Elsewhere::Linked;
        }
        Ok(elsewhere)
    }

    /// Whether `name` in `dir` holds the entry that `attr` is of.
    pub(in super::super) fn holds(
        &self,
        dir: u64,
        name: &[u8],
        attr: &Attr,
    ) -> Result<bool, Errno> {
        let Some(place) = self.place(dir) else {
            return Ok(false);
        };
        let at = match place.descriptor() {
            Ok(at) => at,
            // The directory itself is gone from where it was: so is what stood in it, by that name.
            Err(Errno::STALE) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let found = stands(at.as_fd(), OsStr::from_bytes(name))?;
        Ok(found.is_some_and(|found| found.identity == attr.identity))
    }

    fn wants_content(&self, sight: &Sight, attr: &Attr, how: How) -> bool {
        let key = self.catalog.key_of(&attr.identity);
        let state = self.catalog.state(key).filter(|state| state.is_of(attr));
        let Some(state) = state else {
            // What is learnt without an event is hashed only when that is asked for.
            return sight.listed || sight.known.is_some() || how != How::Stat;
        };
        match how {
            How::Content => true,
            How::Fill => state.hash.is_none() || !state.difference(attr).is_none(),
            How::Stat => !state.difference(attr).is_none(),
        }
    }
}

/// What must be held while `sight` of a name in the directory of `dir` is settled.
pub(super) fn scope(tracked: &Tracked, dir: &State, sight: &Sight) -> Scope {
    let known = sight.known.map(|(_, state)| state);
    let found = sight.found.as_ref();
    let stays = match (&known, found) {
        (Some(state), Some(attr)) => state.is_of(attr),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let mut scope = Scope {
        keys: [None; KEYS_MAX],
        tree: Tree::Shared,
    };
    scope.keys[0] = Some(dir.identity.ino);
    scope.keys[1] = known.map(|state| state.identity.ino);
    scope.keys[2] = found.map(|attr| attr.identity.ino);
    if let Elsewhere::Left((from, _)) = &sight.elsewhere {
        let from = tracked.catalog.state(*from);
        scope.keys[3] = from.map(|state| state.identity.ino);
    }
    let known_dir = known.is_some_and(|state| state.is_directory());
    let found_dir = found.is_some_and(Attr::is_directory);
    let moves = matches!(sight.elsewhere, Elsewhere::Left(_));
    if !stays && (known_dir || (found_dir && moves)) {
        scope.tree = Tree::Exclusive;
    }
    scope
}

/// What stands at `name` in the directory open at `dir`.
pub(super) fn stands(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Attr>, Errno> {
    match backing::lookup(dir, name) {
        Ok(attr) => Ok(Some(attr)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
        Err(errno) => Err(errno),
    }
}
