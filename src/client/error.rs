//! What can go wrong between a program and a mount, each kind once.

use std::io;
use std::path::{Path, PathBuf};

/// Any failure of this module.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The path lies in no mount.
    #[error("{}: not inside a hippofs mount", .0.display())]
    NotMounted(PathBuf),
    /// The mount is there and its daemon is not.
    #[error("{}: the daemon of this mount is gone", .0.display())]
    Gone(PathBuf),
    /// A control file could not be opened, read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The daemon refused a request.
    #[error("request: {message}: {hint}")]
    Refused {
        /// One word for programs.
        code: String,
        /// What is wrong.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// A control file gave something else than it should.
    #[error("{}: not the expected JSON: {why}", .path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// The failure of reading or writing `path`.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> ClientError {
        move |source| ClientError::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn unexpected(path: &Path, why: impl ToString) -> ClientError {
        ClientError::Unexpected {
            path: path.to_path_buf(),
            why: why.to_string(),
        }
    }

    /// Whether the daemon is away and may come back, as after its death under a supervisor: a call on a dead mount,
    /// one that a dying daemon left unanswered, or, between two daemons, no control files at all.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            ClientError::Gone(_) | ClientError::NotMounted(_) => true,
            ClientError::Io { source, .. } => matches!(
                source.raw_os_error(),
                Some(
                    libc::ENOTCONN
                        | libc::ECONNABORTED
                        | libc::ECONNREFUSED
                        | libc::ENODEV
                        | libc::ENOENT
                        | libc::ENOTDIR
                        | libc::ESTALE
                )
            ),
            ClientError::Refused { .. } | ClientError::Unexpected { .. } => false,
        }
    }
}
