//! How changes behind the mount are found: told by the kernel, or by looking at everything again and again. The
//! choice is pure: what was asked for, and what filesystem the storage is on.

use std::time::Duration;

/// What the user asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Watch {
    /// The watcher where it sees everything, else polling.
    #[default]
    Auto,
    /// The watcher, whatever the filesystem.
    Native,
    /// Polling.
    Poll,
    /// Neither: only the scan at the start and those that are asked for.
    Off,
}

impl Watch {
    /// Every choice.
    pub const ALL: [Watch; 4] = [Watch::Auto, Watch::Native, Watch::Poll, Watch::Off];

    /// The word for it on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Watch::Auto => "auto",
            Watch::Native => "native",
            Watch::Poll => "poll",
            Watch::Off => "off",
        }
    }
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The watcher tells, and a scan now and then finds what it missed.
    Native,
    /// A scan at the poll interval.
    Poll,
    /// Nothing unless asked.
    Off,
}

impl Mode {
    /// The word for it in `status`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Mode::Native => "native",
            Mode::Poll => "poll",
            Mode::Off => "off",
        }
    }
}

/// Filesystems whose content can change without this kernel's doing, by their number in statfs(2): inotify sees only
/// what this machine does.
const REMOTE: [(u64, &str); 19] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x564c, "ncp"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
    (0x2003_0528, "orangefs"),
    (0x7461_636f, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
];

/// The mode for what was asked on a filesystem with the number `magic` (`None`: it could not be asked), and why.
pub(super) fn choose(asked: Watch, magic: Option<u64>) -> (Mode, String) {
    let remote = magic.and_then(|magic| REMOTE.iter().find(|(number, _)| *number == magic));
    match (asked, remote) {
        (Watch::Off, _) => (Mode::Off, "asked for: --watch off".into()),
        (Watch::Poll, _) => (Mode::Poll, "asked for: --watch poll".into()),
        (Watch::Native, None) => (Mode::Native, "asked for: --watch native".into()),
        (Watch::Native, Some((_, name))) => (
            Mode::Native,
            format!("asked for: --watch native; on {name} it may not see what others change"),
        ),
        (Watch::Auto, None) => (Mode::Native, "the kernel tells of every change".into()),
        (Watch::Auto, Some((_, name))) => (
            Mode::Poll,
            format!("the storage is on {name}, where inotify does not see what others change"),
        ),
    }
}

/// Shortest time between two scans that are not asked for: below it the machine would do nothing else.
pub const SCAN_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Longest `--scan-interval` and `--poll-interval`: a day.
pub const SCAN_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Default of `--poll-interval`.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Scan interval before anything is known of the miss rate.
pub(super) const INTERVAL_FIRST: Duration = Duration::from_secs(30);
/// Bounds of the interval that adapts.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A scan may take this share of the time at most: one tenth.
const SHARE: u32 = 10;

/// The next interval after a scan that took `took` and found `missed` changes that the watcher should have told of.
pub(super) fn adapt(interval: Duration, missed: u64, took: Duration) -> Duration {
    let next = if missed > 0 {
        interval / 2
    } else {
        interval + interval / 2
    };
    next.clamp(INTERVAL_MIN, INTERVAL_MAX).max(took * SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_filesystems_are_polled_unless_told_otherwise() {
        const EXT4: u64 = 0xef53;
        const NFS: u64 = 0x6969;
        let mode = |asked, magic| choose(asked, magic).0;
        assert_eq!(mode(Watch::Auto, Some(EXT4)), Mode::Native);
        assert_eq!(mode(Watch::Auto, Some(NFS)), Mode::Poll);
        assert_eq!(mode(Watch::Auto, None), Mode::Native);
        assert_eq!(mode(Watch::Native, Some(NFS)), Mode::Native);
        assert_eq!(mode(Watch::Poll, Some(EXT4)), Mode::Poll);
        assert_eq!(mode(Watch::Off, Some(EXT4)), Mode::Off);
        assert!(choose(Watch::Auto, Some(NFS)).1.contains("nfs"));
    }

    #[test]
    fn the_interval_follows_the_misses_within_its_bounds() {
        let none = Duration::ZERO;
        assert_eq!(adapt(INTERVAL_FIRST, 0, none), Duration::from_secs(45));
        assert_eq!(adapt(INTERVAL_MAX, 0, none), INTERVAL_MAX);
        assert_eq!(adapt(INTERVAL_FIRST, 9, none), Duration::from_secs(15));
        assert_eq!(adapt(INTERVAL_MIN, 1, none), INTERVAL_MIN);
        let long = Duration::from_secs(20);
        assert_eq!(adapt(INTERVAL_FIRST, 1, long), Duration::from_secs(200));
    }
}
