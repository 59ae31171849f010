//! The reply to an `events` request, chunk by chunk, as it is read. Nothing waits here: what is not there yet is
//! [`Step::Wait`], and one chunk is the most that a reply ever holds in memory.

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::json;

use crate::event::Seq;
use crate::event::line::seq_of;
use crate::event_log::{Chunk, EventLog, LogError, Reader};

use super::hole::{Hole, Holes};
use super::query::EventsQuery;
use super::select::{Filter, Verdict};
use super::view::Format;

/// Least bytes of log taken at once: small reads must not make the log look up its place for each line.
const CHUNK_BYTES_MIN: usize = 64 * 1024;
/// Most bytes of log taken at once, which is what a reply may hold: the largest request a kernel makes.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of log looked through in one step: some milliseconds of work.
const SCAN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What comes next in a reply.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes, at least one.
    Bytes(Vec<u8>),
    /// Nothing in what was looked through; there is more to look through at once.
    Again,
    /// Nothing yet; the log may grow, and at the moment given the wait is over.
    Wait(Option<Instant>),
    /// The reply is complete.
    End,
}

/// Bytes of log to take at once for a caller that takes `wanted`.
pub(super) fn chunk_bytes(wanted: usize) -> usize {
    wanted.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

/// The reply to an `events` request.
pub(super) struct Answer {
    log: EventLog,
    filter: Filter,
    /// The last position passed; the reply's `next`.
    at: Seq,
    /// The head as of the request, or as of the last time the wait looked for more.
    head: Seq,
    until: Option<Seq>,
    /// Events still wanted.
    left: Option<u64>,
    /// When the wait for a first event ends; `None` does not wait.
    deadline: Option<Instant>,
    found: bool,
    reader: Option<Reader>,
    holes: Option<Holes>,
    state: State,
    /// The newest matches, when only those are asked for, and how many.
    newest: Option<(usize, VecDeque<Vec<u8>>)>,
    format: Format,
    store: uuid::Uuid,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Events,
    LastLine,
    Done,
}

impl Answer {
    /// Begins the reply as of now.
    pub(super) fn new(
        log: EventLog,
        query: EventsQuery,
        filter: Filter,
        store: uuid::Uuid,
    ) -> Answer {
        let head = log.head();
        let mut answer = Answer {
            at: query.since,
            head,
            until: query.until,
            left: query.limit,
            deadline: query.wait.map(|wait| Instant::now() + wait),
            found: false,
            reader: None,
            holes: None,
            state: State::Events,
            newest: query
                .last
                .map(|last| (usize::try_from(last).unwrap_or(usize::MAX), VecDeque::new())),
            format: query.format,
            store,
            filter,
            log,
        };
        if query.since > head {
            answer.lose(Hole::ahead(head, query.since));
            answer.at = head;
            answer.state = State::LastLine;
        } else {
            answer.skip_to_time();
        }
        answer
    }

    /// The next bytes for a caller that takes `wanted` at a time.
    pub(super) fn step(&mut self, wanted: usize) -> Result<Step, LogError> {
        let mut scanned = 0;
        // What few lines each chunk gives is gathered: a reader that takes much is not to come for each of them.
        let mut out = Vec::new();
        loop {
            match self.state {
                State::Done | State::LastLine if !out.is_empty() => return Ok(Step::Bytes(out)),
                State::Done => return Ok(Step::End),
                State::LastLine => {
                    let newest = self.newest.take().map(|(_, lines)| lines);
                    let newest: Vec<u8> = newest.into_iter().flatten().flatten().collect();
                    let shown = self.format.lines(newest, self.store);
                    if !shown.is_empty() {
                        return Ok(Step::Bytes(shown));
                    }
                    self.state = State::Done;
                    return Ok(Step::Bytes(self.last_line()));
                }
                State::Events => {}
            }
            let Some(reader) = &mut self.reader else {
                match self.more() {
                    Some(_) if !out.is_empty() => return Ok(Step::Bytes(out)),
                    Some(wait) => return Ok(wait),
                    None => continue,
                }
            };
            let chunk = reader.next_chunk(chunk_bytes(wanted))?;
            let passed = reader.position();
            match chunk {
                Chunk::Lines(lines) => {
                    scanned += lines.len();
                    let taken = self.take(lines, passed);
                    self.found |= !taken.is_empty();
                    if let Some((most, newest)) = &mut self.newest {
                        newest.extend(taken.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec));
                        newest.drain(..newest.len().saturating_sub(*most));
                    } else {
                        let shown = self.format.lines(taken, self.store);
                        if out.is_empty() {
                            out = shown;
                        } else {
                            out.extend_from_slice(&shown);
                        }
                    }
                    if !out.is_empty() && (out.len() >= wanted / 2 || scanned >= SCAN_BYTES_MAX) {
                        return Ok(Step::Bytes(out));
                    }
                    if scanned >= SCAN_BYTES_MAX && self.state == State::Events {
                        return Ok(Step::Again);
                    }
                }
                Chunk::Gap { from, to, reason } => {
                    self.at = self.at.max(passed).max(to);
                    self.lose(Hole { from, to, reason });
                }
                Chunk::End => {
                    self.reader = None;
                    self.at = self.at.max(self.end());
                }
            }
        }
    }

    /// When a wait for the first event ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
            .filter(|_| self.state == State::Events && !self.found)
    }

    /// The last position passed: the reply's `next`.
    pub(super) fn position(&self) -> Seq {
        self.at
    }

    /// Whether events are gone that were asked for.
    pub(super) fn has_holes(&self) -> bool {
        self.holes.is_some()
    }

    /// The last position that this reply may show, as far as the log goes now.
    fn end(&self) -> Seq {
        self.until.map_or(self.head, |until| until.min(self.head))
    }

    /// What to do when everything up to [`end`](Self::end) has been passed: read on, wait, or finish.
    fn more(&mut self) -> Option<Step> {
        if self.at >= self.end() {
            let finished = self.found
                || self.holes.is_some()
                || self.until.is_some_and(|until| self.at >= until)
                || self.deadline.is_none();
            if finished {
                self.state = State::LastLine;
                return None;
            }
            self.head = self.log.head().max(self.head);
        }
        if self.at < self.end() {
            self.reader = Some(self.log.reader(self.at, self.end()));
            return None;
        }
        match self.deadline {
            Some(deadline) if Instant::now() < deadline => Some(Step::Wait(Some(deadline))),
            _ => {
                self.state = State::LastLine;
                None
            }
        }
    }

    /// The lines of a chunk that are asked for; `passed` is the position after the chunk.
    fn take(&mut self, lines: Vec<u8>, passed: Seq) -> Vec<u8> {
        if self.filter.takes_all() && self.left.is_none() {
            self.at = self.at.max(passed);
            return lines;
        }
        let mut taken = Vec::new();
        let end = self.end();
        for (line, verdict) in self.filter.sift(&lines) {
            match verdict {
                Verdict::Skip => continue,
                Verdict::Past => {
                    self.at = self.at.max(end);
                    self.state = State::LastLine;
                    return taken;
                }
                Verdict::Take => {}
            }
            taken.extend_from_slice(line);
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.at = self.at.max(seq_of(line).unwrap_or(passed));
                    self.state = State::LastLine;
                    return taken;
                }
            }
        }
        self.at = self.at.max(passed);
        taken
    }

    /// Leaves out what is older than the first moment asked for, when the log knows where that is. Events before it
    /// are not asked for, so having lost them is no gap either.
    fn skip_to_time(&mut self) {
        let Some(from) = self.filter.start() else {
            return;
        };
        let first = self.log.first_seq_at(from);
        if first > self.log.oldest() {
            self.at = self.at.max(Seq(first.0.saturating_sub(1)).min(self.end()));
        }
    }

    fn lose(&mut self, hole: Hole) {
        match &mut self.holes {
            Some(holes) => holes.add(hole),
            None => self.holes = Some(Holes::new(hole)),
        }
    }

    fn last_line(&self) -> Vec<u8> {
        let gap = self.holes.as_ref().map(Holes::json);
        let mut line = json!({"next": self.at.0, "head": self.head.0, "gap": gap}).to_string();
        line.push('\n');
        line.into_bytes()
    }
}
