//! Telling the kernel to forget.
//!
//! Only what takes none of its locks is told: that attributes are no longer so. The kernel then asks for them, drops a
//! file's pages itself when size or time have changed, and looks a name up anew when the answer is that the entry is
//! not there any more. Forgetting a name (`FUSE_NOTIFY_INVAL_ENTRY`) waits for the directory's lock, which a session
//! may hold while it waits for this process: a daemon killed then could not end, nor its session. Names are therefore
//! believed for a second only, and missing ones not at all (`answer`); a kernel that knows epochs (Linux 6.16) is told
//! to ask for every name anew, which takes no lock and makes names right at once. For the same reason pages are told to be
//! dropped only where neither size nor time tells, which a full reconciliation alone finds; that may wait for a
//! session's read, and is left to a thread of its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::Sender;
use fuser::{INodeNo, Notifier};

use crate::recorder::Stale;
use crate::vfs::Vfs;

/// From the first byte to the end: data and attributes.
const DATA: (i64, i64) = (0, 0);
/// A negative offset leaves the data: attributes alone.
const ATTRIBUTES: (i64, i64) = (-1, 0);

/// Number of the notification that begins a new epoch of names.
const INC_EPOCH: i32 = 8;

/// The way to tell the kernel. A clone is the same; the thread ends with the last one.
#[derive(Clone)]
pub struct Invalidator {
    kernel: Notifier,
    names: Arc<Names>,
    vfs: Arc<Vfs>,
    // Needs no limit: a full reconciliation reads a whole file for each.
    queue: Sender<Stale>,
}

impl Invalidator {
    pub(super) fn start(
        kernel: Notifier,
        device: BorrowedFd<'_>,
        vfs: Arc<Vfs>,
    ) -> io::Result<Invalidator> {
        let names = Arc::new(Names {
            device: device.try_clone_to_owned()?,
            epochs: AtomicBool::new(true),
        });
        let (queue, stale) = crossbeam_channel::unbounded::<Stale>();
        let (told, known) = (kernel.clone(), Arc::clone(&vfs));
        std::thread::Builder::new()
            .name("invalidate".into())
            .spawn(move || {
                stale
                    .into_iter()
                    .for_each(|entry| data(&told, &known, &entry))
            })?;
        Ok(Invalidator {
            kernel,
            names,
            vfs,
            queue,
        })
    }

    /// What the kernel holds of these is no longer so. Never waits; attributes are forgotten when this returns.
    pub fn forget(&self, stale: Vec<Stale>) {
        if stale.iter().any(|entry| entry.entry) {
            self.names.expire();
        }
        for entry in stale {
            attributes(&self.kernel, &self.vfs, &entry);
            if entry.content {
                // The thread lives as long as the queue.
                let _ = self.queue.send(entry);
            }
        }
    }
}

/// The names the kernel believes in.
struct Names {
    device: OwnedFd,
    /// Whether the kernel knows epochs, as far as it has been asked.
    epochs: AtomicBool,
}

impl Names {
    /// Lets the kernel ask for each name anew when it is next used; nothing where it knows no epochs.
    fn expire(&self) {
        if !self.epochs.load(Relaxed) {
            return;
        }
        const HEADER_BYTES: u32 = 16;
        // A reply's header: length, the notification's number in place of an error, and no request it answers.
        let mut header = [0; HEADER_BYTES as usize];
        header[..4].copy_from_slice(&HEADER_BYTES.to_ne_bytes());
        header[4..8].copy_from_slice(&INC_EPOCH.to_ne_bytes());
        match rustix::io::write(self.device.as_fd(), &header) {
            Err(rustix::io::Errno::INVAL) => self.epochs.store(false, Relaxed),
            outcome => said(outcome.map(|_| ()).map_err(Into::into)),
        }
    }
}

/// The attributes of the entry, and of its directory when the name came or went.
fn attributes(kernel: &Notifier, vfs: &Vfs, stale: &Stale) {
    let directory = stale.entry.then_some(stale.parent);
    for key in [directory, stale.ino].into_iter().flatten() {
        if let Some(number) = vfs.number_of(key) {
            said(kernel.inval_inode(INodeNo(number), ATTRIBUTES.0, ATTRIBUTES.1));
        }
    }
}

/// The data of an entry, where nothing else tells that it changed.
fn data(kernel: &Notifier, vfs: &Vfs, stale: &Stale) {
    if let Some(number) = stale.ino.and_then(|key| vfs.number_of(key)) {
        said(kernel.inval_inode(INodeNo(number), DATA.0, DATA.1));
    }
}

/// The kernel knows no such entry, or the mount is gone: then there is nothing to forget.
fn said(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        log::debug!("the kernel was told to forget something: {error}");
    }
}
