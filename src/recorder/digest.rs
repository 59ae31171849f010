//! The hash of a file's content, read with no lock held and only believed when the file stood still meanwhile.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::backing::{self, Attr, Errno, FileType, OFlags};

use super::catalog::Hash;

/// Bytes read at once: large enough for blake3's wide paths, small enough for a thread's cache.
const BUFFER_BYTES: usize = 128 * 1024;

/// What hashing a file gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Digest {
    /// The hash of exactly the content that the attributes belong to.
    Hash(Hash),
    /// It cannot be read, or is no regular file: there is no hash.
    None,
    /// It changed while it was read.
    Moved,
}

/// Hashes the file at `name` in `dir`, which was just found to be `attr`.
pub(super) fn digest(dir: BorrowedFd<'_>, name: &OsStr, attr: &Attr) -> Digest {
    if attr.kind != FileType::RegularFile {
        return Digest::None;
    }
    match open(dir, name) {
        Ok(file) => digest_open(file.as_fd(), attr),
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => Digest::Moved,
        Err(_) => Digest::None,
    }
}

/// Hashes the file open for reading at `file`, which was just found to be `attr`.
pub(super) fn digest_open(file: BorrowedFd<'_>, attr: &Attr) -> Digest {
    let stands = || backing::attr_of(file).is_ok_and(|now| same(attr, &now));
    if !stands() {
        return Digest::Moved;
    }
    let mut hasher = blake3::Hasher::new();
    let room = usize::try_from(attr.size.saturating_add(1)).unwrap_or(BUFFER_BYTES);
    let mut buffer = vec![0; room.min(BUFFER_BYTES)];
    let mut offset = 0;
    loop {
        match backing::read_at(file, offset, &mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                offset += count as u64;
                // A file that grows for ever would keep this thread for ever.
                if offset > attr.size {
                    return Digest::Moved;
                }
            }
            Err(_) => return Digest::None,
        }
    }
    if stands() {
        Digest::Hash(*hasher.finalize().as_bytes())
    } else {
        Digest::Moved
    }
}

/// Whether nothing happened to an entry between two looks at it.
pub(super) fn same(before: &Attr, after: &Attr) -> bool {
    before.identity == after.identity
        && before.kind == after.kind
        && before.perm == after.perm
        && before.uid == after.uid
        && before.gid == after.gid
        && (before.is_directory()
            || (before.size == after.size
                && before.mtime == after.mtime
                && before.ctime == after.ctime
                && before.nlink == after.nlink))
}

/// Reading leaves no trace in the access time where the kernel lets us.
fn open(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    match backing::open_entry(dir, name, flags | OFlags::NOATIME) {
        Err(Errno::PERM) => backing::open_entry(dir, name, flags),
        other => other,
    }
}
