//! What detection says of itself: how it works now, what it found, what it missed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::event::Timestamp;
use crate::health::Latency;

use super::mode::Mode;

/// Latencies above this count as this much.
const LATENCY_MAX_US: u64 = 600_000_000;

/// One moment's figures.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// How changes are found.
    pub mode: Mode,
    /// Why so, for a person.
    pub reason: String,
    /// Whether every directory is watched and has been looked at since.
    pub covered: bool,
    /// Directories watched.
    pub watches: u64,
    /// Times more changed than the watcher's queue holds.
    pub overflows: u64,
    /// When the watcher last told of anything.
    pub last_event: Option<Timestamp>,
    /// Changes that only a scan found, where the watcher should have told of them.
    pub missed: u64,
    /// Time between scans; `None` when there are none by themselves.
    pub scan_interval: Option<Duration>,
    /// The last scan of everything; `None` before the first has ended.
    pub last_scan: Option<Scanned>,
    /// Changes that scans found.
    pub fixes: u64,
    /// From the watcher's word to the event; `None` before the first.
    pub latency: Option<Latency>,
}

/// How one scan went.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Scanned {
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Directories listed.
    pub directories: u64,
    /// Entries compared that are not directories.
    pub files: u64,
    /// Changes found.
    pub found: u64,
    /// Places that could not be read.
    pub unreadable: u64,
}

/// Figures in the making.
pub(super) struct Counters {
    pub(super) overflows: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) fixes: AtomicU64,
    pub(super) covered: AtomicBool,
    last_event: AtomicU64,
    pub(super) last_scan: Mutex<Option<Scanned>>,
    latency: Mutex<Option<Histogram<u64>>>,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            overflows: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            fixes: AtomicU64::new(0),
            covered: AtomicBool::new(false),
            last_event: AtomicU64::new(0),
            last_scan: Mutex::new(None),
            // Constants that are in range; without the histogram only the figure would be missing.
            latency: Mutex::new(Histogram::new_with_bounds(1, LATENCY_MAX_US, 2).ok()),
        }
    }
}

impl Counters {
    /// The watcher told of something now.
    pub(super) fn told(&self) {
        self.last_event.store(Timestamp::now().0, Relaxed);
    }

    /// When it last did.
    pub(super) fn last_event(&self) -> Option<Timestamp> {
        match self.last_event.load(Relaxed) {
            0 => None,
            time => Some(Timestamp(time)),
        }
    }

    /// A change was recorded so long after the watcher told of it.
    pub(super) fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(LATENCY_MAX_US);
        if let Some(histogram) = self.latency.lock().as_mut() {
            histogram.saturating_record(us.clamp(1, LATENCY_MAX_US));
        }
    }

    /// Percentiles of those times.
    pub(super) fn latency(&self) -> Option<Latency> {
        let histogram = self.latency.lock();
        let histogram = histogram.as_ref().filter(|h| !h.is_empty())?;
        Some(Latency {
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.50),
            p99_us: histogram.value_at_quantile(0.99),
        })
    }
}
