//! What is open: files, directories and control files, by the number the kernel gives back with each request.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::backing::{DirReader, FileType};
use crate::control::{Entry as ControlEntry, Stream};
use crate::event::Caller;
use crate::recorder::{Before, Recorder};

use super::nodes::Node;
use super::{Error, Result};

/// An open file.
pub struct OpenFile {
    /// Its descriptor on the storage.
    pub fd: Arc<OwnedFd>,
    /// Its entry.
    pub node: Arc<Node>,
    /// Who opened it: the one all its writes are told of.
    pub caller: Arc<Caller>,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether each write must survive power loss before it returns (`O_SYNC`, `O_DSYNC`).
    pub durable: bool,
    /// The content before it was written.
    pub before: Before,
    number: AtomicU64,
    written: AtomicBool,
    /// Whether it was written since its content was last a version.
    unkept: AtomicBool,
}

impl OpenFile {
    /// A file that was opened at `node`.
    #[must_use]
    pub fn new(
        fd: OwnedFd,
        node: Arc<Node>,
        caller: Arc<Caller>,
        writable: bool,
        durable: bool,
    ) -> OpenFile {
        OpenFile {
            fd: Arc::new(fd),
            node,
            caller,
            writable,
            durable,
            before: Before::default(),
            number: AtomicU64::new(0),
            written: AtomicBool::new(false),
            unkept: AtomicBool::new(false),
        }
    }

    /// The number its events carry, given at its first event.
    pub fn number(&self, recorder: &Recorder) -> u64 {
        match self.number.load(Relaxed) {
            0 => {
                let fresh = recorder.number_handle();
                match self.number.compare_exchange(0, fresh, Relaxed, Relaxed) {
                    Ok(_) => fresh,
                    Err(first) => first,
                }
            }
            number => number,
        }
    }

    /// Gives it the number its creation was recorded with.
    pub fn created_as(&self, number: u64) {
        self.number.store(number, Relaxed);
    }

    /// Its content changed: its close is an event.
    pub fn wrote(&self) {
        self.written.store(true, Relaxed);
        self.unkept.store(true, Relaxed);
    }

    /// Whether it was written since its last close.
    pub fn is_written(&self) -> bool {
        self.written.load(Relaxed)
    }

    /// Its close could not be told: the next one is.
    pub(super) fn close_again(&self, unkept: bool) {
        self.written.store(true, Relaxed);
        self.unkept.fetch_or(unkept, Relaxed);
    }

    /// Whether it was written since its content was last a version; that is now.
    pub(super) fn take_unkept(&self) -> bool {
        self.unkept.swap(false, Relaxed)
    }

    /// Whether it was written since this was last asked.
    pub fn take_written(&self) -> bool {
        self.written.swap(false, Relaxed)
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An open directory.
pub struct OpenDir {
    /// Its entry.
    pub node: Arc<Node>,
    /// Its names.
    pub reader: Mutex<DirReader>,
}

/// An open directory of the control directory.
pub struct OpenControlDir {
    /// What it is.
    pub entry: ControlEntry,
    /// Its listing, made when it is first read, so that it stays the same while it is.
    pub names: OnceLock<Vec<(OsString, u64, FileType)>>,
}

/// Anything open.
#[derive(Clone)]
pub enum Handle {
    /// An ordinary file.
    File(Arc<OpenFile>),
    /// An ordinary directory.
    Dir(Arc<OpenDir>),
    /// A control file.
    Control(Arc<Stream>),
    /// A control directory.
    ControlDir(Arc<OpenControlDir>),
}

/// All that is open.
#[derive(Default)]
pub(super) struct Handles {
    open: RwLock<HashMap<u64, Handle>>,
    last: AtomicU64,
}

impl Handles {
    /// Numbers one more.
    pub(super) fn insert(&self, handle: Handle) -> u64 {
        let fh = self.last.fetch_add(1, Relaxed) + 1;
        self.open.write().insert(fh, handle);
        fh
    }

    /// What `fh` is.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub(super) fn get(&self, fh: u64) -> Result<Handle> {
        self.open.read().get(&fh).cloned().ok_or(Error::BadHandle)
    }

    /// The ordinary file `fh` is.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub(super) fn file(&self, fh: u64) -> Result<Arc<OpenFile>> {
        match self.open.read().get(&fh) {
            Some(Handle::File(file)) => Ok(Arc::clone(file)),
            _ => Err(Error::BadHandle),
        }
    }

    /// Takes `fh` out.
    pub(super) fn remove(&self, fh: u64) -> Option<Handle> {
        self.open.write().remove(&fh)
    }
}
