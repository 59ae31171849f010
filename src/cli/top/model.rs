//! The figures that `top` shows, from events and status objects. Pure: it reads no clock and no file. It holds the last
//! minute in one slot a second, each with a bounded number of names, so that no load makes it grow.

use std::collections::VecDeque;

use serde_json::Value;

use crate::event::{EventType, Source};

use super::filter::Filter;
use crate::cli::activity::{Busiest, Change, Count, Who};
use crate::cli::figures::Figures;

/// Length of the window in seconds, besides the second that has just begun.
pub(super) const WINDOW_S: u64 = 60;
/// Names told apart in one second; busier names stay when there are more.
const NAMES_MAX: usize = 1024;

/// The events of one second.
#[derive(Clone, Debug)]
struct Second {
    at: u64,
    by_type: [u64; EventType::ALL.len()],
    by_source: [u64; Source::ALL.len()],
    files: Busiest<Vec<u8>>,
    sessions: Busiest<Who>,
}

impl Second {
    fn new(at: u64) -> Second {
        Second {
            at,
            by_type: [0; EventType::ALL.len()],
            by_source: [0; Source::ALL.len()],
            files: Busiest::new(NAMES_MAX),
            sessions: Busiest::new(NAMES_MAX),
        }
    }
}

/// Events of one kind over the window.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Rate {
    pub(super) word: &'static str,
    /// Events in the last full second.
    pub(super) last: u64,
    /// Events in the last ten full seconds, per second.
    pub(super) mean: f64,
    /// Events in each full second of the window, the oldest first.
    pub(super) history: Vec<u64>,
}

/// What is busiest in the window.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) count: Count,
}

/// By what rows are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sort {
    /// Number of events.
    Events,
    /// Bytes written.
    Bytes,
}

impl Sort {
    /// The other one.
    pub(super) fn next(self) -> Sort {
        match self {
            Sort::Events => Sort::Bytes,
            Sort::Bytes => Sort::Events,
        }
    }

    fn measure(self, count: &Count) -> u64 {
        match self {
            Sort::Events => count.events,
            Sort::Bytes => count.bytes,
        }
    }
}

/// Everything `top` knows.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// The current second since the epoch.
    now: u64,
    /// The newest last; only seconds with events.
    seconds: VecDeque<Second>,
    filter: Option<Filter>,
    figures: Option<Figures>,
    /// Why nothing comes.
    down: Option<String>,
    /// Events that were not read to keep up.
    skipped: u64,
    gaps: u64,
    last_gap: Option<String>,
}

impl Model {
    /// An empty model in the second `now`.
    pub(super) fn new(now: u64) -> Model {
        Model {
            now,
            seconds: VecDeque::new(),
            filter: None,
            figures: None,
            down: None,
            skipped: 0,
            gaps: 0,
            last_gap: None,
        }
    }

    /// Lets time pass. A clock that was set back moves the window with it.
    pub(super) fn advance(&mut self, now: u64) {
        self.now = now;
        self.seconds.retain(|second| second.at <= now);
        while let Some(first) = self.seconds.front()
            && first.at + WINDOW_S < now
        {
            self.seconds.pop_front();
        }
    }

    /// Counts one event.
    pub(super) fn event(&mut self, change: &Change) {
        if change.event_type == EventType::Gap {
            self.gap(&change.remark);
        }
        if !self
            .filter
            .as_ref()
            .is_none_or(|filter| filter.takes(change))
        {
            return;
        }
        // An event of a moment ahead of this clock is one of now.
        let at = change
            .time
            .map_or(self.now, |time| time as u64)
            .min(self.now);
        let Some(second) = self.second(at) else {
            return;
        };
        second.by_type[change.event_type as usize] += 1;
        second.by_source[change.source as usize] += 1;
        if let Some(path) = &change.path {
            second.files.add(path, change.count());
        }
        second.sessions.add(&change.who, change.count());
    }

    /// The slot of a second in the window.
    fn second(&mut self, at: u64) -> Option<&mut Second> {
        if at + WINDOW_S < self.now {
            return None;
        }
        let place = self.seconds.partition_point(|second| second.at < at);
        if self.seconds.get(place).is_none_or(|second| second.at != at) {
            self.seconds.insert(place, Second::new(at));
        }
        self.seconds.get_mut(place)
    }

    /// Takes the daemon's figures; it answers.
    pub(super) fn status(&mut self, status: &Value) {
        self.figures = Some(Figures::of(status));
        self.down = None;
    }

    /// The daemon does not answer.
    pub(super) fn down(&mut self, why: String) {
        self.down = Some(why);
    }

    /// Something may be missing.
    pub(super) fn gap(&mut self, said: &str) {
        self.gaps += 1;
        self.last_gap = Some(said.to_owned());
    }

    /// So many events were left out to keep up.
    pub(super) fn skip(&mut self, events: u64) {
        self.skipped += events;
    }

    /// Forgets all events: they are read again from a minute ago.
    pub(super) fn restart(&mut self) {
        self.seconds.clear();
        self.skipped = 0;
        self.gaps = 0;
        self.last_gap = None;
    }

    /// Only what `filter` takes is counted from now on.
    pub(super) fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
    }

    pub(super) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn figures(&self) -> Option<&Figures> {
        self.figures.as_ref()
    }

    /// Why the daemon does not answer.
    pub(super) fn outage(&self) -> Option<&str> {
        self.down.as_deref()
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many gaps there were, and what the last one said.
    pub(super) fn gaps(&self) -> (u64, Option<&str>) {
        (self.gaps, self.last_gap.as_deref())
    }

    /// All events.
    pub(super) fn total(&self) -> Rate {
        self.rate("all", |second| second.by_type.iter().sum())
    }

    /// Events by kind, all kinds.
    pub(super) fn by_type(&self) -> Vec<Rate> {
        let rate = |kind: &EventType| self.rate(kind.word(), |s| s.by_type[*kind as usize]);
        EventType::ALL.iter().map(rate).collect()
    }

    /// Events by source, all sources.
    pub(super) fn by_source(&self) -> Vec<Rate> {
        let rate = |source: &Source| self.rate(source.word(), |s| s.by_source[*source as usize]);
        Source::ALL.iter().map(rate).collect()
    }

    fn rate(&self, word: &'static str, count: impl Fn(&Second) -> u64) -> Rate {
        const MEAN_S: usize = 10;
        let mut history = vec![0; WINDOW_S as usize];
        for second in &self.seconds {
            // The second that has just begun is not full and not shown.
            let age = self.now - second.at;
            if (1..=WINDOW_S).contains(&age) {
                history[(WINDOW_S - age) as usize] = count(second);
            }
        }
        let recent: u64 = history.iter().rev().take(MEAN_S).sum();
        Rate {
            word,
            last: history.last().copied().unwrap_or_default(),
            mean: recent as f64 / MEAN_S as f64,
            history,
        }
    }

    /// The busiest files of the window, and the events of files that are not told apart.
    pub(super) fn files(&self, n: usize, sort: Sort) -> (Vec<Row>, u64) {
        let shown = |path: &Vec<u8>| crate::cli::human::escape(path);
        self.busiest(n, sort, |second| &second.files, shown)
    }

    /// The busiest sessions, likewise.
    pub(super) fn sessions(&self, n: usize, sort: Sort) -> (Vec<Row>, u64) {
        self.busiest(n, sort, |second| &second.sessions, Who::shown)
    }

    fn busiest<K: Eq + std::hash::Hash + Ord + Clone>(
        &self,
        n: usize,
        sort: Sort,
        of: impl Fn(&Second) -> &Busiest<K>,
        shown: impl Fn(&K) -> String,
    ) -> (Vec<Row>, u64) {
        let mut all = Busiest::new(NAMES_MAX * (WINDOW_S as usize + 1));
        for second in &self.seconds {
            all.merge(of(second));
        }
        let rows = all.top(n, |count| sort.measure(count)).into_iter();
        let rows = rows.map(|(name, count)| Row {
            name: shown(&name),
            count,
        });
        (rows.collect(), all.others().events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(time: f64, path: &str, session: &str) -> Change {
        let line = json!({"seq": 1, "timestamp": time, "event_type": "modified", "op": "write", "length": 10,
            "source": "mount", "src_path": path, "session": session});
        Change::of(&line).unwrap()
    }

    fn names(rows: &[Row]) -> Vec<(&str, u64)> {
        rows.iter()
            .map(|row| (row.name.as_str(), row.count.events))
            .collect()
    }

    #[test]
    fn events_are_counted_in_their_second() {
        let mut model = Model::new(1000);
        for time in [998.1, 999.0, 999.9, 1000.5] {
            model.event(&event(time, "a", "s"));
        }
        let total = model.total();
        assert_eq!((total.last, total.mean), (2, 0.3));
        assert_eq!(total.history[58..], [1, 2]);
        model.advance(1001);
        assert_eq!(model.total().last, 1, "the second is full now");
        let by_type = model.by_type();
        assert_eq!((by_type[1].word, by_type[1].last), ("modified", 1));
        let by_source = model.by_source();
        assert_eq!((by_source[0].word, by_source[0].last), ("mount", 1));
        assert_eq!(by_source[1].history.iter().sum::<u64>(), 0);
    }

    #[test]
    fn the_window_slides() {
        let mut model = Model::new(1000);
        model.event(&event(1000.0, "a", "s"));
        model.event(&event(900.0, "old", "s"));
        model.event(&event(5000.0, "ahead", "s"));
        model.advance(1060);
        assert_eq!(model.total().history[0], 2);
        assert_eq!(
            names(&model.files(9, Sort::Events).0),
            [("a", 1), ("ahead", 1)]
        );
        model.advance(1061);
        assert!(model.files(9, Sort::Events).0.is_empty());
        model.event(&event(1061.0, "a", "s"));
        model.advance(10);
        assert!(
            model.files(9, Sort::Events).0.is_empty(),
            "the clock was set back"
        );
    }

    #[test]
    fn the_busiest_are_sorted_and_bounded() {
        let mut model = Model::new(1000);
        for i in 0..20_000 {
            model.event(&event(1000.0, &format!("f{i}"), "s1"));
            model.event(&event(999.0, "busy", "s2"));
        }
        let (files, others) = model.files(2, Sort::Events);
        assert_eq!(files[0].name, "busy");
        assert_eq!(files.len(), 2);
        assert!(others > 18_000);
        let held: usize = model.seconds.iter().map(|second| second.files.len()).sum();
        assert!(held <= 2 * NAMES_MAX);
        let (sessions, others) = model.sessions(9, Sort::Bytes);
        assert_eq!(names(&sessions), [("s1", 20_000), ("s2", 20_000)]);
        assert_eq!((sessions[0].count.bytes, others), (200_000, 0));
    }

    #[test]
    fn a_filter_takes_what_it_matches() {
        let mut model = Model::new(1000);
        model.set_filter(Filter::parse("*.json").unwrap());
        model.event(&event(999.0, "a.json", "s"));
        model.event(&event(999.0, "a.txt", "s"));
        assert_eq!(model.total().last, 1);
        assert_eq!(names(&model.files(9, Sort::Events).0), [("a.json", 1)]);
    }

    #[test]
    fn an_outage_ends_with_an_answer() {
        let mut model = Model::new(1000);
        model.down("gone".into());
        assert_eq!(model.outage(), Some("gone"));
        model.status(&json!({"state": "ok", "head": 4}));
        assert_eq!(model.outage(), None);
        assert_eq!(model.figures().unwrap().head, Some(4));
    }

    #[test]
    fn gaps_are_told() {
        let mut model = Model::new(1000);
        let line = json!({"seq": 1, "timestamp": 999.0, "event_type": "gap", "source": "system", "reason": "overflow"});
        model.event(&Change::of(&line).unwrap());
        model.skip(4);
        assert_eq!((model.gaps(), model.skipped()), ((1, Some("overflow")), 4));
        model.restart();
        assert_eq!((model.gaps(), model.total().last), ((0, None), 0));
    }
}
