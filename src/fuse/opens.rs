//! Opens: how each file is to be read is decided with its handle.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use fuser::{FileHandle, FopenFlags, Generation, ReplyCreate, ReplyOpen};

use super::adapter::Adapter;
use super::answer::{answer, lifetime};
use super::convert;
use super::io_mode::IoModes;
use crate::event::Caller;
use crate::vfs::{NewEntry, OpenHow, Vfs, is_control};

/// open(2) that makes the file.
pub(super) fn create(fs: &Adapter, new: &NewEntry<'_>, how: OpenHow, reply: ReplyCreate) {
    answer!(reply, fs.vfs.create(new, how), (found, opened) => {
        let attr = convert::attr(&found);
        let ttl = lifetime(&attr);
        let (generation, fh) = (Generation(found.generation), FileHandle(opened.fh));
        if how.writable() {
            let direct = FopenFlags::FOPEN_DIRECT_IO;
            return match fs.modes.writable(found.id, opened.fh) {
                Some(id) => reply.created_passthrough(&ttl, &attr, generation, fh, direct, &id),
                None => reply.created(&ttl, &attr, generation, fh, direct),
            };
        }
        let register = |file: BorrowedFd<'_>| reply.open_backing(file);
        match fs.modes.read_only(found.id, opened.fh, fs.passthrough, opened.file.as_fd(), register) {
            Some(id) => reply.created_passthrough(&ttl, &attr, generation, fh, FopenFlags::FOPEN_NOFLUSH, &id),
            None => reply.created(&ttl, &attr, generation, fh, FopenFlags::FOPEN_NOFLUSH),
        }
    });
}

/// open(2) of anything the kernel knows.
pub(super) fn open(fs: &Adapter, ino: u64, flags: u32, caller: Arc<Caller>, reply: ReplyOpen) {
    if is_control(ino) {
        let flags =
            FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NONSEEKABLE | FopenFlags::FOPEN_NOFLUSH;
        let is_long = fs.vfs.is_long_to_find(ino);
        return fs.work(is_long, move |vfs| {
            answer!(reply, vfs.open_control(ino, &caller), fh => reply.opened(FileHandle(fh), flags));
        });
    }
    let how = OpenHow::new(flags);
    let passthrough = fs.passthrough;
    if how.empties() && fs.vfs.is_long_to_empty(ino) {
        let (vfs, modes) = (Arc::clone(&fs.vfs), Arc::clone(&fs.modes));
        return fs
            .jobs
            .run(move || open_file((&vfs, &modes, passthrough), ino, how, &caller, reply));
    }
    open_file((&fs.vfs, &fs.modes, passthrough), ino, how, &caller, reply);
}

fn open_file(
    (vfs, modes, passthrough): (&Vfs, &IoModes, bool),
    ino: u64,
    how: OpenHow,
    caller: &Arc<Caller>,
    reply: ReplyOpen,
) {
    answer!(reply, vfs.open(ino, how, caller), opened => {
        let fh = FileHandle(opened.fh);
        if how.writable() {
            let direct = FopenFlags::FOPEN_DIRECT_IO;
            return match modes.writable(ino, opened.fh) {
                Some(id) => reply.opened_passthrough(fh, direct, &id),
                None => reply.opened(fh, direct),
            };
        }
        let register = |file: BorrowedFd<'_>| reply.open_backing(file);
        match modes.read_only(ino, opened.fh, passthrough, opened.file.as_fd(), register) {
            Some(id) => reply.opened_passthrough(fh, FopenFlags::FOPEN_NOFLUSH, &id),
            None => reply.opened(fh, FopenFlags::FOPEN_NOFLUSH),
        }
    });
}
