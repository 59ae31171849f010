//! Detection as the control directory sees it: figures to show, and work that takes its time. A trait, because
//! detection is of the same rank; the daemon brings the two together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::event::Timestamp;
use crate::health::Latency;

/// What finds the changes that bypass the mount. Nothing here may wait: work is begun, and answered later.
pub trait Detection: Send + Sync {
    /// The figures of this moment.
    fn figures(&self) -> DetectionFigures;
    /// Begins the barrier: every change made before it is in the log, and the log on disk, when it is answered.
    fn sync(&self) -> Arc<Promise>;
    /// Begins a scan of `path`, relative to the storage's root, with `full` of all content.
    fn reconcile(&self, path: &str, full: bool) -> Arc<Promise>;
    /// Begins to compare every stored content with its hash.
    fn verify(&self) -> Arc<Promise>;
}

/// One moment's figures of detection.
#[derive(Clone, PartialEq, Debug)]
pub struct DetectionFigures {
    /// `native`, `poll` or `off`.
    pub mode: &'static str,
    /// Why so.
    pub reason: String,
    /// Whether every directory is watched and has been looked at since.
    pub covered: bool,
    /// Directories watched.
    pub watches: u64,
    /// Times the watcher's queue was full.
    pub overflows: u64,
    /// When the watcher last told of anything.
    pub last_event: Option<Timestamp>,
    /// Changes that only a scan found, where the watcher should have told of them.
    pub missed: u64,
    /// Time between scans; `None` when there are none by themselves.
    pub scan_interval: Option<Duration>,
    /// The last scan of everything.
    pub last_scan: Option<ScanFigures>,
    /// Changes that scans found.
    pub fixes: u64,
    /// From the watcher's word to the event.
    pub latency: Option<Latency>,
}

/// How a scan went.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScanFigures {
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Directories listed.
    pub directories: u64,
    /// Other entries compared.
    pub files: u64,
    /// Changes found.
    pub found: u64,
    /// Places that could not be read.
    pub unreadable: u64,
}

/// Why work that was begun failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// One word for programs.
    pub code: &'static str,
    /// What went wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// An answer that comes later: the text of a reply, or why there is none.
pub struct Promise {
    begun: Instant,
    outcome: Mutex<Option<Result<String, Failed>>>,
}

impl Default for Promise {
    fn default() -> Promise {
        Promise {
            begun: Instant::now(),
            outcome: Mutex::new(None),
        }
    }
}

impl Promise {
    /// An answer that is there already.
    #[must_use]
    pub fn kept(outcome: Result<String, Failed>) -> Arc<Promise> {
        let promise = Promise::default();
        promise.keep(outcome);
        Arc::new(promise)
    }

    /// Gives the answer.
    pub fn keep(&self, outcome: Result<String, Failed>) {
        *self.outcome.lock() = Some(outcome);
    }

    /// The answer, once.
    pub(super) fn take(&self) -> Option<Result<String, Failed>> {
        self.outcome.lock().take()
    }

    /// Whether the answer is there.
    pub(super) fn is_kept(&self) -> bool {
        self.outcome.lock().is_some()
    }

    /// When to look for it: soon at first, then ever less often.
    pub(super) fn look_at(&self) -> Instant {
        const SOONEST: Duration = Duration::from_millis(1);
        const LATEST: Duration = Duration::from_millis(50);
        Instant::now() + (self.begun.elapsed() / 4).clamp(SOONEST, LATEST)
    }
}
