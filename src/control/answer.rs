//! Events out of the log, chunk by chunk, as they are read. Nothing waits here: what is not there yet is
//! [`Step::Wait`], and one chunk is the most that a reply ever holds in memory.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::json;

use crate::event::line::{quote, seq_of};
use crate::event::{GapReason, Seq};
use crate::event_log::{Chunk, EventLog, LogError, Reader};

use super::query::EventsQuery;
use super::select::{Filter, Verdict};

/// Least bytes of log taken at once: small reads must not make the log look up its place for each line.
const CHUNK_BYTES_MIN: usize = 64 * 1024;
/// Most bytes of log taken at once, which is what a reply may hold: the largest request a kernel makes.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// What comes next in a reply.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes, at least one.
    Bytes(Vec<u8>),
    /// Nothing yet; the log may grow, and at the moment given the wait is over.
    Wait(Option<Instant>),
    /// The reply is complete.
    End,
}

/// Bytes of log to take at once for a caller that takes `wanted`.
fn chunk_bytes(wanted: usize) -> usize {
    wanted.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

/// Positions that cannot be shown, first and last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hole {
    from: Seq,
    to: Seq,
    reason: GapReason,
}

impl Hole {
    /// What is between the end of the log and a position past it.
    fn ahead(head: Seq, since: Seq) -> Hole {
        Hole {
            from: Seq(head.0.saturating_add(1)),
            to: since,
            reason: GapReason::Ahead,
        }
    }

    fn detail(self) -> &'static str {
        match self.reason {
            GapReason::Retention => "these events are older than what the log keeps",
            GapReason::Ahead => {
                "the position lies past the end of this log: it is from another store; read the tree again and go on from `head`"
            }
            GapReason::Damaged | GapReason::Torn => {
                "the log is damaged here: `hippofs verify` says where"
            }
            GapReason::Crash | GapReason::Failed => "these events were not recorded",
        }
    }

    /// The line that stands for the hole in a stream of events. It has no `seq`: it is no event of the log.
    fn line(self) -> Vec<u8> {
        let mut out = String::new();
        let _ = write!(
            out,
            "{{\"event_type\":\"gap\",\"source\":\"system\",\"reason\":\"{}\",\"from\":{},\"to\":{},\"detail\":",
            self.reason.word(),
            self.from,
            self.to
        );
        quote(self.detail(), &mut out);
        out.push_str("}\n");
        out.into_bytes()
    }
}

/// The log itself, unparsed: `events`, `since/SEQ` and `follow`.
pub(super) struct Copy {
    log: EventLog,
    /// The last position passed.
    at: Seq,
    /// Where the copy ends; `None` follows the log.
    until: Option<Seq>,
    /// Dropped whenever it has nothing more, so that a waiting follower holds no file open.
    reader: Option<Reader>,
    hole: Option<Hole>,
}

impl Copy {
    /// The events after `since` up to the present head.
    pub(super) fn snapshot(log: EventLog, since: Seq) -> Copy {
        let head = log.head();
        Copy {
            log,
            at: since.min(head),
            until: Some(head),
            reader: None,
            hole: (since > head).then(|| Hole::ahead(head, since)),
        }
    }

    /// The events after the present head, without end.
    pub(super) fn follow(log: EventLog) -> Copy {
        Copy {
            at: log.head(),
            log,
            until: None,
            reader: None,
            hole: None,
        }
    }

    /// Whether there is something to read, or the end.
    pub(super) fn ready(&self) -> bool {
        self.until.is_some() || self.log.head() > self.at
    }

    /// The next bytes for a caller that takes `wanted` at a time.
    pub(super) fn step(&mut self, wanted: usize) -> Result<Step, LogError> {
        if let Some(hole) = self.hole.take() {
            return Ok(Step::Bytes(hole.line()));
        }
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let until = self.until.unwrap_or_else(|| self.log.head());
                    if self.at >= until {
                        return Ok(match self.until {
                            Some(_) => Step::End,
                            None => Step::Wait(None),
                        });
                    }
                    self.reader.insert(self.log.reader(self.at, until))
                }
            };
            let chunk = reader.next_chunk(chunk_bytes(wanted))?;
            self.at = reader.position().max(self.at);
            match chunk {
                Chunk::Lines(lines) if lines.is_empty() => {}
                Chunk::Lines(lines) => return Ok(Step::Bytes(lines)),
                Chunk::Gap { from, to, reason } => {
                    self.at = self.at.max(to);
                    return Ok(Step::Bytes(Hole { from, to, reason }.line()));
                }
                Chunk::End => {
                    self.reader = None;
                    // A snapshot has shown all there is, whatever its bound says.
                    if self.until.is_some() {
                        self.until = Some(self.at);
                    }
                }
            }
        }
    }
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
    gap: Option<Gap>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Events,
    LastLine,
    Done,
}

/// All holes of one reply, as its last line says them.
struct Gap {
    first: Hole,
    to: Seq,
    lost: u64,
}

impl Answer {
    /// Begins the reply as of now.
    pub(super) fn new(log: EventLog, query: EventsQuery, filter: Filter) -> Answer {
        let head = log.head();
        let mut answer = Answer {
            at: query.since,
            head,
            until: query.until,
            left: query.limit,
            deadline: query.wait.map(|wait| Instant::now() + wait),
            found: false,
            reader: None,
            gap: None,
            state: State::Events,
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
        loop {
            match self.state {
                State::Done => return Ok(Step::End),
                State::LastLine => {
                    self.state = State::Done;
                    return Ok(Step::Bytes(self.last_line()));
                }
                State::Events => {}
            }
            let Some(reader) = &mut self.reader else {
                if let Some(wait) = self.more() {
                    return Ok(wait);
                }
                continue;
            };
            let chunk = reader.next_chunk(chunk_bytes(wanted))?;
            let passed = reader.position();
            match chunk {
                Chunk::Lines(lines) => {
                    let taken = self.take(lines, passed);
                    if !taken.is_empty() {
                        self.found = true;
                        return Ok(Step::Bytes(taken));
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

    /// The last position that this reply may show, as far as the log goes now.
    fn end(&self) -> Seq {
        self.until.map_or(self.head, |until| until.min(self.head))
    }

    /// What to do when everything up to [`end`](Self::end) has been passed: read on, wait, or finish.
    fn more(&mut self) -> Option<Step> {
        if self.at >= self.end() {
            let finished = self.found
                || self.gap.is_some()
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
        for line in lines.split_inclusive(|b| *b == b'\n') {
            match self.filter.judge(line) {
                Verdict::Skip => continue,
                Verdict::Past => {
                    self.at = self.at.max(self.end());
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
        let Some(from) = self.filter.from_time() else {
            return;
        };
        let first = self.log.first_seq_at(from);
        if first > self.log.oldest() {
            self.at = self.at.max(Seq(first.0.saturating_sub(1)).min(self.end()));
        }
    }

    fn lose(&mut self, hole: Hole) {
        let lost = hole.to.0.saturating_sub(hole.from.0).saturating_add(1);
        match &mut self.gap {
            Some(gap) => {
                gap.to = gap.to.max(hole.to);
                gap.lost = gap.lost.saturating_add(lost);
            }
            None => {
                self.gap = Some(Gap {
                    first: hole,
                    to: hole.to,
                    lost,
                });
            }
        }
    }

    fn last_line(&self) -> Vec<u8> {
        let gap = self.gap.as_ref().map(|gap| {
            json!({
                "reason": gap.first.reason.word(),
                "from": gap.first.from.0,
                "to": gap.to.0,
                "lost": gap.lost,
                "detail": gap.first.detail(),
            })
        });
        let mut line = json!({"next": self.at.0, "head": self.head.0, "gap": gap}).to_string();
        line.push('\n');
        line.into_bytes()
    }
}
