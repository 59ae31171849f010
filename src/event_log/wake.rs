//! Telling readers that there is more. While nobody waits and no hook is set it costs two atomic loads.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::primitives::{AtomicBool, AtomicU64, Condvar, Mutex};
use crate::event::Seq;

type Hook = Box<dyn Fn() + Send + Sync>;

/// The published head and those who wait for it.
pub(super) struct Wake {
    head: AtomicU64,
    closed: AtomicBool,
    waiting: AtomicU64,
    lock: Mutex<()>,
    changed: Condvar,
    hook: OnceLock<Hook>,
}

impl Wake {
    pub(super) fn new(head: Seq) -> Wake {
        Wake {
            head: AtomicU64::new(head.0),
            closed: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            lock: Mutex::new(()),
            changed: Condvar::new(),
            hook: OnceLock::new(),
        }
    }

    pub(super) fn head(&self) -> Seq {
        Seq(self.head.load(SeqCst))
    }

    /// Publishes a head. The holder of the serial point calls this, and [`Wake::wake`] after letting it go.
    pub(super) fn publish(&self, head: Seq) {
        self.head.store(head.0, SeqCst);
    }

    /// Wakes those who wait. Sequential consistency pairs it with the waiter: either the waiter sees the new head
    /// or this sees the waiter.
    pub(super) fn wake(&self) {
        if self.waiting.load(SeqCst) > 0 {
            drop(self.lock.lock());
            self.changed.notify_all();
        }
        if let Some(hook) = self.hook.get() {
            hook();
        }
    }

    /// Sets the hook; a second one is ignored.
    pub(super) fn set_hook(&self, hook: Hook) {
        let _ = self.hook.set(hook);
    }

    /// Lets every present and future wait return at once.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.wake();
    }

    /// Waits until the head is past `seq`, the log is closed or the deadline has come; gives the head.
    pub(super) fn wait_past(&self, seq: Seq, deadline: Option<Instant>) -> Seq {
        if self.head() > seq {
            return self.head();
        }
        self.waiting.fetch_add(1, SeqCst);
        let mut guard = self.lock.lock();
        while self.head() <= seq && !self.closed.load(SeqCst) {
            match deadline {
                None => self.changed.wait(&mut guard),
                Some(deadline) => {
                    if self.changed.wait_until(&mut guard, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        drop(guard);
        self.waiting.fetch_sub(1, SeqCst);
        self.head()
    }
}
