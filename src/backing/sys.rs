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

/// Keeps every descriptor but the standard three from the programs this process starts. A daemon that inherits a
/// pipe of its caller's would keep that caller waiting for its end.
pub fn keep_descriptors_from_programs() {
    const FIRST: libc::c_uint = 3;
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: only the close-on-exec flag of open descriptors changes; kernels that do not know the call refuse it,
    // and then descriptors pass on as they would have.
    unsafe {
        libc::close_range(FIRST, libc::c_uint::MAX, flags);
    }
}
