//! Calls that name an entry by its directory and one name.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use super::{Attr, Errno, FileType};

/// Attributes of `name` in `dir`, not followed.
///
/// # Errors
/// As statx(2).
pub fn lookup(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Attr, Errno> {
    Attr::read(dir, Path::new(name))
}

/// Whether `name` stands in `dir`.
///
/// # Errors
/// As statx(2), but for the answer "no".
pub fn exists(dir: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
    match lookup(dir, name) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A descriptor that stands for the entry itself, whatever its type, and can neither read nor write.
///
/// # Errors
/// As openat(2) with `O_PATH`.
pub fn open_handle(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        dir,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Opens an existing entry.
///
/// # Errors
/// As openat(2) with `O_NOFOLLOW`.
pub fn open_entry(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        dir,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Makes and opens a file that must not exist yet.
///
/// # Errors
/// As openat(2) with `O_CREAT | O_EXCL`.
pub fn create(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    flags: OFlags,
    mode: u32,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode & 0o7777))
}

/// Makes a directory.
///
/// # Errors
/// As mkdirat(2).
pub fn mkdir(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<(), Errno> {
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode & 0o7777))
}

/// Makes a fifo, socket, device or empty file.
///
/// # Errors
/// As mknodat(2).
pub fn mknod(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    kind: FileType,
    mode: u32,
    rdev: u64,
) -> Result<(), Errno> {
    rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(mode & 0o7777), rdev)
}

/// Makes a symbolic link.
///
/// # Errors
/// As symlinkat(2).
pub fn symlink(target: &OsStr, dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::symlinkat(target, dir, name)
}

/// Gives the entry `object` stands for a further name.
///
/// # Errors
/// As linkat(2).
pub fn link(object: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let from = super::object::proc_path(object);
    rustix::fs::linkat(rustix::fs::CWD, from, dir, name, AtFlags::SYMLINK_FOLLOW)
}

/// Removes a name that is not a directory's.
///
/// # Errors
/// As unlinkat(2).
pub fn unlink(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(dir, name, AtFlags::empty())
}

/// Removes an empty directory.
///
/// # Errors
/// As unlinkat(2) with `AT_REMOVEDIR`.
pub fn rmdir(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

/// Renames, replacing what stands at the new name unless `flags` forbid it.
///
/// # Errors
/// As renameat2(2).
pub fn rename(
    from: (BorrowedFd<'_>, &OsStr),
    to: (BorrowedFd<'_>, &OsStr),
    flags: RenameFlags,
) -> Result<(), Errno> {
    rustix::fs::renameat_with(from.0, from.1, to.0, to.1, flags)
}

/// Swaps two names in one step.
///
/// # Errors
/// As renameat2(2) with `RENAME_EXCHANGE`.
pub fn exchange(from: (BorrowedFd<'_>, &OsStr), to: (BorrowedFd<'_>, &OsStr)) -> Result<(), Errno> {
    rename(from, to, RenameFlags::EXCHANGE)
}

/// Opens a new file in `dir` that has no name yet; [`link`] gives it one.
///
/// # Errors
/// As openat(2) with `O_TMPFILE`.
pub fn create_unnamed(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::RUSR | Mode::WUSR)
}
