//! What the storage says of an entry, and what makes an entry itself.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags};

use super::Errno;

/// A file time: seconds since the epoch, negative before 1970, and nanoseconds in 0..1_000_000_000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds after `secs`.
    pub nanos: u32,
}

/// What makes an entry itself, however it is named. Inode numbers are reused by the storage's filesystem at once,
/// so the time of birth is part of it (zero on filesystems that keep none).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// Device of the filesystem.
    pub dev: u64,
    /// Inode number in it.
    pub ino: u64,
    /// Seconds and nanoseconds of birth.
    pub birth: (i64, u32),
}

/// Attributes of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    /// What makes it itself.
    pub identity: Identity,
    /// Type.
    pub kind: FileType,
    /// Permission, set-id and sticky bits (07777).
    pub perm: u32,
    /// Size in bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Names it has.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file, as `makedev` packs it.
    pub rdev: u64,
    /// Preferred block size in bytes.
    pub blksize: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of attributes.
    pub ctime: Time,
}

impl Attr {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Asks for the entry `name` of `dir`, not following it; an empty name asks for `dir` itself.
    ///
    /// # Errors
    /// As statx(2).
    pub(super) fn read(dir: BorrowedFd<'_>, name: &Path) -> Result<Attr, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
        let raw = rustix::fs::statx(
            dir,
            name,
            flags,
            StatxFlags::BASIC_STATS | StatxFlags::BTIME,
        )?;
        Ok(Attr::from(&raw))
    }
}

impl From<&Statx> for Attr {
    fn from(raw: &Statx) -> Attr {
        let time = |t: &rustix::fs::StatxTimestamp| Time {
            secs: t.tv_sec,
            nanos: t.tv_nsec,
        };
        let mode = u32::from(raw.stx_mode);
        Attr {
            identity: Identity {
                dev: rustix::fs::makedev(raw.stx_dev_major, raw.stx_dev_minor),
                ino: raw.stx_ino,
                birth: (raw.stx_btime.tv_sec, raw.stx_btime.tv_nsec),
            },
            kind: FileType::from_raw_mode(mode),
            perm: mode & 0o7777,
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            nlink: raw.stx_nlink,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            rdev: rustix::fs::makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
            blksize: raw.stx_blksize,
            atime: time(&raw.stx_atime),
            mtime: time(&raw.stx_mtime),
            ctime: time(&raw.stx_ctime),
        }
    }
}
