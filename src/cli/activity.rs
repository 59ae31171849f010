//! What `top` and `report` take from the lines of the log, and who and what is busiest, counted in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;

use serde_json::Value;

use crate::event::line::path_bytes;
use crate::event::{EventType, Op, Source};

use super::human;

/// Who made a change, as far as the log tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Who {
    /// A session by its name.
    Session(String),
    /// A program without one.
    Program(String),
    /// Somebody behind the mount.
    Behind,
    /// hippofs itself.
    System,
}

impl Who {
    /// For people, with nothing in it that steers a terminal.
    pub(super) fn shown(&self) -> String {
        match self {
            Who::Session(name) => human::escape(name.as_bytes()),
            Who::Program(name) => format!("({})", human::escape(name.as_bytes())),
            Who::Behind => "(behind the mount)".into(),
            Who::System => "(hippofs)".into(),
        }
    }
}

/// One line of the log, reduced to what is counted and shown.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Change {
    /// None for a gap that a reader is told of and that is not in the log.
    pub(super) seq: Option<u64>,
    /// Seconds since the epoch.
    pub(super) time: Option<f64>,
    pub(super) event_type: EventType,
    pub(super) op: Option<Op>,
    pub(super) source: Source,
    /// The path after the change.
    pub(super) path: Option<Vec<u8>>,
    pub(super) who: Who,
    /// Bytes written.
    pub(super) bytes: u64,
    /// What a gap or a mark says.
    pub(super) remark: String,
}

impl Change {
    /// `None` when it is no event of this version.
    pub(super) fn parse(line: &[u8]) -> Option<Change> {
        Change::of(&serde_json::from_slice(line).ok()?)
    }

    /// The same of a parsed line.
    pub(super) fn of(event: &Value) -> Option<Change> {
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        let op = text("op").and_then(Op::parse);
        let source = Source::parse(text("source")?)?;
        let who = match (text("session"), text("comm")) {
            (Some(session), _) => Who::Session(session.to_owned()),
            (None, Some(comm)) => Who::Program(comm.to_owned()),
            (None, None) if source == Source::System => Who::System,
            (None, None) if source == Source::Mount => Who::Program("?".into()),
            (None, None) => Who::Behind,
        };
        let written = matches!(op, Some(Op::Write | Op::Copy));
        let bytes = event.get("length").and_then(Value::as_u64);
        let said: Vec<&str> = ["reason", "detail", "text"]
            .into_iter()
            .filter_map(text)
            .collect();
        Some(Change {
            seq: event.get("seq").and_then(Value::as_u64),
            time: event
                .get("timestamp")
                .and_then(Value::as_f64)
                .filter(|time| time.is_finite() && *time >= 0.0),
            event_type: EventType::parse(text("event_type")?)?,
            op,
            source,
            path: path_bytes(event, "dest_path").or_else(|| path_bytes(event, "src_path")),
            who,
            bytes: bytes.filter(|_| written).unwrap_or_default(),
            remark: said.join(": "),
        })
    }

    /// What it counts for.
    pub(super) fn count(&self) -> Count {
        Count {
            events: 1,
            bytes: self.bytes,
            found: u64::from(self.is_found()),
        }
    }

    /// Whether it happened behind the mount.
    pub(super) fn is_found(&self) -> bool {
        matches!(self.source, Source::Watch | Source::Scan | Source::Peer)
    }
}

/// What one file or session did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Count {
    pub(super) events: u64,
    /// Bytes written.
    pub(super) bytes: u64,
    /// Events that were found behind the mount.
    pub(super) found: u64,
}

impl Count {
    fn add(&mut self, more: Count) {
        self.events += more.events;
        self.bytes += more.bytes;
        self.found += more.found;
    }
}

/// Counts by name, of at most `most` names. When there are more, the less busy half is put together, so that a name
/// that comes back later is counted too low, never too high.
#[derive(Clone, Debug)]
pub(super) struct Busiest<K> {
    counts: HashMap<K, Count>,
    most: usize,
    others: Count,
}

impl<K: Eq + Hash + Ord + Clone> Busiest<K> {
    pub(super) fn new(most: usize) -> Busiest<K> {
        Busiest {
            counts: HashMap::new(),
            most: most.max(2),
            others: Count::default(),
        }
    }

    pub(super) fn add(&mut self, name: &K, count: Count) {
        if let Some(known) = self.counts.get_mut(name) {
            known.add(count);
            return;
        }
        if self.counts.len() >= self.most {
            self.cut();
        }
        self.counts.insert(name.clone(), count);
    }

    /// Adds everything another one has counted.
    pub(super) fn merge(&mut self, other: &Busiest<K>) {
        for (name, count) in &other.counts {
            self.add(name, *count);
        }
        self.others.add(other.others);
    }

    /// The first `n` by `measure`, then by name.
    pub(super) fn top(&self, n: usize, measure: impl Fn(&Count) -> u64) -> Vec<(K, Count)> {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by(|a, b| measure(b.1).cmp(&measure(a.1)).then_with(|| a.0.cmp(b.0)));
        let first = all.into_iter().take(n);
        first.map(|(name, count)| (name.clone(), *count)).collect()
    }

    /// What is counted without its names.
    pub(super) fn others(&self) -> Count {
        self.others
    }

    /// How many names are told apart.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    fn cut(&mut self) {
        let mut sizes: Vec<u64> = self.counts.values().map(|count| count.events).collect();
        sizes.sort_unstable();
        let limit = sizes[sizes.len() / 2];
        let mut room = sizes.len() / 2;
        // Of equals as many go as are needed for the half.
        let others = &mut self.others;
        self.counts.retain(|_, count| {
            let goes = count.events <= limit && room > 0;
            if goes {
                room -= 1;
                others.add(*count);
            }
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(bytes: u64) -> Count {
        Count {
            events: 1,
            bytes,
            found: 0,
        }
    }

    #[test]
    fn a_line_is_reduced_to_what_is_counted() {
        let line = json!({"seq": 3, "timestamp": 12.5, "event_type": "modified", "op": "write", "src_path": "a",
            "source": "mount", "length": 7, "comm": "sh", "session": "s"});
        let change = Change::of(&line).unwrap();
        assert_eq!(
            (change.seq, change.time, change.bytes),
            (Some(3), Some(12.5), 7)
        );
        assert_eq!(change.who, Who::Session("s".into()));
        let moved = json!({"seq": 4, "event_type": "moved", "op": "found", "source": "scan", "src_path": "a",
            "dest_path": "?", "dest_path_b64": "/w=="});
        let change = Change::of(&moved).unwrap();
        assert_eq!(change.path, Some(vec![0xff]));
        assert_eq!((change.who.clone(), change.is_found()), (Who::Behind, true));
        let gap =
            json!({"event_type": "gap", "source": "system", "reason": "crash", "detail": "d"});
        assert_eq!(Change::of(&gap).unwrap().remark, "crash: d");
        for bad in [
            json!({}),
            json!([]),
            json!({"event_type": "x", "source": "mount"}),
        ] {
            assert_eq!(Change::of(&bad), None);
        }
        assert_eq!(Change::parse(b"{\"seq\":1"), None);
    }

    #[test]
    fn the_busiest_stay_when_there_are_too_many() {
        let mut busiest = Busiest::new(4);
        for name in 0..100_u32 {
            busiest.add(&name, one(1));
            busiest.add(&7, one(0));
        }
        assert!(busiest.len() <= 4);
        let top = busiest.top(1, |count| count.events);
        assert_eq!(top[0].0, 7);
        assert!(top[0].1.events >= 92, "{top:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_counted_twice(names in prop::collection::vec(0..40_u8, 0..300), most in 2..20_usize) {
            let mut busiest = Busiest::new(most);
            for name in &names {
                busiest.add(name, one(2));
            }
            prop_assert!(busiest.len() <= most);
            let told: u64 = busiest.top(usize::MAX, |c| c.events).iter().map(|(_, c)| c.events).sum();
            prop_assert_eq!(told + busiest.others().events, names.len() as u64);
            for (name, count) in busiest.top(usize::MAX, |c| c.events) {
                prop_assert!(count.events <= names.iter().filter(|n| **n == name).count() as u64);
            }
        }
    }
}
