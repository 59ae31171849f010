//! A scan that someone asked for by path, and what it is answered with.

use crossbeam_channel::Sender;

use super::figures::Scanned;

/// Why a path cannot be reconciled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Nothing stands there, and nothing stood there.
    #[error("no such entry")]
    NotFound,
    /// What was found could not be recorded.
    #[error("the log could not take what was found")]
    Refused,
    /// The mount is being taken off.
    #[error("the mount is being taken off")]
    Ended,
}

/// A scan of one place.
pub(super) struct Job {
    /// Relative to the storage's root; `.` or nothing for all of it.
    pub(super) path: Vec<u8>,
    /// Whether all content is read.
    pub(super) full: bool,
    pub(super) answer: Sender<Result<Scanned, ReconcileError>>,
}
