//! One handler per request: decode, one call, one reply.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags,
    INodeNo, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};

use super::answer::{answer, entry, lifetime, sized};
use super::convert;
use super::errno::errno;
use super::io_mode::IoModes;
use super::jobs::Jobs;
use super::parking::Parking;
use super::workers::Seats;
use super::{listing, negotiate, opens, transfer};
use crate::backing::FileType;
use crate::event::Caller;
use crate::vfs::{Handle, NewEntry, OpenHow, RenameKind, SetAttr, Vfs, WriteHow};

/// The filesystem as fuser calls it.
pub(super) struct Adapter {
    pub(super) vfs: Arc<Vfs>,
    pub(super) jobs: Jobs,
    pub(super) parking: Arc<Parking>,
    pub(super) modes: Arc<IoModes>,
    pub(super) seats: Arc<Seats>,
    /// Whether read-only opens may be passed through to the storage.
    pub(super) passthrough: bool,
}

impl Adapter {
    pub(super) fn caller(&self, req: &Request) -> Arc<Caller> {
        self.vfs.caller(req.pid(), req.uid(), req.gid())
    }

    /// Does `work` here, or where it may take its time.
    pub(super) fn work(&self, is_long: bool, work: impl FnOnce(&Vfs) + Send + 'static) {
        if is_long {
            let vfs = Arc::clone(&self.vfs);
            self.jobs.run(move || work(&vfs));
        } else {
            work(&self.vfs);
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        negotiate::negotiate(config, &mut self.passthrough);
        Ok(())
    }

    fn destroy(&mut self) {
        self.parking.end();
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.seats.take();
        // A missing name is not remembered: what comes there behind the mount must be seen at once.
        let (parent, name) = (parent.0, name.to_owned());
        self.work(self.vfs.is_long_to_find(parent), move |vfs| {
            entry!(reply, vfs.lookup(parent, &name));
        });
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.vfs.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.vfs.getattr(ino.0), found => {
            let attr = convert::attr(&found);
            reply.attr(&lifetime(&attr), &attr);
        });
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (atime, mtime) = (atime.map(convert::new_time), mtime.map(convert::new_time));
        let set = SetAttr {
            mode,
            uid,
            gid,
            size,
            atime,
            mtime,
        };
        let (caller, fh) = (self.caller(req), fh.map(|fh| fh.0));
        let is_long = size.is_some() && self.vfs.is_long_to_empty(ino.0);
        self.work(is_long, move |vfs| {
            answer!(reply, vfs.setattr(ino.0, &set, fh, &caller), found => {
                let attr = convert::attr(&found);
                reply.attr(&lifetime(&attr), &attr);
            });
        });
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        answer!(reply, self.vfs.readlink(ino.0), target => reply.data(&target));
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let caller = self.caller(req);
        let new = NewEntry {
            dir: parent.0,
            name,
            mode,
            umask,
            caller: &caller,
        };
        entry!(
            reply,
            self.vfs.mknod(
                &new,
                FileType::from_raw_mode(mode),
                convert::device_number(rdev)
            )
        );
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let caller = self.caller(req);
        entry!(
            reply,
            self.vfs.mkdir(&NewEntry {
                dir: parent.0,
                name,
                mode,
                umask,
                caller: &caller
            })
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (caller, gone) = (self.caller(req), name.to_owned());
        let is_long = self.vfs.is_long_to_destroy(parent.0, name);
        self.work(is_long, move |vfs| {
            answer!(reply, vfs.remove(parent.0, &gone, false, &caller), () => reply.ok());
        });
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.vfs.remove(parent.0, name, true, &self.caller(req)), () => reply.ok());
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        entry!(
            reply,
            self.vfs
                .symlink(parent.0, name, target.as_os_str(), &self.caller(req))
        );
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let kind = if flags.is_empty() {
            RenameKind::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameKind::NoReplace
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            RenameKind::Exchange
        } else {
            // RENAME_WHITEOUT is for layered filesystems below this one.
            return reply.error(Errno::EINVAL);
        };
        let is_long =
            kind == RenameKind::Replace && self.vfs.is_long_to_destroy(newparent.0, newname);
        let caller = self.caller(req);
        let (name, newname) = (name.to_owned(), newname.to_owned());
        self.work(is_long, move |vfs| {
            let done = vfs.rename((parent.0, &name), (newparent.0, &newname), kind, &caller);
            answer!(reply, done, () => reply.ok());
        });
    }

    fn link(
        &self,
        req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        entry!(
            reply,
            self.vfs
                .link(ino.0, newparent.0, newname, &self.caller(req))
        );
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let caller = self.caller(req);
        let new = NewEntry {
            dir: parent.0,
            name,
            mode,
            umask,
            caller: &caller,
        };
        opens::create(self, &new, OpenHow::new(flags.cast_unsigned()), reply);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        opens::open(
            self,
            ino.0,
            flags.0.cast_unsigned(),
            self.caller(req),
            reply,
        );
    }

    fn read(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let never_wait = flags.0 & libc::O_NONBLOCK != 0;
        transfer::read(
            self,
            fh.0,
            offset,
            size as usize,
            (req.pid(), never_wait),
            reply,
        );
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let how = WriteHow {
            append: flags.0 & libc::O_APPEND != 0,
            via_mmap: write_flags.contains(WriteFlags::FUSE_WRITE_CACHE),
            drop_set_id: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        transfer::write(self, fh.0, offset, data, how, reply);
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        match self.vfs.handle(fh.0) {
            Ok(Handle::File(file)) => self.work(self.vfs.is_long_to_close(&file), move |vfs| {
                answer!(reply, vfs.flush(&file), () => reply.ok());
            }),
            Ok(Handle::Dir(_) | Handle::Control(_) | Handle::ControlDir(_)) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.modes.released(fh.0);
        let is_long = match self.vfs.handle(fh.0) {
            Ok(Handle::Control(stream)) => {
                self.parking.closed(&stream);
                false
            }
            Ok(Handle::File(file)) => self.vfs.is_long_to_close(&file),
            Ok(Handle::Dir(_) | Handle::ControlDir(_)) | Err(_) => false,
        };
        self.work(is_long, move |vfs| {
            vfs.release(fh.0);
            reply.ok();
        });
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = Arc::clone(&self.vfs);
        self.jobs
            .run(move || answer!(reply, vfs.fsync(fh.0, datasync), () => reply.ok()));
    }

    fn fsyncdir(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.fsync(req, ino, fh, datasync, reply);
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.vfs.opendir(ino.0), fh => reply.opened(FileHandle(fh), FopenFlags::empty()));
    }

    fn readdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.work(self.vfs.is_long_to_list(fh.0), move |vfs| {
            let listed = vfs.readdir(fh.0, offset, |name| {
                let kind = convert::kind(name.kind);
                !reply.add(INodeNo(name.ino), name.next, kind, &name.name)
            });
            answer!(reply, listed, () => reply.ok());
        });
    }

    fn readdirplus(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.work(self.vfs.is_long_to_list(fh.0), move |vfs| {
            listing::with_attributes(vfs, fh.0, offset, reply);
        });
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.vfs.release(fh.0);
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        answer!(reply, self.vfs.statfs(), fs => {
            let (bsize, frsize) = (fs.f_bsize.try_into().unwrap_or(4096), fs.f_frsize.try_into().unwrap_or(4096));
            let namelen = fs.f_namemax.try_into().unwrap_or(255);
            reply.statfs(fs.f_blocks, fs.f_bfree, fs.f_bavail, fs.f_files, fs.f_ffree, bsize, namelen, frsize);
        });
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let done = self
            .vfs
            .set_xattr(ino.0, name, value, flags.cast_unsigned(), &self.caller(req));
        answer!(reply, done, () => reply.ok());
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer!(reply, self.vfs.get_xattr(ino.0, name), value => sized(reply, &value, size));
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        answer!(reply, self.vfs.list_xattrs(ino.0), names => sized(reply, &names, size));
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.vfs.remove_xattr(ino.0, name, &self.caller(req)), () => reply.ok());
    }

    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel decides by mode and ACL (`default_permissions`) and does not ask; without an answer it would
        // take ENOSYS for "always".
        reply.ok();
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        // What a program asks of any file (is it a terminal?) gets the answer an ordinary file gives.
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer!(reply, self.vfs.fallocate(fh.0, mode.cast_unsigned(), offset, length), () => reply.ok());
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let hole = match whence {
            libc::SEEK_DATA => false,
            libc::SEEK_HOLE => true,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(Errno::ENXIO);
        };
        answer!(reply, self.vfs.seek_data(fh.0, offset, hole), at => reply.offset(at.cast_signed()));
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (from, to) = ((fh_in.0, offset_in), (fh_out.0, offset_out));
        transfer::copy(self, from, to, len, reply);
    }

    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        ph: PollNotifier,
        _events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let notify = flags
            .contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY)
            .then_some(ph);
        transfer::poll(self, fh.0, notify, reply);
    }
}
