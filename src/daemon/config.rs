//! What one daemon is told to do. Made by the command line from its options; every value in it is in range, and the
//! daemon checks none of them again.

use std::path::PathBuf;
use std::time::Duration;

use crate::detect;
use crate::event_log;
use crate::recorder::KeepOptions;

/// Shortest `--sync-interval`: as the log has it; below it the disk would only be busy.
pub const SYNC_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Longest `--sync-interval`: beyond it a power loss costs more than anyone means to risk.
pub const SYNC_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// Shortest `--retain-age`: a reader that pauses for a moment must not lose its place.
pub const RETAIN_AGE_MIN: Duration = Duration::from_secs(1);
/// Longest `--retain-age`, a century: stands for "for ever" and keeps time arithmetic far from overflow.
pub const RETAIN_AGE_MAX: Duration = Duration::from_secs(36_525 * 24 * 3600);
/// Largest `--retain-bytes`, 1 PiB: beyond any disk, and far from overflow.
pub const RETAIN_BYTES_MAX: u64 = 1 << 50;

/// Largest `--retain-max`: with it a consumer that nobody reads holds a hundred times what was asked for.
pub const RETAIN_MAX_MAX: u32 = 100;

/// One mount and its log.
#[derive(Clone, Debug)]
pub struct Config {
    /// The real directory, absolute and without symbolic links.
    pub storage: PathBuf,
    /// Where sessions see it, absolute and without symbolic links; equal to `storage` when over itself.
    pub mountpoint: PathBuf,
    /// Where log and state are kept instead of `.hippofs` in the storage.
    pub state_dir: Option<PathBuf>,
    /// Other users than the mount's owner may use the mount.
    pub allow_other: bool,
    /// Read-only opens are passed through to the storage by the kernel where it can; see `fuse::io_mode` for the price.
    pub passthrough: bool,
    /// Nothing can be changed through the mount.
    pub read_only: bool,
    /// Changes are performed and not recorded, for measurements.
    pub no_log: bool,
    /// Segment size, retention and sync interval of the log.
    pub log: event_log::Options,
    /// What is kept of contents; `None` keeps nothing new.
    pub keep: Option<KeepOptions>,
    /// How changes behind the mount are found.
    pub detect: detect::Options,
    /// Generic mount flags: `nodev`, `nosuid`, `noexec`, `noatime` and their kin.
    pub fs_options: Vec<String>,
}

impl Config {
    /// Whether the mount covers its own storage.
    #[must_use]
    pub fn over_itself(&self) -> bool {
        self.storage == self.mountpoint
    }
}
