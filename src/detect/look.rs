//! Comparing places on the disk with the catalog: one name, or one directory with all its names. A look takes no lock
//! of the recorder; only what seems to differ is observed, which compares again under the locks.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::backing::{self, Attr, DirReader, Errno, FileType};
use crate::event::Source;
use crate::recorder::{How, Located, Observed, RecordError, Stale};

use super::shared::Shared;
use super::watcher::WatchError;

/// Looks between two glances at the foreground.
const STEP: u64 = 128;
/// What a scan that nobody waits for leaves to the foreground when there is one.
const YIELD: Duration = Duration::from_millis(1);

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    pub(super) dir: u64,
    pub(super) name: Vec<u8>,
}

/// How a round of looks is done, and what it came to.
pub(super) struct Pass {
    pub(super) source: Source,
    pub(super) how: How,
    /// What differs is only noted, for the watcher to tell of first.
    pub(super) defer: bool,
    /// It makes way for the foreground.
    pub(super) yields: bool,
    pub(super) directories: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) found: AtomicU64,
    pub(super) unreadable: AtomicU64,
    /// Directories without a watch, for want of one.
    pub(super) unwatched: AtomicU64,
    looks: AtomicU64,
    foreground: AtomicU64,
}

impl Pass {
    pub(super) fn new(source: Source, how: How) -> Pass {
        Pass {
            source,
            how,
            defer: false,
            yields: false,
            directories: AtomicU64::new(0),
            files: AtomicU64::new(0),
            found: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            unwatched: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            foreground: AtomicU64::new(0),
        }
    }
}

/// What a round of looks leaves to be done.
#[derive(Default, Debug)]
pub(super) struct Later {
    /// Names whose entry has left them while something else stands there now.
    pub(super) replaced: Vec<Place>,
    /// Names whose entry has left them.
    pub(super) gone: Vec<Place>,
    /// Names to look at again: they kept changing, or their directory is on the move.
    pub(super) again: Vec<Place>,
    /// Names that differ, left to the watcher for now.
    pub(super) suspects: Vec<Place>,
    /// Directories to be listed; `true` with all that is below, else with what is not watched yet.
    pub(super) enter: Vec<(u64, bool)>,
}

impl Later {
    /// Takes in what another round left.
    pub(super) fn add(&mut self, other: Later) {
        self.replaced.extend(other.replaced);
        self.gone.extend(other.gone);
        self.again.extend(other.again);
        self.suspects.extend(other.suspects);
        self.enter.extend(other.enter);
    }
}

impl Shared {
    /// Looks at `name` in the directory `dir`, open at `at`.
    ///
    /// # Errors
    /// The log's refusals; what the storage refuses is counted and left to a later scan.
    pub(super) fn look(
        &self,
        (dir, at): (u64, BorrowedFd<'_>),
        name: &OsStr,
        pass: &Pass,
        later: &mut Later,
    ) -> Result<(), RecordError> {
        let found = match backing::lookup(at, name) {
            Ok(attr) => Some(attr),
            Err(Errno::NOENT) => None,
            Err(_) => {
                pass.unreadable.fetch_add(1, Relaxed);
                return Ok(());
            }
        };
        self.make_way(pass);
        let place = || Place {
            dir,
            name: name.as_bytes().to_vec(),
        };
        if found.as_ref().is_some_and(|attr| !attr.is_directory()) {
            pass.files.fetch_add(1, Relaxed);
        }
        if self.catalog.differs(dir, name.as_bytes(), found.as_ref()) {
            if pass.defer {
                later.suspects.push(place());
                return Ok(());
            }
            // Before the event can be read: whoever reads it and then looks finds the new state.
            self.invalidate(vec![self.stale(dir, name, found.as_ref())]);
            self.observe(&place(), pass, pass.how, later)?;
        } else if let Some(attr) = &found
            && attr.kind == FileType::RegularFile
            && self.wants_content(dir, name, pass.how)
        {
            self.observe(&place(), pass, pass.how, later)?;
        }
        // Also after an observation, which finds nothing in a directory that the mount was just making.
        if let Some(attr) = found.filter(Attr::is_directory)
            && let Some(key) = self.unwatched_directory(dir, name, &attr)
        {
            later.enter.push((key, false));
        }
        Ok(())
    }

    /// What the kernel may hold of a name that differs from what `found` says stands there.
    fn stale(&self, parent: u64, name: &OsStr, found: Option<&Attr>) -> Stale {
        let ino = self.catalog.child(parent, name.as_bytes());
        let state = ino.and_then(|key| self.catalog.state(key));
        let same = state.is_some_and(|state| found.is_some_and(|attr| state.is_of(attr)));
        Stale {
            parent,
            name: name.as_bytes().to_vec(),
            ino,
            content: false,
            // Forgetting the name of a directory that only changed would take it from those who work in it.
            entry: !same,
        }
    }

    /// Observes a place that seems to differ.
    fn observe(
        &self,
        place: &Place,
        pass: &Pass,
        how: How,
        later: &mut Later,
    ) -> Result<(), RecordError> {
        let name = OsStr::from_bytes(&place.name);
        let observed = self.recorder.observe(place.dir, name, pass.source, how);
        self.take_in(place, observed, pass, later)
    }

    /// Settles a name whose entry has left it.
    pub(super) fn settle_gone(
        &self,
        place: &Place,
        pass: &Pass,
        later: &mut Later,
    ) -> Result<(), RecordError> {
        let name = OsStr::from_bytes(&place.name);
        let observed = self.recorder.observe_gone(place.dir, name, pass.source);
        self.take_in(place, observed, pass, later)
    }

    fn take_in(
        &self,
        place: &Place,
        observed: Result<Observed, RecordError>,
        pass: &Pass,
        later: &mut Later,
    ) -> Result<(), RecordError> {
        match observed {
            Ok(observed) => {
                pass.found.fetch_add(observed.found as u64, Relaxed);
                self.invalidate(observed.invalidate);
                if observed.missing && observed.replaced {
                    later.replaced.push(place.clone());
                } else if observed.missing {
                    later.gone.push(place.clone());
                }
                if observed.busy {
                    later.again.push(place.clone());
                }
                later.enter.extend(observed.descend.map(|key| (key, true)));
                Ok(())
            }
            Err(RecordError::Storage(Errno::STALE)) => {
                later.again.push(place.clone());
                Ok(())
            }
            Err(RecordError::Storage(_)) => {
                pass.unreadable.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(refused) => Err(refused),
        }
    }

    /// Watches the directory `dir` and looks at all its names, those on the disk and those in the catalog. Gives the
    /// directories in it.
    ///
    /// # Errors
    /// ESTALE when it is not known or not where it was; what the storage and the log refuse.
    pub(super) fn directory(
        &self,
        dir: u64,
        pass: &Pass,
        later: &mut Later,
    ) -> Result<Vec<u64>, RecordError> {
        let place = self.recorder.place(dir).ok_or(Errno::STALE)?;
        let at = place.descriptor()?;
        let at = (dir, at.as_fd());
        // Watched before it is listed: what comes after the listing is told.
        if !self.watch(at) {
            pass.unwatched.fetch_add(1, Relaxed);
        }
        let (names, kinds) = list(at.1)?;
        pass.directories.fetch_add(1, Relaxed);
        if self.catalog.is_listed(dir) {
            for (name, _) in &names {
                self.look(at, name, pass, later)?;
            }
        } else {
            let adopted = self.recorder.adopt(dir, &names)?;
            pass.files.fetch_add(adopted.learnt as u64, Relaxed);
            for name in &adopted.odd {
                self.look(at, name, pass, later)?;
            }
            self.make_way(pass);
        }
        self.look_for_vanished(at, &names, pass, later)?;
        // Said at last: until then an unknown name is one that stood there before.
        self.recorder.listed(dir);
        let may_be_directory =
            |kind: &FileType| matches!(kind, FileType::Directory | FileType::Unknown);
        let below = names
            .iter()
            .zip(&kinds)
            .filter(|(_, kind)| may_be_directory(kind));
        Ok(below
            .filter_map(|((name, _), _)| self.catalog.child(dir, name.as_bytes()))
            .filter(|key| self.is_own_directory(*key))
            .collect())
    }

    /// Looks at the names that the catalog has and the listing has not.
    fn look_for_vanished(
        &self,
        at: (u64, BorrowedFd<'_>),
        names: &[(OsString, u64)],
        pass: &Pass,
        later: &mut Later,
    ) -> Result<(), RecordError> {
        let known = self.catalog.names(at.0);
        let here: std::collections::HashSet<&[u8]> =
            names.iter().map(|(name, _)| name.as_bytes()).collect();
        for (name, _) in known {
            if !here.contains(&name[..]) {
                self.look(at, OsStr::from_bytes(&name), pass, later)?;
            }
        }
        Ok(())
    }

    /// Watches a directory where that is done at all; says whether it is watched or need not be.
    fn watch(&self, (dir, at): (u64, BorrowedFd<'_>)) -> bool {
        let Some(watcher) = &self.watcher else {
            return true;
        };
        if watcher.watches(dir) {
            return true;
        }
        match watcher.watch(dir, at) {
            Ok(_) => true,
            Err(error @ WatchError::Exhausted) => {
                self.lost_sight(error.to_string());
                false
            }
            Err(error) => {
                self.lost_sight(format!("a directory cannot be watched: {error}"));
                false
            }
        }
    }

    /// The directory at `name`, if it belongs to the storage and is not watched yet.
    fn unwatched_directory(&self, dir: u64, name: &OsStr, attr: &Attr) -> Option<u64> {
        let watcher = self.watcher.as_ref()?;
        let key = self.catalog.child(dir, name.as_bytes())?;
        let own = attr.identity.dev == self.catalog.dev();
        (own && !watcher.watches(key)).then_some(key)
    }

    /// Whether `key` is a directory on the storage's own filesystem.
    fn is_own_directory(&self, key: u64) -> bool {
        let state = self.catalog.state(key);
        state.is_some_and(|s| s.is_directory() && s.identity.dev == self.catalog.dev())
    }

    fn wants_content(&self, dir: u64, name: &OsStr, how: How) -> bool {
        match how {
            How::Stat => false,
            How::Content => true,
            How::Fill => {
                let key = self.catalog.child(dir, name.as_bytes());
                key.and_then(|key| self.catalog.state(key))
                    .is_some_and(|state| state.hash.is_none())
            }
        }
    }

    /// Lets the foreground go first, now and then.
    fn make_way(&self, pass: &Pass) {
        if !pass.yields || !pass.looks.fetch_add(1, Relaxed).is_multiple_of(STEP) {
            return;
        }
        let operations = self.recorder.health().events(Source::Mount);
        if pass.foreground.swap(operations, Relaxed) != operations {
            std::thread::sleep(YIELD);
        }
    }
}

/// Names and inode numbers in a directory, with the types it says.
type Listing = (Vec<(OsString, u64)>, Vec<FileType>);

fn list(at: BorrowedFd<'_>) -> Result<Listing, Errno> {
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    DirReader::open(at)?.read(0, |entry| {
        if entry.name != "." && entry.name != ".." {
            names.push((entry.name, entry.ino));
            kinds.push(entry.kind);
        }
        true
    })?;
    Ok((names, kinds))
}
