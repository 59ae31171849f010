//! The reply to an `events` request with the view `documents`: the log folded into one line per document.
//!
//! Each reply tells of a stretch of the log, `since` to `next`, and a document's line is its net effect in that
//! stretch, so that replies one after the other tell everything once. With `debounce_ms` the stretch ends before the
//! first document that is not quiet yet; one that never is quiet holds the others back for
//! [`HOLD_DEBOUNCES_MAX`] times that long and is then told as it stands.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::event::{Seq, Timestamp};
use crate::event_log::{Chunk, EventLog, LogError};

use super::answer::Step;
use super::hole::{Hole, Holes};
use super::query::EventsQuery;
use super::select::{Filter, Selectors, Verdict, split_time};
use super::view::Format;
use super::view::documents::{Documents, Seen};

/// Most documents of one reply: what a fold may hold in memory. The next reply goes on where this one ends.
const DOCUMENTS_MAX: u64 = 100_000;
/// How many times `debounce_ms` a document that is never quiet is waited for.
pub(super) const HOLD_DEBOUNCES_MAX: u32 = 10;
/// Bytes of log folded at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

/// The reply, made when it is read.
pub(super) struct DocumentsAnswer {
    log: EventLog,
    query: EventsQuery,
    store: uuid::Uuid,
    /// Selects events: a document is told when one of its events is taken.
    filter: Filter,
    /// Selects documents by what their line says.
    documents: Selectors,
    at: Seq,
    head: Seq,
    deadline: Option<Instant>,
    /// No document is quiet before this.
    not_before: Option<Instant>,
    holes: Option<Holes>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Documents,
    LastLine,
    Done,
}

/// A stretch of the log, folded.
struct Folded {
    documents: Documents,
    /// The last position of it.
    to: Seq,
    holes: Vec<Hole>,
}

impl DocumentsAnswer {
    /// Begins the reply; `filter` is made of [`events_only`] of the query's selectors.
    pub(super) fn new(
        log: EventLog,
        query: EventsQuery,
        filter: Filter,
        store: uuid::Uuid,
    ) -> DocumentsAnswer {
        let head = log.head();
        let mut answer = DocumentsAnswer {
            at: query.since,
            head,
            store,
            filter,
            documents: Selectors {
                path: query.selectors.path.clone(),
                uuid: query.selectors.uuid,
                event_types: query.selectors.event_types.clone(),
                ..Selectors::default()
            },
            deadline: query.wait.map(|wait| Instant::now() + wait),
            not_before: None,
            holes: None,
            state: State::Documents,
            log,
            query,
        };
        if answer.at > head {
            answer.holes = Some(Holes::new(Hole::ahead(head, answer.at)));
            answer.at = head;
            answer.state = State::LastLine;
        }
        answer
    }

    /// When a wait ends or a document may have become quiet.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = self.deadline.filter(|_| self.state == State::Documents)?;
        Some(self.not_before.map_or(waits, |quiet| quiet.min(waits)))
    }

    /// The next bytes.
    pub(super) fn step(&mut self) -> Result<Step, LogError> {
        loop {
            match self.state {
                State::Done => return Ok(Step::End),
                State::LastLine => {
                    self.state = State::Done;
                    return Ok(Step::Bytes(self.last_line()));
                }
                State::Documents => {}
            }
            let now = Instant::now();
            let over = self.deadline.is_none_or(|deadline| now >= deadline);
            if !over && self.not_before.is_some_and(|quiet| now < quiet) {
                return Ok(Step::Wait(self.deadline()));
            }
            self.not_before = None;
            self.head = self.log.head().max(self.head);
            let end = self.query.until.map_or(self.head, |u| u.min(self.head));
            let folded = self.quiet(end)?;
            let bytes = self.told(&folded.documents);
            let lost = !folded.holes.is_empty();
            for hole in folded.holes {
                match &mut self.holes {
                    Some(holes) => holes.add(hole),
                    None => self.holes = Some(Holes::new(hole)),
                }
            }
            let moved = folded.to > self.at;
            self.at = folded.to.max(self.at);
            let past = self.query.until.is_some_and(|until| self.at >= until);
            if !bytes.is_empty() || lost || past {
                self.state = State::LastLine;
                if !bytes.is_empty() {
                    return Ok(Step::Bytes(bytes));
                }
            } else if moved && self.at < end && self.not_before.is_none() {
                // A stretch without a document that is asked for; there is more to look through.
            } else if over {
                self.state = State::LastLine;
            } else {
                return Ok(Step::Wait(self.deadline()));
            }
        }
    }

    /// The stretch up to `end`, or up to the first document that is not quiet.
    fn quiet(&mut self, end: Seq) -> Result<Folded, LogError> {
        let folded = self.fold(end)?;
        let Some(debounce) = self.query.debounce else {
            return Ok(folded);
        };
        let now = Timestamp::now().0;
        let quiet_at = |first: u64, last: u64| {
            let nanos = u64::try_from(debounce.as_nanos()).unwrap_or(u64::MAX);
            let most = nanos.saturating_mul(HOLD_DEBOUNCES_MAX.into());
            last.saturating_add(nanos).min(first.saturating_add(most))
        };
        let held = |first, last| quiet_at(first, last) > now;
        let Some(first) = folded.documents.first_held(held) else {
            return Ok(folded);
        };
        let times = folded.documents.times();
        let next = times
            .map(|(first, last)| quiet_at(first, last))
            .filter(|quiet| *quiet > now)
            .min();
        let wait = Duration::from_nanos(next.unwrap_or(now).saturating_sub(now));
        self.not_before = Some(Instant::now() + wait);
        self.fold(Seq(first.0.saturating_sub(1)).max(self.at))
    }

    /// Folds the log after `at` up to `end`, or as far as a reply may go.
    fn fold(&self, end: Seq) -> Result<Folded, LogError> {
        let documents_max = self.query.limit.unwrap_or(DOCUMENTS_MAX).min(DOCUMENTS_MAX);
        let mut folded = Folded {
            documents: Documents::default(),
            to: self.at,
            holes: Vec::new(),
        };
        let mut reader = self.log.reader(self.at, end);
        loop {
            match reader.next_chunk(CHUNK_BYTES)? {
                Chunk::End => {
                    folded.to = folded.to.max(end);
                    return Ok(folded);
                }
                Chunk::Gap { from, to, reason } => {
                    folded.holes.push(Hole { from, to, reason });
                    folded.to = to;
                }
                Chunk::Lines(lines) => {
                    for line in lines.split_inclusive(|b| *b == b'\n') {
                        let Ok(event) = serde_json::from_slice::<Value>(line) else {
                            continue;
                        };
                        // A rename or an exchange may touch two.
                        let full = folded.documents.len() as u64 >= documents_max;
                        if full && folded.documents.is_new(&event) {
                            return Ok(folded);
                        }
                        folded.documents.add(&event, self.seen(line));
                        let seq = event.get("seq").and_then(Value::as_u64);
                        folded.to = seq.map_or(folded.to, Seq);
                    }
                }
            }
        }
    }

    fn seen(&self, line: &[u8]) -> Seen {
        Seen {
            time: split_time(line).map_or(0, |(time, _)| time.0),
            wanted: self.filter.judge(line) == Verdict::Take,
        }
    }

    /// The lines that are asked for, in the words that are asked for.
    fn told(&self, documents: &Documents) -> Vec<u8> {
        let mut bytes = Vec::new();
        for effect in documents.effects() {
            if effect.transient && !self.query.transient {
                continue;
            }
            if self.documents.match_fields(&effect.line) {
                bytes.extend_from_slice(effect.line.to_string().as_bytes());
                bytes.push(b'\n');
            }
        }
        let format: Format = self.query.format;
        format.lines(bytes, self.store)
    }

    fn last_line(&self) -> Vec<u8> {
        let gap = self.holes.as_ref().map(Holes::json);
        let line = json!({"next": self.at.0, "head": self.head.0, "gap": gap});
        format!("{line}\n").into_bytes()
    }
}

/// The selectors that are of events, not of the documents they make.
pub(super) fn events_only(selectors: &Selectors) -> Selectors {
    Selectors {
        path: None,
        uuid: None,
        event_types: None,
        ..selectors.clone()
    }
}
