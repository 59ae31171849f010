//! The sparse index of one run of lines: where to begin looking for a position or a time.
//!
//! One entry for every 64 KiB of lines, so that a search reads at most that much beside the answer; at the
//! default retention of 1 GiB that is sixteen thousand entries, half a megabyte.

use crate::event::{Seq, Timestamp};

/// Bytes of lines between two entries.
pub(super) const INDEX_STEP_BYTES: u64 = 64 * 1024;

/// One line whose place is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) offset: u64,
    pub(super) timestamp: Timestamp,
}

/// Rising entries; the first is the first line of the run.
#[derive(Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Takes a line into account; keeps it when it is the first or a step past the last kept one.
    pub(super) fn offer(&mut self, entry: Entry) {
        let due = match self.entries.last() {
            Some(last) => entry.offset >= last.offset + INDEX_STEP_BYTES,
            None => true,
        };
        if due {
            self.entries.push(entry);
        }
    }

    /// The last entry at or before `seq`.
    pub(super) fn at_or_before(&self, seq: Seq) -> Option<Entry> {
        let after = self.entries.partition_point(|e| e.seq <= seq);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// The first entry after `seq`.
    pub(super) fn after(&self, seq: Seq) -> Option<Entry> {
        let at = self.entries.partition_point(|e| e.seq <= seq);
        self.entries.get(at).copied()
    }

    /// The last entry earlier than `time`.
    pub(super) fn earlier_than(&self, time: Timestamp) -> Option<Entry> {
        let after = self.entries.partition_point(|e| e.timestamp < time);
        after.checked_sub(1).map(|at| self.entries[at])
    }
}
