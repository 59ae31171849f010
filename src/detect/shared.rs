//! What the threads of detection share, and how they agree on the mode.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::backing::{self, OFlags};
use crate::event::{Event, GapReason};
use crate::recorder::{Catalog, Recorder, Stale};

use super::figures::{Counters, Figures};
use super::hints::Hints;
use super::job::Job;
use super::mode::{self, Mode};
use super::watcher::{STATE_DIR, Watcher};
use super::{Ended, Invalidate, Options};

/// Prefix of the barrier's files in the state directory.
const BARRIER_PREFIX: &str = "barrier-";
/// How long one barrier is waited for before another is sent: the kernel drops them with all else when its queue is
/// full.
const BARRIER_WAIT: Duration = Duration::from_millis(250);

/// What all threads of detection work on.
pub(super) struct Shared {
    pub(super) recorder: Arc<Recorder>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) state_dir: OwnedFd,
    pub(super) options: Options,
    pub(super) watcher: Option<Watcher>,
    pub(super) hints: Hints,
    pub(super) counters: Counters,
    pub(super) invalidate: OnceLock<Invalidate>,
    pub(super) ended: AtomicBool,
    sight: Mutex<Sight>,
    barriers: Barriers,
    pub(super) scans: Mutex<Scans>,
    pub(super) scans_changed: Condvar,
}

/// How changes are found at present.
struct Sight {
    chosen: (Mode, String),
    /// Why the watcher does not see everything, while it does not.
    lost: Option<String>,
    interval: Duration,
}

#[derive(Default)]
struct Barriers {
    last: AtomicU64,
    passed: Mutex<u64>,
    changed: Condvar,
}

/// The scans that are wanted.
#[derive(Default)]
pub(super) struct Scans {
    /// Scans of everything: asked for, begun, ended. A scan serves all that asked before it began.
    pub(super) asked: u64,
    pub(super) begun: u64,
    pub(super) done: u64,
    /// Scans that someone asked for by path.
    pub(super) jobs: VecDeque<Job>,
    /// Files whose content has not been hashed yet may be there.
    pub(super) fill: bool,
}

impl Shared {
    pub(super) fn new(
        recorder: Arc<Recorder>,
        catalog: Arc<Catalog>,
        state_dir: OwnedFd,
        options: Options,
        chosen: (Mode, String),
        watcher: Option<Watcher>,
    ) -> Shared {
        let interval = options.scan_interval.unwrap_or(mode::INTERVAL_FIRST);
        let shared = Shared {
            recorder,
            catalog,
            state_dir,
            options,
            watcher,
            hints: Hints::default(),
            counters: Counters::default(),
            invalidate: OnceLock::new(),
            ended: AtomicBool::new(false),
            sight: Mutex::new(Sight {
                chosen,
                lost: None,
                interval,
            }),
            barriers: Barriers::default(),
            scans: Mutex::default(),
            scans_changed: Condvar::new(),
        };
        // The first scan.
        shared.scans.lock().asked = 1;
        shared
    }

    /// Whether the end has been asked for.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// Makes every thread return.
    pub(super) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.hints.end();
        // Each under its lock, so that nobody is between looking at the flag and falling asleep.
        drop(self.barriers.passed.lock());
        self.barriers.changed.notify_all();
        self.scans.lock().jobs.clear();
        self.scans_changed.notify_all();
        if let Some(watcher) = &self.watcher {
            watcher.wake();
        }
    }

    /// What the kernel may still hold of these is no longer so.
    pub(super) fn invalidate(&self, stale: Vec<Stale>) {
        if let Some(invalidate) = self.invalidate.get()
            && !stale.is_empty()
        {
            invalidate(stale);
        }
    }

    /// The mode at present and why.
    pub(super) fn mode(&self) -> (Mode, String) {
        let sight = self.sight.lock();
        match &sight.lost {
            Some(why) => (Mode::Poll, why.clone()),
            None => sight.chosen.clone(),
        }
    }

    /// The watcher does not see everything any more: scans at the poll interval take its place.
    pub(super) fn lost_sight(&self, why: String) {
        let mut sight = self.sight.lock();
        if sight.lost.is_none() {
            log::warn!("changes behind the mount are found by polling: {why}");
            let detail = format!(
                "{why}: what changes behind the mount is found by scans, but not each step that led there"
            );
            sight.lost = Some(why);
            self.counters.covered.store(false, SeqCst);
            drop(sight);
            self.scans_changed.notify_all();
            self.say_gap(GapReason::Unwatched, &detail);
        }
    }

    /// A scan of everything has found every directory watched.
    pub(super) fn regained_sight(&self) {
        let mut sight = self.sight.lock();
        if sight.lost.take().is_some() {
            log::warn!("the watcher sees every directory again");
        }
    }

    /// Time from one scan to the next; `None` when there are none by themselves.
    pub(super) fn interval(&self) -> Option<Duration> {
        let mode = self.mode().0;
        match mode {
            Mode::Native => Some(self.sight.lock().interval),
            Mode::Poll => Some(self.options.poll_interval),
            Mode::Off => None,
        }
    }

    /// Learns from a scan that took `took` and found `missed` changes unseen by the watcher.
    pub(super) fn adapt(&self, missed: u64, took: Duration) {
        if self.options.scan_interval.is_none() {
            let mut sight = self.sight.lock();
            sight.interval = mode::adapt(sight.interval, missed, took);
        }
    }

    /// Asks for a scan of everything that begins after this moment; gives its number, and whether one that had not
    /// begun was already asked for.
    pub(super) fn ask_for_scan(&self) -> (u64, bool) {
        let mut scans = self.scans.lock();
        let waiting = scans.asked > scans.begun;
        if !waiting {
            scans.asked += 1;
        }
        let number = scans.asked;
        drop(scans);
        self.scans_changed.notify_all();
        (number, waiting)
    }

    /// The watcher's queue could not hold what happened: says so in the log and has everything looked at.
    pub(super) fn overflowed(&self) {
        self.counters
            .overflows
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.counters.covered.store(false, SeqCst);
        if self.ask_for_scan().1 {
            return;
        }
        let detail = "more changed behind the mount than the watcher's queue holds; a scan of everything follows and records what differs, but not each step that led there";
        self.say_gap(GapReason::Overflow, detail);
    }

    fn say_gap(&self, reason: GapReason, detail: &str) {
        if let Err(error) = self.recorder.note(&Event::gap(reason, None, detail)) {
            log::warn!("a gap could not be recorded: {detail}: {error}");
        }
    }

    /// Waits until the scan `number` has ended.
    pub(super) fn wait_scan(&self, number: u64) -> Result<(), Ended> {
        let mut scans = self.scans.lock();
        while scans.done < number {
            if self.has_ended() {
                return Err(Ended);
            }
            self.scans_changed.wait(&mut scans);
        }
        Ok(())
    }

    /// Waits until everything that the kernel has told by now has been looked at. Never from the thread that looks.
    /// Says whether there is a watcher to be waited for.
    pub(super) fn flush(&self) -> Result<bool, Ended> {
        let watched = |watcher: &Watcher| watcher.watches(STATE_DIR);
        if !self.watcher.as_ref().is_some_and(watched) {
            return Ok(false);
        }
        loop {
            if self.has_ended() {
                return Err(Ended);
            }
            let Some(number) = self.send_barrier() else {
                return Ok(false);
            };
            let until = Instant::now() + BARRIER_WAIT;
            let mut passed = self.barriers.passed.lock();
            while *passed < number && !self.has_ended() {
                if self
                    .barriers
                    .changed
                    .wait_until(&mut passed, until)
                    .timed_out()
                {
                    break;
                }
            }
            if *passed >= number {
                return Ok(true);
            }
        }
    }

    /// Makes the kernel tell of a new file in the state directory, after all that it has told before.
    fn send_barrier(&self) -> Option<u64> {
        let number = self.barriers.last.fetch_add(1, SeqCst) + 1;
        let name = std::ffi::OsString::from(format!("{BARRIER_PREFIX}{number}"));
        let dir = self.state_dir.as_fd();
        // One that a killed daemon left.
        let _ = backing::unlink(dir, &name);
        let made = backing::create(dir, &name, OFlags::WRONLY, 0o600);
        let _ = backing::unlink(dir, &name);
        made.is_ok().then_some(number)
    }

    /// The number in a barrier's name.
    pub(super) fn barrier_number(name: &[u8]) -> Option<u64> {
        let digits = name.strip_prefix(BARRIER_PREFIX.as_bytes())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Everything told before the barrier `number` has been looked at.
    pub(super) fn passed(&self, number: u64) {
        let mut passed = self.barriers.passed.lock();
        *passed = number.max(*passed);
        drop(passed);
        self.barriers.changed.notify_all();
    }

    /// The figures of this moment.
    pub(super) fn figures(&self) -> Figures {
        use std::sync::atomic::Ordering::Relaxed;
        let (mode, reason) = self.mode();
        let counters = &self.counters;
        // The state directory's own watch is not one of the storage's.
        let watches = self.watcher.as_ref().map_or(0, |watcher| {
            watcher.count() - usize::from(watcher.watches(STATE_DIR)).min(watcher.count())
        });
        Figures {
            mode,
            reason,
            covered: counters.covered.load(Relaxed),
            watches: watches as u64,
            overflows: counters.overflows.load(Relaxed),
            last_event: counters.last_event(),
            missed: counters.missed.load(Relaxed),
            scan_interval: self.interval(),
            last_scan: *counters.last_scan.lock(),
            fixes: counters.fixes.load(Relaxed),
            latency: counters.latency(),
        }
    }
}
