//! Waits that end: every one has a deadline and says what it was waiting for.

use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Long enough for a machine under load; a healthy wait ends in milliseconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Time between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `ready` gives a value.
pub(crate) fn value<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} for: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `ready` holds.
pub(crate) fn until(what: &str, mut ready: impl FnMut() -> bool) {
    value(what, || ready().then_some(()));
}

/// Work on a thread of its own, for calls that could block without end.
pub(crate) struct Job<T> {
    what: &'static str,
    result: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Job<T> {
    /// Starts `work`.
    pub(crate) fn start(what: &'static str, work: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let (sender, result) = mpsc::channel();
        std::thread::spawn(move || {
            // The receiver is gone when the test gave up: there is nobody to tell.
            let _ = sender.send(work());
        });
        Job { what, result }
    }

    /// The result, or a failed test at the deadline or when the work panicked.
    pub(crate) fn finish(self) -> T {
        match self.result.recv_timeout(DEADLINE) {
            Ok(value) => value,
            Err(error) => panic!("{}: no result within {DEADLINE:?}: {error}", self.what),
        }
    }

    /// Whether the work is still going on.
    pub(crate) fn running(&self) -> bool {
        matches!(self.result.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}
