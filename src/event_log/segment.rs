//! Segments and runs: which file holds which positions.
//!
//! A run is a stretch of one segment whose lines are all good and dense. An undamaged segment is one run; damage
//! splits it, and positions between two runs are a hole. Invariant: runs rise in `first` and do not overlap.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::index::{Entry, Index};
use crate::disk::{Storage, StoredFile};
use crate::event::{Seq, Timestamp};

/// Name of the next segment while it waits.
pub(super) const SPARE_NAME: &str = "spare";
/// Name of the marker of a log that was closed in order.
pub(super) const CLEAN_NAME: &str = "clean";
/// Positions above this are not believed: so no sum of positions overflows, and at a million events a second it
/// is not reached in a quarter of a million years.
pub(super) const POSITION_MAX: Seq = Seq(u64::MAX >> 1);
const SUFFIX: &str = ".jsonl";
const NAME_DIGITS: usize = 20;

/// The file name of the segment whose first line may be `first`.
pub(super) fn segment_name(first: Seq) -> String {
    format!("{:0NAME_DIGITS$}{SUFFIX}", first.0)
}

/// The position a file name carries, `None` when it is not a segment's.
pub(super) fn segment_first(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != NAME_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let first = digits.parse().ok().map(Seq)?;
    (first > Seq(0) && first <= POSITION_MAX).then_some(first)
}

/// One file of the log.
pub(super) struct Segment {
    pub(super) first: Seq,
    pub(super) name: String,
    /// Bytes up to the end of the last line.
    pub(super) bytes: AtomicU64,
    /// Time of the newest event, nanoseconds since the epoch; 0 when it has none.
    pub(super) newest: AtomicU64,
    /// The file while somebody has it open, so that readers share one descriptor.
    opened: Mutex<Option<Weak<dyn StoredFile>>>,
}

impl Segment {
    pub(super) fn new(first: Seq, bytes: u64, newest: Timestamp) -> Segment {
        Segment {
            first,
            name: segment_name(first),
            bytes: AtomicU64::new(bytes),
            newest: AtomicU64::new(newest.0),
            opened: Mutex::new(None),
        }
    }

    /// Lets readers share a descriptor that is already open.
    pub(super) fn share(&self, file: &Arc<dyn StoredFile>) {
        *self.opened.lock() = Some(Arc::downgrade(file));
    }

    /// The file, opened when nobody has it open.
    pub(super) fn file(&self, storage: &dyn Storage) -> io::Result<Arc<dyn StoredFile>> {
        if let Some(file) = self.opened.lock().as_ref().and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = storage.open(&self.name)?;
        self.share(&file);
        Ok(file)
    }
}

/// A stretch of good, dense lines in one segment.
pub(super) struct Run {
    pub(super) segment: Arc<Segment>,
    pub(super) first: Seq,
    pub(super) start: u64,
    last: AtomicU64,
    end: AtomicU64,
    index: Mutex<Index>,
}

impl Run {
    /// An empty run whose next line is `first` at `start`.
    pub(super) fn empty(segment: Arc<Segment>, first: Seq, start: u64) -> Run {
        Run {
            segment,
            first,
            start,
            last: AtomicU64::new(first.0 - 1),
            end: AtomicU64::new(start),
            index: Mutex::new(Index::default()),
        }
    }

    /// Position of its last line; `first - 1` while it is empty.
    pub(super) fn last(&self) -> Seq {
        Seq(self.last.load(Ordering::Acquire))
    }

    /// Offset after its last line. Load [`Run::last`] before it: then the line of that position lies within.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last() < self.first
    }

    /// Makes a written line part of the run. Only the holder of the serial point calls this.
    pub(super) fn publish(&self, entry: Entry, line_bytes: u64) {
        self.index.lock().offer(entry);
        let end = entry.offset + line_bytes;
        self.end.store(end, Ordering::Release);
        self.last.store(entry.seq.0, Ordering::Release);
        self.segment.bytes.store(end, Ordering::Release);
        self.segment
            .newest
            .store(entry.timestamp.0, Ordering::Release);
    }

    /// Offset of a line at or before `seq`, and that line's position.
    pub(super) fn seek(&self, seq: Seq) -> (Seq, u64) {
        match self.index.lock().at_or_before(seq) {
            Some(entry) => (entry.seq, entry.offset),
            None => (self.first, self.start),
        }
    }

    /// An offset past the line `seq`, by at most one index step and one line.
    pub(super) fn end_after(&self, seq: Seq) -> u64 {
        match self.index.lock().after(seq) {
            Some(entry) => entry.offset,
            None => self.end(),
        }
    }

    /// Position of a line of this run that is earlier than `time`, as late as the index knows.
    pub(super) fn earlier_than(&self, time: Timestamp) -> Option<Seq> {
        self.index.lock().earlier_than(time).map(|e| e.seq)
    }
}

/// All segments and runs, oldest first. The last of both is the active one.
#[derive(Default)]
pub(super) struct Map {
    pub(super) segments: VecDeque<Arc<Segment>>,
    pub(super) runs: VecDeque<Arc<Run>>,
}

/// Where a position is.
pub(super) enum Place {
    /// In this run.
    In(Arc<Run>),
    /// Nowhere: lost up to `to`. `before_all` when no kept segment reaches back so far.
    Hole {
        /// Last position of the hole.
        to: Seq,
        /// Whether it lies before the oldest kept segment.
        before_all: bool,
    },
}

impl Map {
    /// Where the line `seq` is; `seq` is at most the head.
    pub(super) fn place(&self, seq: Seq) -> Place {
        let after = self.runs.partition_point(|run| run.first <= seq);
        if let Some(run) = after.checked_sub(1).map(|at| &self.runs[at])
            && seq <= run.last()
        {
            return Place::In(Arc::clone(run));
        }
        // A segment's name says where it began, so damage of its first lines is not taken for retention.
        if let Some(oldest) = self.segments.front().filter(|s| seq < s.first) {
            return Place::Hole {
                to: Seq(oldest.first.0 - 1),
                before_all: true,
            };
        }
        let to = self
            .runs
            .get(after)
            .map_or(seq, |next| Seq(next.first.0 - 1));
        Place::Hole {
            to,
            before_all: false,
        }
    }

    /// Adds a segment with one empty run and makes it the active one.
    pub(super) fn push_active(&mut self, segment: &Arc<Segment>) -> Arc<Run> {
        let run = Arc::new(Run::empty(Arc::clone(segment), segment.first, 0));
        self.segments.push_back(Arc::clone(segment));
        self.runs.push_back(Arc::clone(&run));
        run
    }

    /// Forgets the oldest segment and its runs.
    pub(super) fn pop_oldest(&mut self) -> Option<Arc<Segment>> {
        let gone = self.segments.pop_front()?;
        while self
            .runs
            .front()
            .is_some_and(|run| Arc::ptr_eq(&run.segment, &gone))
        {
            self.runs.pop_front();
        }
        Some(gone)
    }

    /// Bytes of lines in all segments.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = |s: &Arc<Segment>| s.bytes.load(Ordering::Acquire);
        self.segments.iter().map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(segment_name(Seq(7)), "00000000000000000007.jsonl");
        assert_eq!(segment_first("00000000000000000007.jsonl"), Some(Seq(7)));
        let max = segment_name(POSITION_MAX);
        assert_eq!(segment_first(&max), Some(POSITION_MAX));
        for bad in [
            "00000000000000000000.jsonl",
            "0000000000000000007.jsonl",
            "+0000000000000000007.jsonl",
            "99999999999999999999.jsonl",
            "09223372036854775808.jsonl",
            "00000000000000000007.json",
            "spare",
            "",
        ] {
            assert_eq!(segment_first(bad), None, "{bad}");
        }
    }
}
