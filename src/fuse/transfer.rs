//! Bytes in and out. What waits for a disk goes to the job threads, what waits for an event is parked.

use std::sync::Arc;

use fuser::{Errno, PollEvents, PollNotifier, ReplyData, ReplyPoll, ReplyWrite};

use super::adapter::Adapter;
use super::answer::answer;
use super::errno::errno;
use crate::control::Read;
use crate::vfs::{Handle, OpenFile, Vfs, WriteHow};

/// Copies up to this size are done at once; larger ones may take the disk's time.
const QUICK_COPY_BYTES: u64 = 256 * 1024;

/// Reads from anything open. `reader` is the calling thread and whether it never waits.
pub(super) fn read(
    fs: &Adapter,
    fh: u64,
    offset: u64,
    size: usize,
    reader: (u32, bool),
    reply: ReplyData,
) {
    match fs.vfs.handle(fh) {
        Ok(Handle::File(file)) => {
            let mut buffer = vec![0; size];
            answer!(reply, fs.vfs.read(&file, offset, &mut buffer), count => reply.data(&buffer[..count]));
        }
        Ok(Handle::Control(stream)) => {
            let (vfs, parking, tid) = (Arc::clone(&fs.vfs), Arc::clone(&fs.parking), reader.0);
            let never_wait = reader.1;
            fs.jobs.run(move || match vfs.read_control(&stream, size) {
                Ok(Read::Bytes(bytes)) => reply.data(&bytes),
                Ok(Read::Park { .. }) if never_wait => reply.error(Errno::EAGAIN),
                Ok(Read::Park { until }) => parking.park(stream, size, tid, until, reply),
                Err(error) => reply.error(errno(&error)),
            });
        }
        Ok(Handle::Dir(_) | Handle::ControlDir(_)) => reply.error(Errno::EISDIR),
        Err(error) => reply.error(errno(&error)),
    }
}

/// Writes to anything open.
pub(super) fn write(
    fs: &Adapter,
    fh: u64,
    offset: u64,
    data: &[u8],
    how: WriteHow,
    reply: ReplyWrite,
) {
    match fs.vfs.handle(fh) {
        Ok(Handle::File(file)) if file.durable => {
            let (vfs, data) = (Arc::clone(&fs.vfs), data.to_vec());
            fs.jobs
                .run(move || write_file(&vfs, &file, offset, &data, how, reply));
        }
        Ok(Handle::File(file)) => write_file(&fs.vfs, &file, offset, data, how, reply),
        Ok(Handle::Control(stream)) => {
            let data = data.to_vec();
            fs.jobs.run(move || match stream.write(&data) {
                Ok(count) => reply.written(u32::try_from(count).unwrap_or(u32::MAX)),
                Err(error) => reply.error(errno(&error.into())),
            });
        }
        Ok(Handle::Dir(_) | Handle::ControlDir(_)) => reply.error(Errno::EISDIR),
        Err(error) => reply.error(errno(&error)),
    }
}

fn write_file(
    vfs: &Vfs,
    file: &Arc<OpenFile>,
    offset: u64,
    data: &[u8],
    how: WriteHow,
    reply: ReplyWrite,
) {
    answer!(reply, vfs.write(file, offset, data, how), count => {
        reply.written(u32::try_from(count).unwrap_or(u32::MAX));
    });
}

/// copy_file_range(2).
pub(super) fn copy(fs: &Adapter, from: (u64, u64), to: (u64, u64), len: u64, reply: ReplyWrite) {
    let vfs = Arc::clone(&fs.vfs);
    let copy = move || {
        let copied = vfs.copy(from, to, len);
        answer!(reply, copied, count => reply.written(u32::try_from(count).unwrap_or(u32::MAX)));
    };
    if len <= QUICK_COPY_BYTES {
        copy()
    } else {
        fs.jobs.run(copy)
    }
}

/// Says what can be done without waiting; `notify` is told once when there is something to read.
pub(super) fn poll(fs: &Adapter, fh: u64, notify: Option<PollNotifier>, reply: ReplyPoll) {
    let writable = PollEvents::POLLOUT | PollEvents::POLLWRNORM;
    let readable = PollEvents::POLLIN | PollEvents::POLLRDNORM;
    match fs.vfs.handle(fh) {
        Ok(Handle::Control(stream)) => {
            // Asked for before the look, so that an event between both is not missed.
            if let Some(ph) = notify {
                fs.parking.notify(Arc::clone(&stream), ph);
            }
            fs.jobs.run(move || {
                reply.poll(if stream.readable() {
                    readable | writable
                } else {
                    writable
                })
            });
        }
        Ok(_) => reply.poll(readable | writable),
        Err(error) => reply.error(errno(&error)),
    }
}
