//! What an owner may choose about the log, and the fixed limits beside it.

use std::time::Duration;

use crate::event::Seq;

/// Smallest segment: below it the fixed work of a rotation would show in every append.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// Ordinary segment: some fifty thousand events, allocated in well under a millisecond.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Largest segment: retention works by whole segments, and one of them should not be the whole log.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Ordinary `retain_max`: a consumer that is away for as long again as anyone promised loses nothing.
pub const RETAIN_MAX_DEFAULT: u32 = 2;
/// Longest line a reservation may ask for: twice the bound of a request of 64 KiB with every byte escaped.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Shortest time between two syncs of the keeper; a shorter one would only keep the disk busy.
const SYNC_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What an owner may choose about the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Size of a segment in bytes; taken as the nearest of [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// Sealed segments are removed, oldest first, while the lines of all segments have more bytes than this.
    pub retain_bytes: u64,
    /// A sealed segment is removed when its newest event is older than this.
    pub retain_age: Duration,
    /// How many times `retain_bytes` and `retain_age` the log may reach while a consumer still needs its events; at
    /// least 1.
    pub retain_max: u32,
    /// What consumers need from the start on; see [`super::EventLog::hold_after`].
    pub held_after: Option<Seq>,
    /// What the next start would need if this one ended now; see [`super::EventLog::need_after`].
    pub needed_after: Option<Seq>,
    /// Longest time an event waits for being durable when nobody asks for it; at least 10 ms.
    pub sync_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            retain_bytes: 1024 * 1024 * 1024,
            retain_age: Duration::from_secs(7 * 24 * 60 * 60),
            retain_max: RETAIN_MAX_DEFAULT,
            held_after: None,
            needed_after: None,
            sync_interval: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// The same with every value inside its range.
    pub(super) fn within_limits(mut self) -> Options {
        self.segment_bytes = self
            .segment_bytes
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self.sync_interval = self.sync_interval.max(SYNC_INTERVAL_MIN);
        self
    }
}
