//! The same things in fuser's words.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType as FuseType, INodeNo, TimeOrNow};

use crate::backing::{FileType, NewTime, Time};
use crate::vfs::Found;

/// Attributes as the kernel wants them.
pub(super) fn attr(found: &Found) -> FileAttr {
    let attr = &found.attr;
    FileAttr {
        ino: INodeNo(found.id),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: kind(attr.kind),
        perm: (attr.perm & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: device(attr.rdev),
        blksize: attr.blksize,
        flags: 0,
    }
}

/// The kernel's 32-bit form of a device number (`new_encode_dev`).
fn device(rdev: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// A device number from the kernel's 32-bit form.
pub(super) fn device_number(encoded: u32) -> u64 {
    let major = (encoded & 0xf_ff00) >> 8;
    let minor = (encoded & 0xff) | ((encoded >> 12) & 0xf_ff00);
    rustix::fs::makedev(major, minor)
}

/// Type of an entry; what the storage does not say is an ordinary file until it is looked up.
pub(super) fn kind(kind: FileType) -> FuseType {
    match kind {
        FileType::RegularFile | FileType::Unknown => FuseType::RegularFile,
        FileType::Directory => FuseType::Directory,
        FileType::Symlink => FuseType::Symlink,
        FileType::Fifo => FuseType::NamedPipe,
        FileType::Socket => FuseType::Socket,
        FileType::CharacterDevice => FuseType::CharDevice,
        FileType::BlockDevice => FuseType::BlockDevice,
    }
}

fn system_time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(time.nanos.into());
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let base = if time.secs < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    base.and_then(|base| base.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}

/// A time to set, also one before 1970.
pub(super) fn new_time(time: TimeOrNow) -> NewTime {
    let at = match time {
        TimeOrNow::Now => return NewTime::Now,
        TimeOrNow::SpecificTime(at) => at,
    };
    let secs = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    NewTime::At(match at.duration_since(UNIX_EPOCH) {
        Ok(after) => Time {
            secs: secs(after),
            nanos: after.subsec_nanos(),
        },
        // fuser 0.18 reads the kernel's (seconds, nanoseconds) of a time before 1970 as that distance before the
        // epoch, though the nanoseconds count upwards; taking it apart the same way gives the kernel's numbers back.
        Err(before) => {
            let distance = before.duration();
            Time {
                secs: -secs(distance),
                nanos: distance.subsec_nanos(),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_the_kernels() {
        // As fuser decodes -1 s and 999,999,999 ns: one nanosecond before the epoch.
        let decoded = UNIX_EPOCH - Duration::new(1, 999_999_999);
        let NewTime::At(time) = new_time(TimeOrNow::SpecificTime(decoded)) else {
            panic!("now")
        };
        let expected = Time {
            secs: -1,
            nanos: 999_999_999,
        };
        assert_eq!(time, expected);
        assert_eq!(system_time(expected), UNIX_EPOCH - Duration::from_nanos(1));
    }

    #[test]
    fn device_numbers_come_back_as_they_went() {
        for (major, minor) in [(1, 3), (0xfff, 0xf_ffff), (10, 229), (8, 300)] {
            let dev = rustix::fs::makedev(major, minor);
            assert_eq!(device_number(device(dev)), dev);
        }
    }
}
