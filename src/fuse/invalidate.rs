//! Telling the kernel to forget. A notification may wait for a lock that a session holds while it waits for an answer
//! of ours, so it is sent from a thread of its own: never from one that answers, and never under a lock that such a
//! thread may want.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crossbeam_channel::Sender;
use fuser::{INodeNo, Notifier};

use crate::recorder::Stale;
use crate::vfs::Vfs;

/// From the first byte to the end: data and attributes.
const DATA: (i64, i64) = (0, 0);
/// A negative offset leaves the data: attributes alone.
const ATTRIBUTES: (i64, i64) = (-1, 0);

/// The way to the thread that tells the kernel. It ends with the last clone.
#[derive(Clone)]
pub struct Invalidator {
    // Needs no limit: what is sent here has been recorded before, which takes longer than the telling.
    queue: Sender<Vec<Stale>>,
}

impl Invalidator {
    pub(super) fn start(kernel: Notifier, vfs: Arc<Vfs>) -> io::Result<Invalidator> {
        let (queue, stale) = crossbeam_channel::unbounded::<Vec<Stale>>();
        std::thread::Builder::new()
            .name("invalidate".into())
            .spawn(move || {
                for entry in stale.into_iter().flatten() {
                    tell(&kernel, &vfs, &entry);
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

fn tell(kernel: &Notifier, vfs: &Vfs, stale: &Stale) {
    // The name first: whoever looks it up anew brings the attributes along.
    let parent = vfs.number_of(stale.parent);
    let name = OsStr::from_bytes(&stale.name);
    if stale.entry
        && let Some(parent) = parent
    {
        said(kernel.inval_entry(INodeNo(parent), name));
        // The directory's own times and size moved with it.
        said(kernel.inval_inode(INodeNo(parent), ATTRIBUTES.0, ATTRIBUTES.1));
    }
    if let Some(entry) = stale.ino.and_then(|key| vfs.number_of(key)) {
        let (from, length) = if stale.content { DATA } else { ATTRIBUTES };
        said(kernel.inval_inode(INodeNo(entry), from, length));
    }
}

/// The kernel knows no such entry, or the mount is gone: then there is nothing to forget.
fn said(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        log::debug!("the kernel was told to forget something: {error}");
    }
}
