//! Each kernel-facing thread sits on one CPU: a request is then answered where its caller runs, without waking
//! another CPU, which is worth four times the round trips.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

thread_local! {
    static SEATED: Cell<bool> = const { Cell::new(false) };
}

/// The CPUs this process may use, one seat each.
pub(super) struct Seats {
    cpus: Vec<usize>,
    taken: AtomicUsize,
}

impl Seats {
    /// The seats there are; none where the CPUs cannot be told, and then threads run where they like.
    pub(super) fn new() -> Seats {
        let allowed = sched_getaffinity(None).map(|set| {
            (0..CpuSet::MAX_CPU)
                .filter(|cpu| set.is_set(*cpu))
                .collect()
        });
        Seats {
            cpus: allowed.unwrap_or_default(),
            taken: AtomicUsize::new(0),
        }
    }

    /// Kernel-facing threads to start: one per seat.
    pub(super) fn count(&self) -> usize {
        self.cpus.len().max(1)
    }

    /// Seats this thread, once.
    pub(super) fn take(&self) {
        if SEATED.replace(true) {
            return;
        }
        if let Some(cpu) = self.cpus.get(self.taken.fetch_add(1, Relaxed)) {
            let mut set = CpuSet::new();
            set.set(*cpu);
            // A seat refused only costs speed.
            let _ = sched_setaffinity(None, &set);
        }
    }
}
