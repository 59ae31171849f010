//! Why a command failed, as one line.

use std::io;
use std::path::{Path, PathBuf};

use crate::daemon::DaemonError;

/// Everything that ends a command other than well.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line itself is wrong, or asks for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The mount could not be made or ended badly.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The reader of standard output closed it.
    #[error("standard output: closed by its reader: nothing to do")]
    ReaderGone,
    /// A path does not lie in a hippofs mount.
    #[error("{}: not a hippofs mount: mount it with `hippofs mount`", .0.display())]
    NotMounted(PathBuf),
    /// Anything else: what, why, what to do.
    #[error("{what}: {why}: {hint}")]
    Failed {
        /// What was tried, or on what.
        what: String,
        /// Why it failed.
        why: String,
        /// What to do.
        hint: String,
    },
}

impl CliError {
    /// A [`CliError::Failed`].
    pub fn failed(
        what: impl Into<String>,
        why: impl ToString,
        hint: impl Into<String>,
    ) -> CliError {
        CliError::Failed {
            what: what.into(),
            why: why.to_string(),
            hint: hint.into(),
        }
    }

    /// The failure of writing the result.
    #[must_use]
    pub fn output(error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::ReaderGone,
            _ => CliError::failed("standard output", error, "see where it leads"),
        }
    }

    /// The failure of reading `path` inside a mount.
    pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> CliError {
        move |error| {
            let hint = match error.raw_os_error() {
                Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ENODEV) => {
                    "the daemon of this mount is gone: mount it again, or run `hippofs unmount`"
                }
                Some(libc::EACCES | libc::EPERM) => "ask the owner of the mount, or be root",
                Some(libc::ENOENT | libc::ENOTDIR) => "see the spelling",
                _ => "see the daemon's messages",
            };
            CliError::failed(path.display().to_string(), error, hint)
        }
    }
}
