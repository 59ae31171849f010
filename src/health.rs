//! Counters and latencies everyone bumps and `status` shows. Rank 0: no I/O, and never a reason to fail.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::event::{Op, Source};

/// Latencies above this count as this much: a minute is a stall, however long it was.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Significant digits of the latency histograms: p99 to within one percent.
const LATENCY_DIGITS: u8 = 2;

/// What the running daemon knows of itself.
pub struct Health {
    started: Instant,
    by_source: [AtomicU64; Source::ALL.len()],
    open_files: AtomicU64,
    latency: [Mutex<Histogram<u64>>; Op::ALL.len()],
}

/// Percentiles of one operation, in microseconds, over the daemon's life.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latency {
    /// Times it was measured.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
}

impl Default for Health {
    fn default() -> Self {
        // The bounds are constants that hdrhistogram accepts; a fallback keeps this function free of panics.
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).unwrap_or_else(|_| {
                Histogram::new(1).unwrap_or_else(|_| unreachable!("one digit is valid"))
            })
        };
        Health {
            started: Instant::now(),
            by_source: std::array::from_fn(|_| AtomicU64::new(0)),
            open_files: AtomicU64::new(0),
            latency: std::array::from_fn(|_| Mutex::new(histogram())),
        }
    }
}

impl Health {
    /// Counts one recorded event.
    pub fn recorded(&self, source: Source) {
        self.by_source[source as usize].fetch_add(1, Relaxed);
    }

    /// Events recorded from `source` since the start.
    #[must_use]
    pub fn events(&self, source: Source) -> u64 {
        self.by_source[source as usize].load(Relaxed)
    }

    /// Counts the time one operation took, from the request to the record.
    pub fn took(&self, op: Op, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(LATENCY_MAX_US);
        self.latency[op as usize]
            .lock()
            .saturating_record(us.clamp(1, LATENCY_MAX_US));
    }

    /// Latency of `op`, `None` when it never happened.
    #[must_use]
    pub fn latency(&self, op: Op) -> Option<Latency> {
        let histogram = self.latency[op as usize].lock();
        let count = histogram.len();
        (count > 0).then(|| Latency {
            count,
            p50_us: histogram.value_at_quantile(0.50),
            p99_us: histogram.value_at_quantile(0.99),
        })
    }

    /// One more open file.
    pub fn opened(&self) {
        self.open_files.fetch_add(1, Relaxed);
    }

    /// One open file less.
    pub fn closed(&self) {
        self.open_files.fetch_sub(1, Relaxed);
    }

    /// Files open through the mount.
    #[must_use]
    pub fn open_files(&self) -> u64 {
        self.open_files.load(Relaxed)
    }

    /// Time since the daemon started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_counted_per_operation() {
        let health = Health::default();
        assert_eq!(health.latency(Op::Write), None);
        health.took(Op::Write, Duration::from_micros(100));
        health.took(Op::Write, Duration::from_secs(3600));
        let latency = health.latency(Op::Write).unwrap();
        assert_eq!(latency.count, 2);
        assert!((99..=101).contains(&latency.p50_us), "{latency:?}");
        assert_eq!(health.latency(Op::Close), None);
    }
}
