//! Why a daemon could not start or ended badly. Each message is one line: what, why, what to do; the command line
//! prints it after `hippofs: ` and escapes what a hostile name may hold.

use std::io;
use std::path::PathBuf;

use crate::event_log::LogError;

/// Everything that ends `serve` or `supervise` other than well.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The storage directory cannot be used.
    #[error("storage {}: {why}: {hint}", path.display())]
    Storage {
        /// The storage as given.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// The mount point cannot be used.
    #[error("mount point {}: {why}: {hint}", path.display())]
    Mountpoint {
        /// The mount point as given.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file or directory of the state (`store.json`, `lock`, `log`) cannot be used.
    #[error("state {}: {why}: {hint}", path.display())]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// Another daemon serves this storage.
    #[error("storage {}: another hippofs serves it{}: unmount it first, or work in its mount", path.display(), by_pid(*pid))]
    Locked {
        /// The storage.
        path: PathBuf,
        /// The other daemon, where its lock says so.
        pid: Option<u32>,
    },
    /// The store was written by a newer hippofs.
    #[error("store {}: its format is {found} and this hippofs knows up to {known}: use a newer hippofs", path.display())]
    NewerFormat {
        /// The file that says so.
        path: PathBuf,
        /// The version it names.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// The event log cannot be opened or ended badly.
    #[error("event log {}: {source}: run `hippofs verify` on the storage", path.display())]
    Log {
        /// The log's directory.
        path: PathBuf,
        /// Why.
        source: LogError,
    },
    /// The kernel refused the mount or its session ended badly.
    #[error("mount {}: {source}: {hint}", path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Anything else the system refused.
    #[error("{what}: {source}: {hint}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A supervised daemon died again and again.
    #[error("supervise {}: the daemon died {deaths} times in a row within a second of its start, last by {last}: mount without --supervise to see why", path.display())]
    GaveUp {
        /// The mount point.
        path: PathBuf,
        /// Deaths in a row.
        deaths: u32,
        /// How it died the last time.
        last: String,
    },
}

impl DaemonError {
    /// An [`DaemonError::Io`], for `map_err`.
    pub fn io(
        what: impl Into<String>,
        hint: &'static str,
    ) -> impl FnOnce(io::Error) -> DaemonError {
        let what = what.into();
        move |source| DaemonError::Io { what, source, hint }
    }
}

fn by_pid(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}
