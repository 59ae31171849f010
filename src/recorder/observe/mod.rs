//! What changed behind the mount: the disk is compared with the catalog under the same locks that changes hold, and
//! only a proven difference is recorded, as `found`.
//!
//! A name that vanished is not at once a deletion: what stood there may have moved. [`Recorder::observe`] says
//! `missing`, and [`Recorder::observe_gone`] records it when no appearance has claimed the identity.

mod decide;
mod learn;
mod record;
mod sight;

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use crate::backing::Errno;
use crate::event::Source;
use crate::event_log::Purpose;

use super::reach::Tracked;
use super::{Located, RecordError, Recorder};
use decide::decide;
use record::Finding;
use sight::scope;

/// Times a name is looked at anew because it changed meanwhile. The last of them reads no content, so that only
/// two calls lie between the looks.
const LOOKS_MAX: usize = 4;

/// How thoroughly an entry is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// By its attributes; content is read only where they differ.
    Stat,
    /// As `Stat`, and content whose hash is not known yet is hashed.
    Fill,
    /// By its content.
    Content,
}

/// What an observation found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// What the kernel may still hold and must forget.
    pub invalidate: Vec<Stale>,
    /// Events recorded.
    pub found: usize,
    /// What the catalog knows at this name has left it, and where to is not known: to be settled with
    /// [`Recorder::observe_gone`] once what appeared elsewhere has been observed.
    pub missing: bool,
    /// With `missing`: something else stands there now. These are to be settled before the others, because what
    /// stands there may have left one of those.
    pub replaced: bool,
    /// It kept changing while it was looked at: nothing was recorded, look again later.
    pub busy: bool,
    /// A directory that came to this name: its content is to be watched and looked at.
    pub descend: Option<u64>,
}

impl Observed {
    /// Takes in what a further observation found.
    pub fn add(&mut self, other: Observed) {
        self.invalidate.extend(other.invalidate);
        self.found += other.found;
        self.missing |= other.missing;
        self.replaced |= other.replaced;
        self.busy |= other.busy;
        self.descend = self.descend.or(other.descend);
    }
}

/// Something the kernel may hold that is no longer so, in the catalog's numbers: inode numbers on the storage's own
/// filesystem, the root by its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stale {
    /// Directory.
    pub parent: u64,
    /// Name in it.
    pub name: Vec<u8>,
    /// The entry that changed; `None` when only the name did.
    pub ino: Option<u64>,
    /// Whether its data changed without size or time telling so.
    pub content: bool,
    /// Whether the name came, went, or stands for another entry now; else only the entry changed.
    pub entry: bool,
}

/// What a listing brought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Adopted {
    /// Entries learnt: they stood there before anyone watched.
    pub learnt: usize,
    /// Names to observe one by one: they do not fit what is known.
    pub odd: Vec<OsString>,
}

impl Recorder {
    /// Compares what stands at `name` in the directory `dir` with the catalog, records what differs, and lets the
    /// catalog follow. An unknown name in a directory that was never listed is learnt without an event. The name
    /// `.` stands for the directory itself.
    ///
    /// # Errors
    /// [`RecordError::Storage`] with ESTALE when `dir` is not known or not where it was (observe the directory's own
    /// name first), else the storage's answer; [`RecordError::Refused`] when the log cannot take it: what was not
    /// recorded is found again by the next look.
    pub fn observe(
        &self,
        dir: u64,
        name: &OsStr,
        source: Source,
        how: How,
    ) -> Result<Observed, RecordError> {
        self.observe_name((dir, name), source, how, false, Purpose::Ordinary)
    }

    /// Settles a name that [`Recorder::observe`] called missing: records the deletion (of a directory with all that
    /// is known below it, children first), or that another entry took its place.
    ///
    /// # Errors
    /// As [`Recorder::observe`].
    pub fn observe_gone(
        &self,
        dir: u64,
        name: &OsStr,
        source: Source,
    ) -> Result<Observed, RecordError> {
        self.observe_name((dir, name), source, How::Stat, true, Purpose::Ordinary)
    }

    /// Says that every name in `dir` has been adopted or observed: from here on an unknown one has come since.
    pub fn listed(&self, dir: u64) {
        if let Some(tracked) = &self.tracked {
            tracked.catalog.set_listed(dir, true);
        }
    }

    /// See [`Recorder::observe`] and, for `settled`, [`Recorder::observe_gone`]. `purpose` is that of the change
    /// that waits for it: what frees space must not be held up by what has to be recorded first.
    pub(super) fn observe_name(
        &self,
        (dir, name): (u64, &OsStr),
        source: Source,
        how: How,
        settled: bool,
        purpose: Purpose,
    ) -> Result<Observed, RecordError> {
        let Some(tracked) = &self.tracked else {
            return Ok(Observed::default());
        };
        if tracked.catalog.leaves_out(dir, name.as_bytes(), None) {
            return Ok(Observed::default());
        }
        if name == "." {
            return self.observe_itself(tracked, dir, source, purpose);
        }
        let place = tracked.place(dir).ok_or(Errno::STALE)?;
        let at = place.descriptor()?;
        let at = (dir, at.as_fd());
        for look in 1..=LOOKS_MAX {
            let Some(sight) =
                tracked.see(at, name, (how, look < LOOKS_MAX), self.keeper.as_ref())?
            else {
                continue;
            };
            let state = tracked.catalog.state(dir).ok_or(Errno::STALE)?;
            let scope = scope(tracked, &state, &sight);
            let _held = self.locks.hold(&scope);
            let _bearers = self.locks.bearers(scope.keys);
            if !tracked.sees_again(at, name, &sight)? {
                continue;
            }
            let finding = Finding {
                recorder: self,
                tracked,
                dir,
                name: name.as_bytes(),
                source,
                missing: sight.captured.missing,
                purpose,
            };
            let verdict = decide(&sight, settled);
            return finding.act(&sight, verdict);
        }
        Ok(Observed {
            busy: true,
            ..Observed::default()
        })
    }

    /// Compares a directory's own attributes: the way to the root, which has no name.
    fn observe_itself(
        &self,
        tracked: &Tracked,
        dir: u64,
        source: Source,
        purpose: Purpose,
    ) -> Result<Observed, RecordError> {
        let place = tracked.place(dir).ok_or(Errno::STALE)?;
        let at = place.descriptor()?;
        let _held = self.locks.hold(&super::Scope::of(&[place.lock_key()]));
        let attr = crate::backing::attr_of(at.as_fd())?;
        let state = tracked.catalog.state(dir).ok_or(Errno::STALE)?;
        let finding = Finding {
            recorder: self,
            tracked,
            dir,
            name: b".",
            source,
            missing: None,
            purpose,
        };
        finding.itself(dir, &state, &attr)
    }
}
