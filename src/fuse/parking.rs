//! Reads that wait for an event, and polls that want to know of one. One thread looks after all of them.
//!
//! fuser answers the kernel's interrupt requests by itself, so a signal does not reach the read it should end: a
//! parked read therefore watches its caller, and is answered with EINTR when a signal is pending or the caller is gone.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuser::{Errno, PollNotifier, ReplyData};
use parking_lot::{Condvar, Mutex};

use crate::control::{Read, Stream};

/// How often a parked read looks whether its caller has a signal.
const CALLER_INTERVAL: Duration = Duration::from_millis(100);

struct Parked {
    stream: Arc<Stream>,
    bytes: usize,
    tid: u32,
    until: Option<Instant>,
    reply: ReplyData,
}

#[derive(Default)]
struct Waiting {
    reads: Vec<Parked>,
    polls: Vec<(Arc<Stream>, PollNotifier)>,
    appended: bool,
    ended: bool,
}

impl Waiting {
    /// When something must be looked at although no event came; `None` for never.
    fn next_look(&self, look_at_callers: Instant) -> Option<Instant> {
        let reads = self.reads.iter().filter_map(|read| read.until);
        let polls = self.polls.iter().filter_map(|(stream, _)| stream.due());
        let callers = (!self.reads.is_empty()).then_some(look_at_callers);
        reads.chain(polls).chain(callers).min()
    }
}

/// All that waits.
#[derive(Default)]
pub(super) struct Parking {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Anything waits: an append asks this first, so that it costs nothing when nobody does.
    occupied: std::sync::atomic::AtomicBool,
}

impl Parking {
    /// Starts the thread that looks after it.
    pub(super) fn start() -> io::Result<Arc<Parking>> {
        let parking = Arc::new(Parking::default());
        let own = Arc::clone(&parking);
        std::thread::Builder::new()
            .name("parking".into())
            .spawn(move || own.run())?;
        Ok(parking)
    }

    /// An event was appended.
    pub(super) fn appended(&self) {
        if self.occupied.load(std::sync::atomic::Ordering::SeqCst) {
            self.waiting.lock().appended = true;
            self.changed.notify_one();
        }
    }

    /// Parks a read until there is something to answer it with.
    pub(super) fn park(
        &self,
        stream: Arc<Stream>,
        bytes: usize,
        tid: u32,
        until: Option<Instant>,
        reply: ReplyData,
    ) {
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            return reply.error(Errno::EIO);
        }
        self.occupied
            .store(true, std::sync::atomic::Ordering::SeqCst);
        waiting.reads.push(Parked {
            stream,
            bytes,
            tid,
            until,
            reply,
        });
        // An event may have come between the look that found none and the parking.
        waiting.appended = true;
        self.changed.notify_one();
    }

    /// Tells `notifier` once when `stream` can be read.
    pub(super) fn notify(&self, stream: Arc<Stream>, notifier: PollNotifier) {
        let mut waiting = self.waiting.lock();
        self.occupied
            .store(true, std::sync::atomic::Ordering::SeqCst);
        // The kernel uses one handle for each open file, and wants one wake-up for all its polls.
        waiting
            .polls
            .retain(|(_, known)| known.handle().0 != notifier.handle().0);
        waiting.polls.push((stream, notifier));
        waiting.appended = true;
        self.changed.notify_one();
    }

    /// Forgets the polls of a stream that is closed.
    pub(super) fn closed(&self, stream: &Arc<Stream>) {
        self.waiting
            .lock()
            .polls
            .retain(|(known, _)| !Arc::ptr_eq(known, stream));
    }

    /// Answers every parked read with EIO and ends the thread.
    pub(super) fn end(&self) {
        self.waiting.lock().ended = true;
        self.changed.notify_one();
    }

    fn run(&self) {
        let mut look_at_callers = Instant::now() + CALLER_INTERVAL;
        loop {
            let mut waiting = self.waiting.lock();
            if waiting.reads.is_empty() && waiting.polls.is_empty() {
                self.occupied
                    .store(false, std::sync::atomic::Ordering::SeqCst);
            }
            if !waiting.appended && !waiting.ended {
                match waiting.next_look(look_at_callers) {
                    Some(at) => drop(self.changed.wait_until(&mut waiting, at)),
                    None => self.changed.wait(&mut waiting),
                }
            }
            waiting.appended = false;
            let ended = waiting.ended;
            let mut reads = std::mem::take(&mut waiting.reads);
            let polls = std::mem::take(&mut waiting.polls);
            drop(waiting);
            let callers_due = Instant::now() >= look_at_callers;
            if callers_due {
                look_at_callers = Instant::now() + CALLER_INTERVAL;
            }
            if ended {
                reads
                    .into_iter()
                    .for_each(|read| read.reply.error(Errno::EIO));
                return;
            }
            reads = reads
                .into_iter()
                .filter_map(|read| answer(read, callers_due))
                .collect();
            let polls: Vec<_> = polls.into_iter().filter_map(wake).collect();
            let mut waiting = self.waiting.lock();
            waiting.reads.append(&mut reads);
            for (stream, notifier) in polls {
                if waiting
                    .polls
                    .iter()
                    .all(|(_, known)| known.handle().0 != notifier.handle().0)
                {
                    waiting.polls.push((stream, notifier));
                }
            }
        }
    }
}

/// Answers a read if it can be; gives it back when it must wait on.
fn answer(mut read: Parked, look_at_caller: bool) -> Option<Parked> {
    match read.stream.read(read.bytes) {
        Ok(Read::Bytes(bytes)) => read.reply.data(&bytes),
        Err(error) => read.reply.error(super::errno::errno(&error.into())),
        Ok(Read::Park { until }) => {
            if look_at_caller && interrupted(read.tid) {
                read.reply.error(Errno::EINTR);
                return None;
            }
            read.until = until;
            return Some(read);
        }
    }
    None
}

/// Tells a poll if its stream can be read; gives it back when not.
fn wake((stream, notifier): (Arc<Stream>, PollNotifier)) -> Option<(Arc<Stream>, PollNotifier)> {
    if !stream.readable() {
        return Some((stream, notifier));
    }
    if let Err(error) = notifier.notify() {
        log::debug!("a poll could not be woken: {error}");
    }
    None
}

/// Whether thread `tid` has a signal that it does not block or ignore, or is gone.
fn interrupted(tid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else {
        return true;
    };
    let mask = |key: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        value
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(0)
    };
    let pending = mask("SigPnd:") | mask("ShdPnd:");
    pending & !mask("SigBlk:") & !mask("SigIgn:") != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_gone_is_interrupted_and_a_running_one_is_not() {
        assert!(interrupted(u32::MAX));
        assert!(!interrupted(std::process::id()));
    }
}
