//! What happens behind the mount: found, recorded through the recorder, and never guessed.
//!
//! Rank 3, beside `control`. The watcher's word is a hint; the scan is the safety net and, where the watcher cannot
//! see, the polling observer; the comparison under the recorder's locks is the judge. Three threads: one listens to
//! the kernel, one follows hints, one scans. None of them faces the kernel's requests, and none holds a lock of the
//! recorder while it waits. Nothing here appends to the log but overflows, which are gaps.

mod engine;
mod figures;
mod hints;
mod job;
mod look;
mod mode;
mod scan;
mod shared;
mod watcher;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::backing;
use crate::recorder::{Recorder, Stale};

pub use figures::{Figures, Scanned};
pub use job::ReconcileError;
pub use mode::{Mode, POLL_INTERVAL, SCAN_INTERVAL_MAX, SCAN_INTERVAL_MIN, Watch};

use engine::Engine;
use job::Job;
use shared::Shared;
use watcher::{STATE_DIR, Watcher};

/// Takes what the kernel must forget; must not wait.
pub type Invalidate = Box<dyn Fn(Vec<Stale>) + Send + Sync>;

/// How to detect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Which way.
    pub watch: Watch,
    /// Time between scans beside a watcher; `None` adapts it to the miss rate, 5 s to 60 s.
    pub scan_interval: Option<Duration>,
    /// Time between scans without a watcher.
    pub poll_interval: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            watch: Watch::Auto,
            scan_interval: None,
            poll_interval: POLL_INTERVAL,
        }
    }
}

/// Detection has been stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the mount is being taken off")]
pub struct Ended;

/// Detection at work. A clone is the same.
#[derive(Clone)]
pub struct Detect {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Detect {
    /// Begins to watch and to scan the storage open at `storage`, whose state is kept in `state_dir`.
    ///
    /// # Errors
    /// No thread can be started, or `recorder` keeps no catalog.
    pub fn start(
        recorder: Arc<Recorder>,
        storage: BorrowedFd<'_>,
        state_dir: OwnedFd,
        options: Options,
    ) -> io::Result<Detect> {
        let catalog = recorder.catalog().cloned();
        let catalog = catalog.ok_or_else(|| io::Error::other("no catalog is kept"))?;
        let magic = backing::filesystem_magic(storage).ok();
        let mut chosen = mode::choose(options.watch, magic);
        let watcher = if chosen.0 == Mode::Native {
            match watch(catalog.root(), state_dir.as_fd()) {
                Ok(watcher) => Some(watcher),
                Err(why) => {
                    chosen = (Mode::Poll, why);
                    None
                }
            }
        } else {
            None
        };
        log::info!(
            "changes behind the mount: {} ({})",
            chosen.0.word(),
            chosen.1
        );
        let shared = Arc::new(Shared::new(
            recorder, catalog, state_dir, options, chosen, watcher,
        ));
        let detect = Detect {
            shared,
            threads: Arc::default(),
        };
        detect.start_threads().inspect_err(|_| detect.stop())?;
        Ok(detect)
    }

    fn start_threads(&self) -> io::Result<()> {
        let spawn = |name: &str, run: Box<dyn FnOnce(Arc<Shared>) + Send>| {
            let shared = Arc::clone(&self.shared);
            let named = std::thread::Builder::new().name(name.into());
            let thread = named.spawn(move || run(shared))?;
            self.threads.lock().push(thread);
            io::Result::Ok(())
        };
        if self.shared.watcher.is_some() {
            spawn(
                "watch",
                Box::new(|shared| {
                    if let Some(watcher) = &shared.watcher {
                        engine::listen(&shared, watcher);
                    }
                }),
            )?;
            spawn("detect", Box::new(|shared| Engine::new(shared).run()))?;
        }
        spawn("scan", Box::new(|shared| scan::run(&shared)))
    }

    /// From now on `invalidate` is given what the kernel must forget; once.
    pub fn on_stale(&self, invalidate: Invalidate) {
        // A second one would be a mistake of the start order; the first stays.
        let _ = self.shared.invalidate.set(invalidate);
    }

    /// Whether everything is watched and has been looked at: then what a session holds is right until it is told
    /// otherwise.
    #[must_use]
    pub fn covers(&self) -> bool {
        self.shared.counters.covered.load(SeqCst)
    }

    /// The figures of this moment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Waits, at most `longest`, for the first scan to end; says whether it has.
    #[must_use]
    pub fn wait_first_scan(&self, longest: Duration) -> bool {
        let end = Instant::now() + longest;
        let mut scans = self.shared.scans.lock();
        while scans.done == 0 {
            let changed = &self.shared.scans_changed;
            if changed.wait_until(&mut scans, end).timed_out() {
                return scans.done > 0;
            }
        }
        true
    }

    /// Returns when every change made behind the mount before the call is in the log: by the watcher's queue where
    /// that is complete, else by a scan. It may take a scan's time.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn settle(&self) -> Result<(), Ended> {
        let shared = &self.shared;
        let told = shared.mode().0 == Mode::Native && shared.flush()?;
        let number = if told {
            shared.scans.lock().asked
        } else {
            shared.ask_for_scan().0
        };
        shared.wait_scan(number)
    }

    /// Compares `path` (relative to the storage's root; empty or `.` for all of it) and what is below with the
    /// catalog, with `full` the content of every file too, and waits for the end.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub fn reconcile(&self, path: &[u8], full: bool) -> Result<Scanned, ReconcileError> {
        let shared = &self.shared;
        // Before the first scan, what is known is not what there is.
        shared.wait_scan(1).map_err(|_| ReconcileError::Ended)?;
        let (answer, outcome) = crossbeam_channel::bounded(1);
        let job = Job {
            path: path.to_vec(),
            full,
            answer,
        };
        let mut scans = shared.scans.lock();
        if shared.has_ended() {
            return Err(ReconcileError::Ended);
        }
        scans.jobs.push_back(job);
        drop(scans);
        shared.scans_changed.notify_all();
        outcome.recv().unwrap_or(Err(ReconcileError::Ended))
    }

    /// Stops, and returns when no thread is left. Idempotent.
    pub fn stop(&self) {
        self.shared.end();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A thread that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

/// A watcher that watches the state directory already, for the barriers.
fn watch(root: u64, state_dir: BorrowedFd<'_>) -> Result<Watcher, String> {
    let watcher =
        Watcher::new(root).map_err(|error| format!("inotify is not to be had: {error}"))?;
    watcher
        .watch(STATE_DIR, state_dir)
        .map_err(|error| error.to_string())?;
    Ok(watcher)
}
