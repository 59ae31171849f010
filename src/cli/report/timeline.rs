//! Events over time, in at most a few hundred buckets of equal width. One pass over a log of any length: the width grows
//! to the next round step whenever the buckets would be too many. Pure.

use std::collections::BTreeMap;

use crate::event::{EventType, Op, Source};

use crate::cli::activity::Change;

/// Most buckets: more would be narrower than what a screen shows apart.
pub(super) const BUCKETS_MAX: u64 = 240;
/// Widths in milliseconds; each divides the next.
const WIDTHS_MS: [u64; 14] = [
    1,
    10,
    100,
    1_000,
    5_000,
    15_000,
    60_000,
    300_000,
    900_000,
    3_600_000,
    21_600_000,
    86_400_000,
    604_800_000,
    6_048_000_000,
];

/// The events of one bucket.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Bucket {
    pub(super) by_type: [u64; EventType::ALL.len()],
    pub(super) by_source: [u64; Source::ALL.len()],
    pub(super) restores: u64,
    /// Places before which positions are missing.
    pub(super) holes: u64,
}

impl Bucket {
    fn add(&mut self, more: &Bucket) {
        let add = |to: &mut [u64], from: &[u64]| {
            for (to, from) in to.iter_mut().zip(from) {
                *to += from;
            }
        };
        add(&mut self.by_type, &more.by_type);
        add(&mut self.by_source, &more.by_source);
        self.restores += more.restores;
        self.holes += more.holes;
    }

    /// What is said to be missing: gaps in the log and holes in it.
    pub(super) fn gaps(&self) -> u64 {
        self.by_type[EventType::Gap as usize] + self.holes
    }

    /// All events.
    pub(super) fn total(&self) -> u64 {
        self.by_type.iter().sum()
    }
}

/// The buckets, by their number counted from the epoch.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    width_ms: u64,
    buckets: BTreeMap<u64, Bucket>,
}

impl Timeline {
    pub(super) fn new() -> Timeline {
        Timeline {
            width_ms: WIDTHS_MS[0],
            buckets: BTreeMap::new(),
        }
    }

    /// Has the timeline reach to this moment, in milliseconds since the epoch.
    pub(super) fn cover(&mut self, ms: u64) {
        self.bucket(ms);
    }

    /// Counts an event; one without a time is in no bucket.
    pub(super) fn add(&mut self, change: &Change) {
        let Some(time) = change.time else { return };
        // A float to an integer saturates.
        let bucket = self.bucket((time * 1000.0) as u64);
        bucket.by_type[change.event_type as usize] += 1;
        bucket.by_source[change.source as usize] += 1;
        bucket.restores += u64::from(change.op == Some(Op::Restore));
    }

    /// Says that positions are missing right before this moment, in milliseconds since the epoch.
    pub(super) fn hole(&mut self, ms: u64) {
        self.bucket(ms).holes += 1;
    }

    fn bucket(&mut self, ms: u64) -> &mut Bucket {
        while self.count_with(ms) > BUCKETS_MAX {
            self.widen();
        }
        self.buckets.entry(ms / self.width_ms).or_default()
    }

    /// How many buckets there are from the first to the last, with the one of `ms`.
    fn count_with(&self, ms: u64) -> u64 {
        let at = ms / self.width_ms;
        let first = self.first().map_or(at, |first| first.min(at));
        let last = self.last().map_or(at, |last| last.max(at));
        last - first + 1
    }

    fn widen(&mut self) {
        let next = WIDTHS_MS.iter().find(|width| **width > self.width_ms);
        let ratio = next.map_or(10, |next| next / self.width_ms);
        self.width_ms *= ratio;
        let mut wider = BTreeMap::<u64, Bucket>::new();
        for (at, bucket) in &self.buckets {
            wider.entry(at / ratio).or_default().add(bucket);
        }
        self.buckets = wider;
    }

    fn first(&self) -> Option<u64> {
        self.buckets.keys().next().copied()
    }

    fn last(&self) -> Option<u64> {
        self.buckets.keys().next_back().copied()
    }

    /// Width of a bucket in milliseconds.
    pub(super) fn width_ms(&self) -> u64 {
        self.width_ms
    }

    /// How many there are, the empty ones between them too.
    pub(super) fn len(&self) -> u64 {
        match (self.first(), self.last()) {
            (Some(first), Some(last)) => last - first + 1,
            _ => 0,
        }
    }

    /// The beginning of the bucket `place`, counted from the first, in milliseconds since the epoch.
    pub(super) fn start_ms(&self, place: u64) -> u64 {
        (self.first().unwrap_or_default() + place).saturating_mul(self.width_ms)
    }

    /// The buckets that are not empty, with their place counted from the first.
    pub(super) fn filled(&self) -> impl Iterator<Item = (u64, &Bucket)> {
        let first = self.first().unwrap_or_default();
        let filled = self.buckets.iter().filter(|(_, bucket)| bucket.total() > 0);
        filled.map(move |(at, bucket)| (at - first, bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn event(time: f64) -> Change {
        let line =
            json!({"timestamp": time, "event_type": "created", "source": "mount", "src_path": "a"});
        Change::of(&line).unwrap()
    }

    #[test]
    fn widths_divide_each_other() {
        for pair in WIDTHS_MS.windows(2) {
            assert!(pair[1].is_multiple_of(pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn buckets_grow_with_the_period() {
        let mut timeline = Timeline::new();
        timeline.add(&event(100.000));
        timeline.add(&event(100.100));
        assert_eq!((timeline.width_ms(), timeline.len()), (1, 101));
        timeline.add(&event(110.0));
        assert_eq!((timeline.width_ms(), timeline.len()), (100, 101));
        timeline.cover(400_000);
        assert_eq!(timeline.width_ms(), 5_000);
        let filled: Vec<_> = timeline.filled().map(|(at, b)| (at, b.total())).collect();
        assert_eq!(filled, [(0, 2), (2, 1)]);
        assert_eq!(timeline.start_ms(2), 110_000);
    }

    proptest! {
        #[test]
        fn every_event_is_in_one_of_few_buckets(times in prop::collection::vec(any::<u64>(), 1..60)) {
            let mut timeline = Timeline::new();
            for time in &times {
                timeline.add(&event(*time as f64));
            }
            prop_assert!(timeline.len() <= BUCKETS_MAX);
            prop_assert_eq!(timeline.filled().map(|(_, b)| b.total()).sum::<u64>(), times.len() as u64);
        }
    }
}
