//! What `events` and `follow` of a consumer give: the log's lines after the cursor that its filter takes, gaps
//! included, and nothing else.

use std::sync::Arc;

use crate::event::Seq;
use crate::event::line::seq_of;
use crate::event_log::LogError;

use super::super::Shared;
use super::super::answer::Step;
use super::super::copy::LogCopy;
use super::super::error::Reject;
use super::super::select::{Filter, Verdict};
use super::Consumer;

/// An open `events` or `follow`.
pub(in super::super) struct Batch {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    copy: LogCopy,
    filter: Filter,
    turn: u64,
    /// The last position that was given to the reader; at first the cursor.
    given: Seq,
}

impl Batch {
    /// Begins after the cursor of this moment, for a reader of session `own`.
    pub(in super::super) fn open(
        shared: Arc<Shared>,
        consumer: Arc<Consumer>,
        own: Option<&str>,
        follow: bool,
    ) -> Result<Batch, Reject> {
        let beginning = consumer.beginning(own)?;
        let given = beginning.cursor;
        let log = &shared.log;
        let copy = if follow {
            LogCopy::follow_from(log.clone(), given)
        } else {
            LogCopy::snapshot(log.clone(), given)
        };
        Ok(Batch {
            shared,
            consumer,
            copy,
            filter: beginning.filter,
            turn: beginning.turn,
            given,
        })
    }

    /// The next bytes for a reader that takes `wanted` at a time.
    pub(in super::super) fn step(&mut self, wanted: usize) -> Result<Step, LogError> {
        let lines = match self.copy.step(wanted)? {
            Step::Bytes(lines) => lines,
            other => return Ok(other),
        };
        if seq_of(&lines).is_none() {
            // A gap: its reader goes on behind it by an ack of anything there.
            self.given = self.copy.at();
            return Ok(Step::Bytes(lines));
        }
        if self.filter.takes_all() {
            self.given = self.copy.at();
            return Ok(Step::Bytes(lines));
        }
        let mut taken = Vec::new();
        for (line, verdict) in self.filter.sift(&lines) {
            if verdict == Verdict::Take {
                taken.extend_from_slice(line);
                self.given = seq_of(line).unwrap_or(self.given);
            }
        }
        if taken.is_empty() {
            self.consumer.passed(self.turn, self.given, self.copy.at());
            if let Some(consumers) = self.shared.consumers.get() {
                consumers.hold(&self.shared.log);
            }
            return Ok(Step::Again);
        }
        Ok(Step::Bytes(taken))
    }
}
