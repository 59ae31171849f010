//! The wish to end, said once by anyone and heard by everyone. It only remembers and wakes: the order of stopping
//! belongs to `serve`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A latch that many threads share; a clone is the same latch.
#[derive(Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// A latch that has not been set.
    #[must_use]
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Sets the latch and wakes everyone in [`Stop::wait`]. Further calls change nothing.
    pub fn request(&self) {
        *self.shared.requested.lock() = true;
        self.shared.changed.notify_all();
    }

    /// Whether the latch is set.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.shared.requested.lock()
    }

    /// Waits until the latch is set, at most `timeout`; says whether it is set.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut requested = self.shared.requested.lock();
        match Instant::now().checked_add(timeout) {
            Some(deadline) => {
                while !*requested
                    && !self
                        .shared
                        .changed
                        .wait_until(&mut requested, deadline)
                        .timed_out()
                {}
            }
            // Too far away for the clock to name: no deadline.
            None => {
                while !*requested {
                    self.shared.changed.wait(&mut requested);
                }
            }
        }
        *requested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_heard_by_clones_and_stays() {
        let stop = Stop::new();
        assert!(!stop.wait(Duration::ZERO));
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait(Duration::MAX)
        });
        stop.request();
        assert!(waiter.join().unwrap());
        assert!(stop.requested());
        assert!(stop.wait(Duration::ZERO));
    }
}
