//! How each open of a file does its reading: through the kernel to the storage, cached, or straight to us.
//!
//! Writable opens are direct: their writes must be seen one by one. Read-only opens are cached, or passed through
//! where that is wished. The kernel refuses every other open of an inode with a passed-through one (EIO), so as long as
//! such an open lasts, all others share its registration; a writable one is direct besides, which brings its reads
//! and writes here all the same. What it cannot bring here is a shared writable mapping: the kernel maps the storage's
//! own file then. That is the price of passing through, and why it is not done unasked.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use fuser::BackingId;
use parking_lot::Mutex;

/// What an open was answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Passthrough,
    Other,
}

#[derive(Default)]
struct Inode {
    passed: usize,
    others: usize,
    backing: Option<Arc<BackingId>>,
}

impl Inode {
    /// Counts one more open.
    fn admit(&mut self, passed: bool) -> Mode {
        if passed {
            self.passed += 1;
            Mode::Passthrough
        } else {
            self.others += 1;
            Mode::Other
        }
    }
}

/// The opens of each inode.
#[derive(Default)]
pub(super) struct IoModes {
    inodes: Mutex<HashMap<u64, Inode>>,
    handles: Mutex<HashMap<u64, (u64, Mode)>>,
    /// Passing through was refused once for want of privilege or support: it is not asked for again.
    refused: std::sync::atomic::AtomicBool,
}

impl IoModes {
    /// Decides for a read-only open; `register` is asked for a registration when there is none yet.
    pub(super) fn read_only(
        &self,
        id: u64,
        fh: u64,
        wanted: bool,
        file: BorrowedFd<'_>,
        register: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<BackingId>,
    ) -> Option<Arc<BackingId>> {
        use std::sync::atomic::Ordering::Relaxed;
        let mut inodes = self.inodes.lock();
        let inode = inodes.entry(id).or_default();
        if wanted && inode.others == 0 && inode.backing.is_none() && !self.refused.load(Relaxed) {
            match register(file) {
                Ok(backing) => inode.backing = Some(Arc::new(backing)),
                Err(error) => {
                    log::info!("reads are not passed through to the storage: {error}");
                    self.refused.store(true, Relaxed);
                }
            }
        }
        let passed = if inode.passed > 0 || inode.others == 0 {
            inode.backing.clone()
        } else {
            None
        };
        let mode = inode.admit(passed.is_some());
        drop(inodes);
        self.handles.lock().insert(fh, (id, mode));
        passed
    }

    /// Notes a writable open; it shares the registration that passed-through opens of its inode have.
    pub(super) fn writable(&self, id: u64, fh: u64) -> Option<Arc<BackingId>> {
        let mut inodes = self.inodes.lock();
        let inode = inodes.entry(id).or_default();
        let shared = if inode.passed > 0 {
            inode.backing.clone()
        } else {
            None
        };
        let mode = inode.admit(shared.is_some());
        drop(inodes);
        self.handles.lock().insert(fh, (id, mode));
        shared
    }

    /// The kernel released `fh`.
    pub(super) fn released(&self, fh: u64) {
        let Some((id, mode)) = self.handles.lock().remove(&fh) else {
            return;
        };
        let mut inodes = self.inodes.lock();
        let Some(inode) = inodes.get_mut(&id) else {
            return;
        };
        let unused = match mode {
            Mode::Passthrough => {
                inode.passed -= 1;
                (inode.passed == 0).then(|| inode.backing.take()).flatten()
            }
            Mode::Other => {
                inode.others -= 1;
                None
            }
        };
        if inode.passed == 0 && inode.others == 0 {
            inodes.remove(&id);
        }
        drop(inodes);
        drop(unused);
    }
}
