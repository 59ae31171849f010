//! Why the log refuses, and what it says about a failure that lasts.

use std::io;

use crate::event::Timestamp;

/// Why a call on the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No room can be preallocated for the event; nothing was done.
    #[error("no space left for the event log")]
    DiskFull,
    /// A storage call failed.
    #[error("event log: {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier failure is not healed yet; nothing was written.
    #[error("event log is stopped: {detail}")]
    Latched {
        /// The failure that stopped it.
        detail: String,
    },
    /// The line does not fit what was or can be reserved.
    #[error("event of {bytes} bytes is too long for the log")]
    TooLong {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The log has been closed.
    #[error("event log is closed")]
    Closed,
    /// Bytes are not what the format says.
    #[error("event log: {0}")]
    Format(String),
}

impl LogError {
    /// For `map_err`: a failed storage call, with what was tried.
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> LogError {
        move |source| {
            if no_space(&source) {
                LogError::DiskFull
            } else {
                LogError::Io { what, source }
            }
        }
    }

    /// Whether room is what is missing (ENOSPC for the caller).
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, LogError::DiskFull)
    }
}

/// Whether a storage error means that there is no room: a full disk, a quota, a file size limit.
pub(super) fn no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// What kind of failure lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// No room for a further segment.
    DiskFull,
    /// The storage failed.
    Io,
}

/// A failure that lasts until its cause is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// One sentence for a person.
    pub detail: String,
    /// When it began.
    pub since: Timestamp,
}

impl Failure {
    /// A failure that begins now.
    pub(super) fn now(error: &LogError) -> Failure {
        Failure {
            kind: if error.is_disk_full() {
                FailureKind::DiskFull
            } else {
                FailureKind::Io
            },
            detail: error.to_string(),
            since: Timestamp::now(),
        }
    }

    /// What a caller is told while it lasts.
    pub(super) fn error(&self) -> LogError {
        match self.kind {
            FailureKind::DiskFull => LogError::DiskFull,
            FailureKind::Io => LogError::Latched {
                detail: self.detail.clone(),
            },
        }
    }
}
