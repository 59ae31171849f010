//! Entries are made as the caller, so that owner, set-group-id directories and default ACLs come out as the
//! storage's own filesystem makes them, before anyone can see the entry.

use std::cell::Cell;

use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::sys;

thread_local! {
    /// Whether this thread has a creation mask of its own.
    static OWN_MASK: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread's creation mask `mask`. The kernel leaves applying it to us (`FUSE_DONT_MASK`), because a
/// directory's default ACL takes its place.
///
/// # Errors
/// When the thread cannot get a mask of its own.
pub fn own_mask(mask: u32) -> Result<(), super::Errno> {
    if !OWN_MASK.get() {
        sys::unshare_fs()
            .map_err(|e| super::Errno::from_io_error(&e).unwrap_or(super::Errno::IO))?;
        OWN_MASK.set(true);
    }
    rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
    Ok(())
}

/// While it lives, entries this thread makes belong to the caller. The capabilities that let the daemon reach the
/// storage stay: the kernel has already decided whether the caller may (`default_permissions`).
pub struct AsCaller {
    switched: bool,
}

impl AsCaller {
    /// Becomes `uid` and `gid` for this thread; does nothing when the daemon is not root and so cannot.
    #[must_use]
    pub fn new(uid: u32, gid: u32) -> AsCaller {
        let root = rustix::process::geteuid().is_root();
        let switched = root && (uid != 0 || gid != 0);
        if switched {
            sys::set_fs_ids(uid, gid);
            if uid != 0 {
                keep_reach();
            }
        }
        AsCaller { switched }
    }
}

impl Drop for AsCaller {
    fn drop(&mut self) {
        if self.switched {
            // Back to user 0: the kernel restores the file capabilities from the permitted set.
            sys::set_fs_ids(0, 0);
        }
    }
}

/// An ordinary user who writes, as far as set-group-id bits go.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Thread id.
    pub tid: u32,
    /// Group it writes with.
    pub gid: u32,
}

impl Writer {
    /// Whether it belongs to `group`, by its own group or a further one; of a thread that is gone only its own is known.
    #[must_use]
    pub fn is_member(self, group: u32) -> bool {
        let listed = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.tid)).ok()?;
            let groups = status
                .lines()
                .find_map(|line| line.strip_prefix("Groups:"))?;
            Some(
                groups
                    .split_ascii_whitespace()
                    .any(|gid| gid.parse() == Ok(group)),
            )
        };
        self.gid == group || listed().unwrap_or(false)
    }
}

/// setfsuid(2) to another user drops every file capability; takes back the ones that reach, not those that would
/// make the entry differ from one the caller makes (`CAP_FSETID` keeps set-id bits, `CAP_CHOWN` is not needed).
fn keep_reach() {
    let wanted = CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::MKNOD;
    if let Ok(sets) = rustix::thread::capabilities(None) {
        let effective = sets.effective | (wanted & sets.permitted);
        // Without them the storage's own permissions decide, which can only refuse.
        let _ = rustix::thread::set_capabilities(None, CapabilitySets { effective, ..sets });
    }
}
