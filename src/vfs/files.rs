//! Open files: read, written, flushed, made durable.

use std::os::fd::AsFd;
use std::sync::Arc;

use crate::backing::{self, Attr, Errno, FallocateFlags, OFlags, Writer};
use crate::control::Read;
use crate::event::Caller;
use crate::event_log::LogError;
use crate::recorder::change::{Close, Copy, Fallocate, Fsync, Truncate, Write, Written};
use crate::recorder::{Ahead, RecordError};

use super::entries::STORAGE_FLAGS;
use super::handles::{Handle, OpenFile};
use super::{Error, Result, Vfs, is_control};

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenHow {
    flags: OFlags,
    /// Whether an existing file refuses the open.
    pub exclusive: bool,
    truncate: bool,
}

impl OpenHow {
    /// Reads the flags of open(2).
    #[must_use]
    pub fn new(flags: u32) -> OpenHow {
        let flags = OFlags::from_bits_retain(flags);
        OpenHow {
            flags,
            exclusive: flags.contains(OFlags::EXCL),
            truncate: flags.contains(OFlags::TRUNC),
        }
    }

    /// Whether the handle can write.
    #[must_use]
    pub fn writable(self) -> bool {
        !(self.flags & OFlags::RWMODE).is_empty()
    }

    /// Whether the open takes what is in the file away.
    #[must_use]
    pub fn empties(self) -> bool {
        self.truncate && self.writable()
    }

    /// What the storage's open is to see: not `O_DIRECT` (the daemon's buffers are not aligned), not `O_APPEND`
    /// (the kernel may also write back a mapping through the same handle).
    pub(super) fn storage_flags(self) -> OFlags {
        self.flags & STORAGE_FLAGS
    }
}

/// A file that was opened.
#[derive(Clone)]
pub struct Opened {
    /// Number of the handle.
    pub fh: u64,
    /// The file.
    pub file: Arc<OpenFile>,
}

/// How bytes come to be written.
#[derive(Clone, Copy, Debug)]
pub struct WriteHow {
    /// Whether they go to the end of the file (`O_APPEND` at the time of the call).
    pub append: bool,
    /// Whether the kernel sends them from a shared mapping.
    pub via_mmap: bool,
    /// Whether set-id bits go.
    pub drop_set_id: bool,
}

impl Vfs {
    /// open(2) of an ordinary file the kernel knows.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(&self, id: u64, how: OpenHow, caller: &Arc<Caller>) -> Result<Opened> {
        let node = self.entry_to_change(id)?;
        let file = self.open_storage(how, |flags| node.open(flags))?;
        if !how.empties() {
            return self.opened(id, file, how, caller);
        }
        let opened = self.opened(id, file, how, caller)?;
        let file = &opened.file;
        let change = Truncate {
            entry: &*node,
            file: file.as_fd(),
            handle: Some(file.number(&self.recorder)),
            size: 0,
            drop_set_id: ordinary_writer(caller),
            before: Some(&file.before),
        };
        match self.recorder.apply(change, caller, |_| file.wrote()) {
            Ok(_) => Ok(opened),
            Err(error) => {
                self.release(opened.fh);
                Err(error.into())
            }
        }
    }

    /// Opens a file of the storage; where content is kept, so that what was written through it can be read again.
    pub(super) fn open_storage<T>(
        &self,
        how: OpenHow,
        open: impl Fn(OFlags) -> std::result::Result<T, Errno>,
    ) -> std::result::Result<T, Errno> {
        let flags = how.storage_flags();
        let write_only = flags & OFlags::RWMODE == OFlags::WRONLY;
        if write_only && self.recorder.keeps().is_some() {
            let both = open((flags - OFlags::RWMODE) | OFlags::RDWR);
            if !matches!(both, Err(Errno::ACCESS | Errno::PERM)) {
                return both;
            }
        }
        open(flags)
    }

    pub(super) fn opened(
        &self,
        id: u64,
        file: std::os::fd::OwnedFd,
        how: OpenHow,
        caller: &Arc<Caller>,
    ) -> Result<Opened> {
        let node = self.nodes.get(id)?;
        let durable = how.flags.intersects(OFlags::SYNC | OFlags::DSYNC);
        let file = Arc::new(OpenFile::new(
            file,
            Arc::clone(&node),
            Arc::clone(caller),
            how.writable(),
            durable,
        ));
        node.opened(&file);
        self.recorder.health().opened();
        Ok(Opened {
            fh: self.handles.insert(Handle::File(Arc::clone(&file))),
            file,
        })
    }

    /// Opens a control file.
    ///
    /// # Errors
    /// As the control directory answers.
    pub fn open_control(&self, id: u64, caller: &Arc<Caller>) -> Result<u64> {
        debug_assert!(is_control(id));
        self.control_open(id, caller)
    }

    /// What `fh` is.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn handle(&self, fh: u64) -> Result<Handle> {
        self.handles.get(fh)
    }

    /// The ordinary file `fh` is.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn file(&self, fh: u64) -> Result<Arc<OpenFile>> {
        self.handles.file(fh)
    }

    /// Reads from an ordinary file into `buffer`; short only at the end of the file.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read(&self, file: &OpenFile, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        Ok(backing::read_at(file.as_fd(), offset, buffer)?)
    }

    /// Reads from a control file; never blocks.
    ///
    /// # Errors
    /// As the control directory answers.
    pub fn read_control(&self, stream: &crate::control::Stream, bytes: usize) -> Result<Read> {
        Ok(stream.read(bytes)?)
    }

    /// Writes to an ordinary file; gives the count.
    ///
    /// # Errors
    /// As pwrite(2); ENOSPC or EIO when it cannot be recorded.
    pub fn write(
        &self,
        file: &Arc<OpenFile>,
        offset: u64,
        data: &[u8],
        how: WriteHow,
    ) -> Result<usize> {
        let change = Write {
            entry: &*file.node,
            file: file.as_fd(),
            handle: file.number(&self.recorder),
            offset: (!how.append || how.via_mmap).then_some(offset),
            data,
            via_mmap: how.via_mmap,
            drop_set_id: how.drop_set_id.then(|| writer(&file.caller)),
            before: (!file.is_written()).then_some(&file.before),
        };
        let written = self
            .recorder
            .apply(change, &file.caller, |_| file.wrote())?;
        if file.durable {
            self.sync_log()?;
        }
        Ok(written.length)
    }

    /// fallocate(2).
    ///
    /// # Errors
    /// As fallocate(2).
    pub fn fallocate(&self, fh: u64, mode: u32, offset: u64, length: u64) -> Result<()> {
        let file = self.handles.file(fh)?;
        let change = Fallocate {
            entry: &*file.node,
            file: file.as_fd(),
            handle: file.number(&self.recorder),
            mode: FallocateFlags::from_bits_retain(mode),
            offset,
            length,
            drop_set_id: ordinary_writer(&file.caller),
        };
        self.recorder
            .apply(change, &file.caller, |_| file.wrote())?;
        Ok(())
    }

    /// copy_file_range(2); gives the count.
    ///
    /// # Errors
    /// As copy_file_range(2).
    pub fn copy(&self, from: (u64, u64), to: (u64, u64), length: u64) -> Result<usize> {
        /// Bytes copied by one request: the call may do less than asked, and one request must end in time.
        const COPY_BYTES_MAX: u64 = 1 << 30;
        let (source, target) = (self.handles.file(from.0)?, self.handles.file(to.0)?);
        let change = Copy {
            from: (source.as_fd(), from.1),
            entry: &*target.node,
            to: (target.as_fd(), to.1),
            handle: target.number(&self.recorder),
            length: usize::try_from(length.min(COPY_BYTES_MAX)).unwrap_or(usize::MAX),
            drop_set_id: ordinary_writer(&target.caller),
        };
        let copied: Written = self
            .recorder
            .apply(change, &target.caller, |_| target.wrote())?;
        Ok(copied.length)
    }

    /// `SEEK_DATA` or `SEEK_HOLE`.
    ///
    /// # Errors
    /// As lseek(2).
    pub fn seek_data(&self, fh: u64, offset: u64, hole: bool) -> Result<u64> {
        Ok(backing::seek_data(
            self.handles.file(fh)?.as_fd(),
            offset,
            hole,
        )?)
    }

    /// One close(2) of a handle: told when the handle was written.
    ///
    /// # Errors
    /// When it cannot be recorded; then the next one tells it.
    pub fn flush(&self, file: &OpenFile) -> Result<()> {
        if !file.take_written() {
            return Ok(());
        }
        let unkept = file.take_unkept();
        let change = Close {
            entry: &*file.node,
            file,
            handle: file.number(&self.recorder),
            before: &file.before,
            ahead: self.read_ahead(file),
        };
        match self.recorder.apply(change, &file.caller, |_| {}) {
            Ok(_) => Ok(()),
            Err(error) => {
                file.close_again(unkept);
                Err(error.into())
            }
        }
    }

    fn read_ahead(&self, file: &OpenFile) -> Option<Ahead> {
        let attr = backing::attr_of(file.as_fd()).ok()?;
        let long = self.recorder.is_long_to_keep(&attr);
        long.then(|| self.recorder.read_ahead(&*file.node, file.as_fd()))?
    }

    /// Whether a close of this handle may take longer than a kernel-facing thread has.
    #[must_use]
    pub fn is_long_to_close(&self, file: &OpenFile) -> bool {
        let attr = || backing::attr_of(file.as_fd()).ok();
        file.is_written()
            && self.recorder.keeps().is_some()
            && attr().is_some_and(|attr| self.recorder.is_long_to_keep(&attr))
    }

    /// The last reference to a handle is gone.
    pub fn release(&self, fh: u64) {
        let Some(handle) = self.handles.remove(fh) else {
            return;
        };
        if let Handle::File(file) = handle {
            // What a mapping wrote after the last close(2) is told here; there is nobody left to answer.
            if let Err(error) = self.flush(&file) {
                log::error!("the close of a file could not be recorded: {error}");
            }
            self.recorder.health().closed();
        }
    }

    /// fsync(2) or fdatasync(2): first the log, then the file, so that no change survives a power loss without its
    /// event.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn fsync(&self, fh: u64, data_only: bool) -> Result<()> {
        let handle = self.handles.get(fh)?;
        if let Handle::File(file) = &handle {
            self.keep_at_fsync(file)?;
        }
        self.sync_log()?;
        match handle {
            Handle::File(file) => Ok(backing::sync(file.as_fd(), data_only)?),
            Handle::Dir(dir) => Ok(backing::sync(dir.reader.lock().as_fd(), data_only)?),
            Handle::Control(_) | Handle::ControlDir(_) => Ok(()),
        }
    }

    /// What is about to be durable is a version too. Not of a large file: a database asks for this at each commit, and
    /// would pay for all of its content each time; its closes are versions.
    fn keep_at_fsync(&self, file: &OpenFile) -> Result<()> {
        if self.recorder.keeps().is_none() || !file.take_unkept() {
            return Ok(());
        }
        let small = |attr: &Attr| !self.recorder.is_long_to_keep(attr);
        if !backing::attr_of(file.as_fd()).is_ok_and(|attr| small(&attr)) {
            return Ok(());
        }
        let change = Fsync {
            entry: &*file.node,
            file,
            handle: file.number(&self.recorder),
            before: &file.before,
        };
        self.recorder.apply(change, &file.caller, |_| {})?;
        Ok(())
    }

    fn sync_log(&self) -> Result<()> {
        let refused = |error: LogError| Error::Record(RecordError::Refused(error));
        self.recorder.log().sync().map(drop).map_err(refused)
    }
}

fn writer(caller: &Caller) -> Writer {
    Writer {
        tid: caller.pid,
        gid: caller.gid,
    }
}

/// A caller whose writes take set-id bits away; `None` for root, whose do not.
pub(super) fn ordinary_writer(caller: &Caller) -> Option<Writer> {
    (caller.uid != 0).then(|| writer(caller))
}
