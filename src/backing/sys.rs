//! The only `unsafe` of the project: system calls that no safe library offers.
#![allow(unsafe_code)]

use std::io;

/// Makes this thread's file-system user and group `uid` and `gid`; both apply to this thread alone.
pub fn set_fs_ids(uid: u32, gid: u32) {
    // SAFETY: both calls take plain numbers and cannot touch memory. Raw calls, because libc's wrappers are the
    // same calls; the old value they return is of no use.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, libc::c_ulong::from(gid));
        libc::syscall(libc::SYS_setfsuid, libc::c_ulong::from(uid));
    }
}

/// Gives this thread a file mode creation mask (and root and working directory) of its own.
///
/// # Errors
/// As unshare(2) with `CLONE_FS`.
pub fn unshare_fs() -> io::Result<()> {
    // SAFETY: CLONE_FS takes no memory; it only copies the thread's fs_struct in the kernel.
    if unsafe { libc::unshare(libc::CLONE_FS) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets `fd` pass to the programs this process starts.
///
/// # Errors
/// As fcntl(2).
pub fn keep_on_exec(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).map_err(Into::into)
}

/// Takes over a descriptor this process was started with.
///
/// # Errors
/// EBADF when no such descriptor is open.
pub fn inherited_fd(number: i32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_GETFD only asks whether the number is an open descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open (asked above) and was handed to this process by its parent for this use alone.
    let fd = unsafe { std::os::fd::OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}
