//! Calls on an open descriptor. Those marked "any descriptor" also take one that only stands for the entry
//! (`O_PATH`): where the kernel wants a path for them, they go through `/proc/self/fd`, whose links jump to the
//! entry itself and are never followed further.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FallocateFlags, Gid, Mode, OFlags, SeekFrom, StatVfs, Timespec, Timestamps, Uid,
};
use rustix::io::ReadWriteFlags;

use super::{Attr, Errno, Time, Writer};

pub use rustix::fs::XattrFlags;

/// Times to set; `None` leaves one alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Last access.
    pub atime: Option<NewTime>,
    /// Last change of content.
    pub mtime: Option<NewTime>,
}

/// A time to set.
#[derive(Clone, Copy, Debug)]
pub enum NewTime {
    /// The storage's present.
    Now,
    /// This time.
    At(Time),
}

/// The path by which the kernel reaches what `fd` stands for.
#[must_use]
pub fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Attributes; any descriptor.
///
/// # Errors
/// As statx(2).
pub fn attr_of(fd: BorrowedFd<'_>) -> Result<Attr, Errno> {
    Attr::read(fd, Path::new(""))
}

/// Opens again what `fd` stands for, with other flags; any descriptor.
///
/// # Errors
/// As open(2).
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(
        proc_path(fd),
        (flags - OFlags::NOFOLLOW) | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Opens what `fd` stands for to be read for the program's own sake: its access time stays as it is, as far as the
/// kernel allows that to who is neither owner nor root.
///
/// # Errors
/// The kernel's answer.
pub fn reopen_quietly(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    reopen(fd, flags | OFlags::NOATIME).or_else(|_| reopen(fd, flags))
}

/// Where a symbolic link points; any descriptor.
///
/// # Errors
/// As readlinkat(2).
pub fn readlink(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(fd, "", Vec::new())?.into_bytes())
}

/// Sets permission, set-id and sticky bits; any descriptor.
///
/// # Errors
/// As chmod(2).
pub fn set_mode(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmod(proc_path(fd), Mode::from_raw_mode(mode & 0o7777))
}

/// Sets owner and group; `None` leaves one alone; any descriptor.
///
/// # Errors
/// As fchownat(2).
pub fn set_owner(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    rustix::fs::chownat(
        fd,
        "",
        uid.map(Uid::from_raw),
        gid.map(Gid::from_raw),
        AtFlags::EMPTY_PATH,
    )
}

/// Sets times; any descriptor.
///
/// # Errors
/// As utimensat(2).
pub fn set_times(fd: BorrowedFd<'_>, times: Times) -> Result<(), Errno> {
    let spec = |time: Option<NewTime>| match time {
        None => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        Some(NewTime::Now) => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
        Some(NewTime::At(at)) => Timespec {
            tv_sec: at.secs,
            tv_nsec: at.nanos.into(),
        },
    };
    let times = Timestamps {
        last_access: spec(times.atime),
        last_modification: spec(times.mtime),
    };
    rustix::fs::utimensat(rustix::fs::CWD, proc_path(fd), &times, AtFlags::empty())
}

/// Sets the size of the file open for writing at `fd`.
///
/// # Errors
/// As ftruncate(2).
pub fn truncate(fd: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    rustix::fs::ftruncate(fd, size)
}

/// Drops the set-user-id bit, the set-group-id bit and file capabilities as the kernel does when an ordinary user
/// writes: a set-group-id bit without execute permission stays for members of the file's group. Says whether anything
/// was dropped. Any descriptor.
///
/// # Errors
/// As statx(2), chmod(2).
pub fn drop_set_id(fd: BorrowedFd<'_>, writer: Writer) -> Result<bool, Errno> {
    const SET_UID: u32 = 0o4000;
    const SET_GID: u32 = 0o2000;
    const GROUP_EXECUTE: u32 = 0o0010;
    let attr = attr_of(fd)?;
    if attr.is_directory() {
        return Ok(false);
    }
    let mut kept = attr.perm & !SET_UID;
    let set_gid = attr.perm & SET_GID != 0;
    let dropped = set_gid && (attr.perm & GROUP_EXECUTE != 0 || !writer.is_member(attr.gid));
    if dropped {
        kept &= !SET_GID;
    }
    if kept != attr.perm {
        set_mode(fd, kept)?;
    }
    let capability = remove_xattr(fd, OsStr::new("security.capability")).is_ok();
    Ok(capability || kept != attr.perm)
}

/// Reads into `buffer` from `offset` on; short only at the end of the file, where an ordinary file's read ends too.
///
/// # Errors
/// As pread(2).
pub fn read_at(fd: BorrowedFd<'_>, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::pread(fd, &mut *buffer, offset) {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

/// Writes `data` at `offset`; short only when the storage takes no more.
///
/// # Errors
/// As pwrite(2), when nothing was written.
pub fn write_at(fd: BorrowedFd<'_>, offset: u64, data: &[u8]) -> Result<usize, Errno> {
    write_all(data, |rest, done| {
        rustix::io::pwrite(fd, rest, offset + done)
    })
}

/// Writes `data` at the end of the file, wherever that is at the moment of the write; gives the offset it went to.
///
/// # Errors
/// As pwritev2(2) with `RWF_APPEND`, when nothing was written.
pub fn append_at(fd: BorrowedFd<'_>, data: &[u8]) -> Result<(u64, usize), Errno> {
    let written = write_all(data, |rest, _| {
        rustix::io::pwritev2(
            fd,
            &[std::io::IoSlice::new(rest)],
            0,
            ReadWriteFlags::APPEND,
        )
    })?;
    let end = attr_of(fd)?.size;
    Ok((end.saturating_sub(written as u64), written))
}

fn write_all(
    data: &[u8],
    mut call: impl FnMut(&[u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while done < data.len() {
        match call(&data[done..], done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// fallocate(2) in any mode.
///
/// # Errors
/// As fallocate(2).
pub fn fallocate(
    fd: BorrowedFd<'_>,
    mode: FallocateFlags,
    offset: u64,
    length: u64,
) -> Result<(), Errno> {
    loop {
        match rustix::fs::fallocate(fd, mode, offset, length) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Copies up to `length` bytes inside the storage; gives the count.
///
/// # Errors
/// As copy_file_range(2).
pub fn copy_range(
    from: (BorrowedFd<'_>, u64),
    to: (BorrowedFd<'_>, u64),
    length: usize,
) -> Result<usize, Errno> {
    let (mut from_at, mut to_at) = (from.1, to.1);
    rustix::fs::copy_file_range(from.0, Some(&mut from_at), to.0, Some(&mut to_at), length)
}

/// `SEEK_DATA` or, with `hole`, `SEEK_HOLE` from `offset` on.
///
/// # Errors
/// As lseek(2).
pub fn seek_data(fd: BorrowedFd<'_>, offset: u64, hole: bool) -> Result<u64, Errno> {
    rustix::fs::seek(
        fd,
        if hole {
            SeekFrom::Hole(offset)
        } else {
            SeekFrom::Data(offset)
        },
    )
}

/// fsync(2), or fdatasync(2) with `data_only`.
///
/// # Errors
/// As fsync(2).
pub fn sync(fd: BorrowedFd<'_>, data_only: bool) -> Result<(), Errno> {
    if data_only {
        rustix::fs::fdatasync(fd)
    } else {
        rustix::fs::fsync(fd)
    }
}

/// Figures of the filesystem; any descriptor.
///
/// # Errors
/// As fstatvfs(3).
pub fn statfs(fd: BorrowedFd<'_>) -> Result<StatVfs, Errno> {
    rustix::fs::fstatvfs(fd)
}

/// The number by which the filesystem is known (`f_type` of statfs(2)); any descriptor.
///
/// # Errors
/// As fstatfs(2).
pub fn filesystem_magic(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // The kernel's type differs between platforms and is never negative where it means anything.
    let magic = rustix::fs::fstatfs(fd)?.f_type;
    Ok(u64::try_from(magic).unwrap_or_default() & 0xffff_ffff)
}

/// Value of an extended attribute; any descriptor.
///
/// # Errors
/// As getxattr(2); ERANGE only when it grew between two calls.
pub fn get_xattr(fd: BorrowedFd<'_>, name: &OsStr) -> Result<Vec<u8>, Errno> {
    let path = proc_path(fd);
    let size = rustix::fs::getxattr_query(path.as_str(), name)?;
    let mut value = vec![0; size];
    let count = if size == 0 {
        0
    } else {
        rustix::fs::getxattr(path.as_str(), name, &mut value[..])?
    };
    value.truncate(count);
    Ok(value)
}

/// Names of the extended attributes, each ended by NUL; any descriptor.
///
/// # Errors
/// As listxattr(2).
pub fn list_xattrs(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let path = proc_path(fd);
    let size = rustix::fs::listxattr_query(path.as_str())?;
    let mut names = vec![0u8; size];
    let count = if size == 0 {
        0
    } else {
        rustix::fs::listxattr(path.as_str(), &mut names[..])?
    };
    names.truncate(count);
    Ok(names)
}

/// Sets an extended attribute; any descriptor.
///
/// # Errors
/// As setxattr(2).
pub fn set_xattr(
    fd: BorrowedFd<'_>,
    name: &OsStr,
    value: &[u8],
    flags: XattrFlags,
) -> Result<(), Errno> {
    rustix::fs::setxattr(proc_path(fd), name, value, flags)
}

/// Removes an extended attribute; any descriptor.
///
/// # Errors
/// As removexattr(2).
pub fn remove_xattr(fd: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::removexattr(proc_path(fd), name)
}
