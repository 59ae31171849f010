//! The control directory's place in the tree: its numbers, attributes and opens.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use crate::backing::{Attr, FileType, Identity, Time};
use crate::control::{Entry, VersionId};
use crate::event::{Caller, Seq};

use super::consumers;
use super::handles::{Handle, OpenControlDir};
use super::{Error, Found, Result, Vfs};

/// Its name in the root.
pub const CONTROL_NAME: &str = ".hippofs";
/// Numbers from here on belong to the control directory.
const CONTROL_FROM: u64 = 1 << 63;
/// Numbers from here on are `since/SEQ`, the position added.
const SINCE_FROM: u64 = CONTROL_FROM | 1 << 62;
/// The furthest position that has a number.
const SINCE_MAX: u64 = (1 << 62) - 1;
/// Entries with a number of their own.
const FIXED: [Entry; 10] = [
    Entry::Root,
    Entry::Events,
    Entry::SinceDir,
    Entry::Follow,
    Entry::Control,
    Entry::Status,
    Entry::Metrics,
    Entry::Help,
    Entry::ConsumersDir,
    Entry::VersionsDir,
];
/// Numbers of the control directory from here on, up to those of consumers, are of `versions/`.
const VERSIONS_FROM: u64 = 1 << 60;
/// Tells the file of a version from a directory.
const VERSION_FILE: u64 = 1 << 40;

/// Whether `id` belongs to the control directory.
#[must_use]
pub fn is_control(id: u64) -> bool {
    id >= CONTROL_FROM
}

pub(super) fn id_of(entry: Entry) -> u64 {
    match entry {
        Entry::VersionDir(id) => CONTROL_FROM | VERSIONS_FROM | u64::from(id.0),
        Entry::VersionFile(id) => CONTROL_FROM | VERSIONS_FROM | VERSION_FILE | u64::from(id.0),
        Entry::Consumer(_) | Entry::ConsumerFile(..) => CONTROL_FROM | consumers::id_of(entry),
        // No position past 2^62 can come up: all of them are the one that lies ahead of everything.
        Entry::Since(seq) => SINCE_FROM | seq.0.min(SINCE_MAX),
        fixed => CONTROL_FROM + FIXED.iter().position(|e| *e == fixed).unwrap_or(0) as u64,
    }
}

pub(super) fn entry_of(id: u64) -> Result<Entry> {
    if id >= SINCE_FROM {
        return Ok(Entry::Since(Seq(id & !SINCE_FROM)));
    }
    if let Some(entry) = consumers::entry_of(id & !CONTROL_FROM) {
        return Ok(entry);
    }
    if let Some(version) = version_of(id) {
        return Ok(if id & VERSION_FILE == 0 {
            Entry::VersionDir(version)
        } else {
            Entry::VersionFile(version)
        });
    }
    let at = usize::try_from(id - CONTROL_FROM).unwrap_or(usize::MAX);
    FIXED
        .get(at)
        .copied()
        .ok_or(Error::Storage(crate::backing::Errno::STALE))
}

/// The name below `versions/` that a number stands for.
pub(super) fn version_of(id: u64) -> Option<VersionId> {
    let number = (id & !CONTROL_FROM).checked_sub(VERSIONS_FROM)? & !VERSION_FILE;
    u32::try_from(number).ok().map(VersionId)
}

impl Vfs {
    /// Whether what is below `id` is found by reading the log, which may take longer than a kernel-facing thread has.
    #[must_use]
    pub fn is_long_to_find(&self, id: u64) -> bool {
        is_control(id)
            && matches!(
                entry_of(id),
                Ok(Entry::VersionsDir | Entry::VersionDir(_) | Entry::VersionFile(_))
            )
    }

    /// The control directory itself.
    pub(super) fn control_root(&self) -> Found {
        self.control_found(Entry::Root)
    }

    /// The control entry `id`.
    pub(super) fn control_attr(&self, id: u64) -> Result<Found> {
        let entry = entry_of(id)?;
        self.consumer_lives(entry)?;
        Ok(self.control_found(entry))
    }

    /// `name` in the control directory `id`.
    pub(super) fn control_lookup(&self, id: u64, name: &OsStr) -> Result<Found> {
        self.control_child(entry_of(id)?, name)
            .ok_or(Error::Storage(crate::backing::Errno::NOENT))
    }

    /// `name` in the control directory `entry`.
    pub(super) fn control_child(&self, entry: Entry, name: &OsStr) -> Option<Found> {
        let child = self.control.child(entry, name.as_bytes())?;
        Some(self.control_found(child))
    }

    /// Names in the control directory `entry`, with their numbers and types.
    pub(super) fn control_names(&self, entry: Entry) -> Vec<(OsString, u64, FileType)> {
        self.control
            .children(entry)
            .into_iter()
            .map(|(name, child)| (name, id_of(child), kind_of(child)))
            .collect()
    }

    /// Opens the control directory `id`.
    pub(super) fn control_opendir(&self, id: u64) -> Result<u64> {
        let dir = OpenControlDir {
            entry: entry_of(id)?,
            names: OnceLock::new(),
        };
        Ok(self.handles.insert(Handle::ControlDir(Arc::new(dir))))
    }

    /// Opens the control file `id`.
    pub(super) fn control_open(&self, id: u64, caller: &Arc<Caller>) -> Result<u64> {
        let entry = entry_of(id)?;
        self.consumer_lives(entry)?;
        let stream = self.control.open(entry, Arc::clone(caller))?;
        Ok(self.handles.insert(Handle::Control(Arc::new(stream))))
    }

    pub(super) fn control_found(&self, entry: Entry) -> Found {
        let now = crate::event::Timestamp::now().0;
        let time = Time {
            secs: (now / 1_000_000_000).cast_signed(),
            nanos: (now % 1_000_000_000) as u32,
        };
        let id = id_of(entry);
        let attr = Attr {
            identity: Identity {
                dev: 0,
                ino: id,
                birth: (0, 0),
            },
            kind: kind_of(entry),
            perm: entry.mode(),
            size: 0,
            blocks: 0,
            nlink: if entry.is_dir() { 2 } else { 1 },
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            atime: time,
            mtime: time,
            ctime: time,
        };
        Found {
            id,
            generation: 0,
            attr,
        }
    }
}

fn kind_of(entry: Entry) -> FileType {
    if entry.is_dir() {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}
