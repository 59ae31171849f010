//! Everything that a report says of the events of its period, counted in one pass and bounded memory. Pure.

use std::collections::VecDeque;

use crate::event::{EventType, Op, Source};

use super::timeline::Timeline;
use crate::cli::activity::{Busiest, Change, Who};

/// Names told apart; the less busy are put together past it.
const NAMES_MAX: usize = 20_000;
/// Rows of the table of misses and repairs: the newest.
pub(super) const NOTABLE_MAX: usize = 300;

/// Jumps of the position that are remembered; a log with more of them is beyond a picture.
const JUMPS_MAX: usize = 1000;

/// What a notable event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notable {
    /// Behind the mount, told by the watcher.
    Watched,
    /// Behind the mount, found by a scan alone: the watcher missed it and the log is repaired.
    Scanned,
    /// From another host.
    Peer,
    /// Something may be missing.
    Gap,
    /// An earlier version put back.
    Restored,
    /// A user's note.
    Mark,
}

impl Notable {
    /// All of them, in the order of the page.
    pub(super) const ALL: [Notable; 6] = [
        Notable::Watched,
        Notable::Scanned,
        Notable::Peer,
        Notable::Gap,
        Notable::Restored,
        Notable::Mark,
    ];

    fn of(change: &Change) -> Option<Notable> {
        match (change.event_type, change.op, change.source) {
            (EventType::Gap, _, _) => Some(Notable::Gap),
            (EventType::Mark, _, _) => Some(Notable::Mark),
            (_, Some(Op::Restore), _) => Some(Notable::Restored),
            (_, _, Source::Watch) => Some(Notable::Watched),
            (_, _, Source::Scan) => Some(Notable::Scanned),
            (_, _, Source::Peer) => Some(Notable::Peer),
            (_, _, Source::Mount | Source::System) => None,
        }
    }

    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Notable::Watched => "bypass, found by the watcher",
            Notable::Scanned => "miss, found by a scan",
            Notable::Peer => "from another host",
            Notable::Gap => "gap",
            Notable::Restored => "restored",
            Notable::Mark => "mark",
        }
    }
}

/// The counts of one period.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) timeline: Timeline,
    pub(super) files: Busiest<Vec<u8>>,
    pub(super) sessions: Busiest<Who>,
    pub(super) by_type: [u64; EventType::ALL.len()],
    pub(super) by_source: [u64; Source::ALL.len()],
    /// By the order of [`Notable::ALL`].
    pub(super) by_notable: [u64; Notable::ALL.len()],
    /// The newest, the oldest first.
    pub(super) notable: VecDeque<(Notable, Change)>,
    /// First and last position.
    pub(super) range: Option<(u64, u64)>,
    /// Earliest and latest time, in seconds since the epoch.
    pub(super) times: Option<(f64, f64)>,
    /// Lines that are no events of this version.
    pub(super) unknown: u64,
    /// What the reply says is missing from the period.
    pub(super) missing: Option<String>,
    /// Positions that did not come: first, last, and when the next one was, in milliseconds since the epoch.
    jumps: Vec<(u64, u64, u64)>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            timeline: Timeline::new(),
            files: Busiest::new(NAMES_MAX),
            sessions: Busiest::new(NAMES_MAX),
            by_type: [0; EventType::ALL.len()],
            by_source: [0; Source::ALL.len()],
            by_notable: [0; Notable::ALL.len()],
            notable: VecDeque::new(),
            range: None,
            times: None,
            unknown: 0,
            missing: None,
            jumps: Vec::new(),
        }
    }

    /// Counts one line of the log.
    pub(super) fn line(&mut self, line: &[u8]) {
        match Change::parse(line) {
            Some(change) => self.add(change),
            None => self.unknown += 1,
        }
    }

    pub(super) fn add(&mut self, change: Change) {
        self.timeline.add(&change);
        self.by_type[change.event_type as usize] += 1;
        self.by_source[change.source as usize] += 1;
        if let Some(path) = &change.path {
            self.files.add(path, change.count());
        }
        self.sessions.add(&change.who, change.count());
        if let Some(seq) = change.seq {
            self.note_jump(seq, change.time);
            let (first, last) = self.range.unwrap_or((seq, seq));
            self.range = Some((first.min(seq), last.max(seq)));
        }
        if let Some(time) = change.time {
            let (first, last) = self.times.unwrap_or((time, time));
            self.times = Some((first.min(time), last.max(time)));
        }
        if let Some(kind) = Notable::of(&change) {
            self.by_notable[kind as usize] += 1;
            if self.notable.len() == NOTABLE_MAX {
                self.notable.pop_front();
            }
            self.notable.push_back((kind, change));
        }
    }

    fn note_jump(&mut self, seq: u64, time: Option<f64>) {
        let last = self.range.map_or(0, |(_, last)| last);
        if let Some(time) = time
            && seq > last + 1
            && self.jumps.len() < JUMPS_MAX
        {
            self.jumps.push((last + 1, seq - 1, (time * 1000.0) as u64));
        }
    }

    /// Takes what the reply says is missing, and marks on the timeline where that was. A jump alone does not say so:
    /// the period may begin late, and the clock may have been set.
    pub(super) fn missing(&mut self, from: u64, to: u64, said: &str) {
        self.missing = Some(format!("events {from} to {to}: {said}"));
        for (first, last, ms) in std::mem::take(&mut self.jumps) {
            if first <= to && from <= last {
                self.timeline.hole(ms);
            }
        }
    }

    /// All events.
    pub(super) fn total(&self) -> u64 {
        self.by_type.iter().sum()
    }

    /// How many of a kind there are.
    pub(super) fn count(&self, kind: Notable) -> u64 {
        self.by_notable[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn add(tally: &mut Tally, seq: u64, event_type: &str, op: &str, source: &str) {
        let line = json!({"seq": seq, "timestamp": 100.0 + seq as f64, "event_type": event_type, "op": op,
            "source": source, "src_path": format!("f{}", seq % 2), "reason": "crash"});
        tally.line(line.to_string().as_bytes());
    }

    #[test]
    fn events_are_counted_by_what_they_are() {
        let mut tally = Tally::new();
        add(&mut tally, 1, "created", "create", "mount");
        add(&mut tally, 2, "modified", "found", "watch");
        add(&mut tally, 3, "modified", "found", "scan");
        add(&mut tally, 4, "gap", "", "system");
        add(&mut tally, 5, "created", "restore", "mount");
        tally.line(b"no event");
        assert_eq!(tally.by_notable, [1, 1, 0, 1, 1, 0]);
        assert_eq!((tally.total(), tally.unknown), (5, 1));
        assert_eq!(tally.range, Some((1, 5)));
        assert_eq!(tally.times, Some((101.0, 105.0)));
        assert_eq!(tally.files.top(1, |c| c.events)[0].0, b"f1");
    }

    #[test]
    fn what_is_missing_is_marked_where_it_was() {
        let mut tally = Tally::new();
        for seq in [11, 12, 15, 16] {
            add(&mut tally, seq, "created", "create", "mount");
        }
        let gaps = |tally: &Tally| {
            tally
                .timeline
                .filled()
                .map(|(_, b)| b.gaps())
                .collect::<Vec<_>>()
        };
        assert_eq!(gaps(&tally), [0, 0, 0, 0]);
        let mut retention = tally.clone();
        retention.missing(1, 10, "retention");
        assert_eq!(gaps(&retention), [1, 0, 0, 0]);
        tally.missing(13, 14, "damaged");
        assert_eq!(gaps(&tally), [0, 0, 1, 0]);
        assert_eq!(tally.missing.as_deref(), Some("events 13 to 14: damaged"));
    }

    #[test]
    fn only_the_newest_notable_events_are_held() {
        let mut tally = Tally::new();
        for seq in 0..1_000 {
            add(&mut tally, seq, "modified", "found", "scan");
        }
        assert_eq!(tally.count(Notable::Scanned), 1_000);
        assert_eq!(tally.notable.len(), NOTABLE_MAX);
        assert_eq!(tally.notable[0].1.seq, Some(700));
    }
}
