//! Group commit: whoever asks for durability while a commit runs shares the next one. One commit at a time.

use std::sync::atomic::Ordering;

use super::primitives::{AtomicU64, Condvar, Mutex};
use crate::event::Seq;

/// How far the log is durable, and whether somebody is at it.
pub(super) struct Group {
    durable: AtomicU64,
    running: Mutex<bool>,
    finished: Condvar,
}

impl Group {
    pub(super) fn new(durable: Seq) -> Group {
        Group {
            durable: AtomicU64::new(durable.0),
            running: Mutex::new(false),
            finished: Condvar::new(),
        }
    }

    pub(super) fn durable(&self) -> Seq {
        Seq(self.durable.load(Ordering::Acquire))
    }

    /// Everything up to `seq` is durable. The commit that runs says so, before it ends.
    pub(super) fn reached(&self, seq: Seq) {
        self.durable.fetch_max(seq.0, Ordering::AcqRel);
    }

    /// Returns when everything up to `wanted` is durable: by a commit of others that began after it was appended, or by
    /// `commit`, which no other one runs beside.
    pub(super) fn join<E>(
        &self,
        wanted: Seq,
        commit: impl FnOnce() -> Result<Seq, E>,
    ) -> Result<Seq, E> {
        let mut running = self.running.lock();
        loop {
            if self.durable() >= wanted {
                return Ok(self.durable());
            }
            if !*running {
                break;
            }
            self.finished.wait(&mut running);
        }
        *running = true;
        drop(running);
        let result = commit();
        *self.running.lock() = false;
        self.finished.notify_all();
        result
    }
}
