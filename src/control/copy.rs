//! The log as it is, chunk by chunk: `events`, `since/SEQ` and `follow`. Nothing is parsed and nothing waits.

use crate::event::Seq;
use crate::event_log::{Chunk, EventLog, LogError, Reader};

use super::answer::{Step, chunk_bytes};
use super::hole::Hole;

/// The log itself, unparsed: `events`, `since/SEQ` and `follow`.
pub(super) struct LogCopy {
    log: EventLog,
    /// The last position passed.
    at: Seq,
    /// Where the copy ends; `None` follows the log.
    until: Option<Seq>,
    /// With the position it ends at. Dropped whenever it has nothing more, so that a waiting follower holds no file open.
    reader: Option<(Reader, Seq)>,
    hole: Option<Hole>,
}

impl LogCopy {
    /// The events after `since` up to the present head.
    pub(super) fn snapshot(log: EventLog, since: Seq) -> LogCopy {
        let head = log.head();
        LogCopy {
            log,
            at: since.min(head),
            until: Some(head),
            reader: None,
            hole: (since > head).then(|| Hole::ahead(head, since)),
        }
    }

    /// The events after the present head, without end.
    pub(super) fn follow(log: EventLog) -> LogCopy {
        LogCopy {
            at: log.head(),
            log,
            until: None,
            reader: None,
            hole: None,
        }
    }

    /// The events after `since`, without end.
    pub(super) fn follow_from(log: EventLog, since: Seq) -> LogCopy {
        LogCopy {
            until: None,
            ..LogCopy::snapshot(log, since)
        }
    }

    /// The last position passed.
    pub(super) fn at(&self) -> Seq {
        self.at
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
            let (reader, bound) = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let until = self.until.unwrap_or_else(|| self.log.head());
                    if self.at >= until {
                        return Ok(match self.until {
                            Some(_) => Step::End,
                            None => Step::Wait(None),
                        });
                    }
                    self.reader.insert((self.log.reader(self.at, until), until))
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
                    // All up to the bound has been shown: a follower goes on behind it.
                    self.at = self.at.max(*bound);
                    self.reader = None;
                }
            }
        }
    }
}
