//! What answers have in common: lifetimes, entries, numbers of failures.

use std::time::{Duration, SystemTime};

use fuser::{Errno, FileAttr, INodeNo, ReplyXattr};

use crate::vfs::is_control;

/// How long the kernel may believe a name or attributes. Changes through the mount it knows at once, and attributes are
/// told to be stale when a change behind the mount is found; a name that went there is believed at most this long
/// (why names are not told: `invalidate`). A longer time would save one lookup of a name in use each second.
pub(super) const LIFETIME: Duration = Duration::from_secs(1);

/// How long the kernel may believe what it is told of an entry. A write may take the set-id bits of a file away, and the
/// kernel leaves that to us without asking what came of it: such a file is asked for each time.
pub(super) fn lifetime(attr: &FileAttr) -> Duration {
    const SET_ID: u16 = 0o6000;
    let set_id = attr.kind == fuser::FileType::RegularFile && attr.perm & SET_ID != 0;
    if set_id || is_control(attr.ino.0) {
        Duration::ZERO
    } else {
        LIFETIME
    }
}

/// Answers with a value or the error's number.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $ok:expr) => {
        match $result {
            Ok($value) => $ok,
            Err(error) => $reply.error(crate::fuse::errno::errno(&error)),
        }
    };
}

/// Answers with an entry.
macro_rules! entry {
    ($reply:ident, $result:expr) => {
        $crate::fuse::answer::answer!($reply, $result, found => {
            let attr = crate::fuse::convert::attr(&found);
            $reply.entry(&crate::fuse::answer::lifetime(&attr), &attr, fuser::Generation(found.generation));
        })
    };
}

pub(super) use answer;
pub(super) use entry;

/// An entry with number 0: a name that is not there.
pub(super) fn missing() -> FileAttr {
    let epoch = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        crtime: epoch,
        kind: fuser::FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// A value, or with a size of 0 its length.
pub(super) fn sized(reply: ReplyXattr, value: &[u8], size: u32) {
    if size == 0 {
        reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX));
    } else if value.len() > size as usize {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(value);
    }
}
