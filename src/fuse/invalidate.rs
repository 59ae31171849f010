//! Telling the kernel to forget, from a thread of its own: never from one that answers, and never under a lock that
//! such a thread may want.
//!
//! What is sent never waits inside the kernel where that can be helped. A notification about one name waits for the
//! directory's lock, which a session holds while it waits for us; a daemon killed in that moment would never end,
//! because the waiting thread keeps the device open. So names are expired all at once by a new epoch, which takes no
//! lock: each is asked for anew when it is next used. And of an entry only the attributes are invalidated: cached
//! data is dropped by the kernel itself when the next read finds new times or a new size.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crossbeam_channel::Sender;
use fuser::{INodeNo, Notifier};

use crate::recorder::Stale;
use crate::vfs::Vfs;

/// A negative offset leaves the data: attributes alone.
const ATTRIBUTES: (i64, i64) = (-1, 0);
/// Number of the notification that begins a new epoch of names (Linux 6.16).
const INC_EPOCH: i32 = 8;

/// The way to the thread that tells the kernel. It ends with the last clone.
#[derive(Clone)]
pub struct Invalidator {
    // Needs no limit: what is sent here has been recorded before, which takes longer than the telling.
    queue: Sender<Vec<Stale>>,
}

/// The kernel's side of one mount.
struct Kernel {
    notifier: Notifier,
    device: OwnedFd,
    /// Whether it knows epochs; it is asked once.
    epochs: bool,
    vfs: Arc<Vfs>,
}

impl Invalidator {
    pub(super) fn start(
        notifier: Notifier,
        device: BorrowedFd<'_>,
        vfs: Arc<Vfs>,
    ) -> io::Result<Invalidator> {
        let mut kernel = Kernel {
            notifier,
            device: device.try_clone_to_owned()?,
            epochs: true,
            vfs,
        };
        let (queue, stale) = crossbeam_channel::unbounded::<Vec<Stale>>();
        std::thread::Builder::new()
            .name("invalidate".into())
            .spawn(move || {
                while let Ok(first) = stale.recv() {
                    // All that waits shares one epoch.
                    let entries: Vec<Stale> = first
                        .into_iter()
                        .chain(stale.try_iter().flatten())
                        .collect();
                    kernel.tell(&entries);
                }
            })?;
        Ok(Invalidator { queue })
    }

    /// What the kernel holds of these is no longer so. Never waits.
    pub fn forget(&self, stale: Vec<Stale>) {
        // The thread lives as long as the queue.
        let _ = self.queue.send(stale);
    }
}

impl Kernel {
    fn tell(&mut self, entries: &[Stale]) {
        // The names first: whoever looks one up anew brings the attributes along.
        if entries.iter().any(|stale| stale.entry) && self.epochs {
            self.epochs = self.new_epoch();
        }
        for stale in entries {
            let parent = self.vfs.number_of(stale.parent).filter(|_| stale.entry);
            if let Some(parent) = parent {
                if !self.epochs {
                    let name = OsStr::from_bytes(&stale.name);
                    said(self.notifier.inval_entry(INodeNo(parent), name));
                }
                // The directory's own times and size moved with it.
                self.forget_attributes(parent);
            }
            if let Some(entry) = stale.ino.and_then(|key| self.vfs.number_of(key)) {
                self.forget_attributes(entry);
            }
        }
    }

    fn forget_attributes(&self, id: u64) {
        let (from, length) = ATTRIBUTES;
        said(self.notifier.inval_inode(INodeNo(id), from, length));
    }

    /// Expires every name at once; says whether the kernel knows how.
    fn new_epoch(&self) -> bool {
        const HEADER_BYTES: u32 = 16;
        // A reply's header: length, the notification's number in place of an error, and no request it answers.
        let mut header = [0; HEADER_BYTES as usize];
        header[..4].copy_from_slice(&HEADER_BYTES.to_ne_bytes());
        header[4..8].copy_from_slice(&INC_EPOCH.to_ne_bytes());
        match rustix::io::write(self.device.as_fd(), &header) {
            Err(rustix::io::Errno::INVAL) => {
                log::info!("the kernel knows no epochs: names are invalidated one by one");
                false
            }
            outcome => {
                said(outcome.map(|_| ()).map_err(Into::into));
                true
            }
        }
    }
}

/// The kernel knows no such entry, or the mount is gone: then there is nothing to forget.
fn said(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        log::debug!("the kernel was told to forget something: {error}");
    }
}
