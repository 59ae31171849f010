//! The request `take`: reads from a consumer and moves its cursor in one step, so that each event goes to exactly one
//! of several workers.
//!
//! The cursor is on disk before the reply has its first byte: a worker that dies with its reply loses what it took,
//! where one that reads `events` and writes `ack` after the work would see it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::Seq;

use super::super::Shared;
use super::super::answer::{Answer, Step};
use super::super::error::{ControlError, Reject};
use super::super::query::EventsQuery;
use super::Consumer;

/// Most events of one take: the reply is made whole while the consumer is held.
pub(in super::super) const TAKE_LIMIT_MAX: u64 = 1000;
/// Bytes of log asked for at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a session wants to take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct TakeQuery {
    pub(in super::super) consumer: String,
    /// At most so many events, from 1 to [`TAKE_LIMIT_MAX`].
    pub(in super::super) limit: u64,
    /// How long to wait for the first.
    pub(in super::super) wait: Option<Duration>,
}

/// A take under way.
pub(in super::super) struct Take {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    own: Option<String>,
    limit: u64,
    deadline: Option<Instant>,
    done: bool,
}

/// One try.
struct Taken {
    reply: Vec<u8>,
    /// Whether it holds more than its last line.
    any: bool,
}

impl Take {
    /// Begins a take for a caller of session `own`.
    ///
    /// # Errors
    /// There is no such consumer, or its filter asks for a session that the caller has not.
    pub(in super::super) fn new(
        shared: Arc<Shared>,
        query: &TakeQuery,
        own: Option<&str>,
    ) -> Result<Take, Reject> {
        let known = shared.consumers.get();
        let consumer = known.and_then(|all| all.named(&query.consumer));
        let Some(consumer) = consumer else {
            return Err(Reject::new(
                "no_consumer",
                "there is no consumer of that name",
                "mkdir .hippofs/consumers/NAME registers one",
            ));
        };
        consumer.beginning(own)?;
        Ok(Take {
            shared,
            consumer,
            own: own.map(str::to_owned),
            limit: query.limit,
            deadline: query.wait.map(|wait| Instant::now() + wait),
            done: false,
        })
    }

    /// When the wait ends.
    pub(in super::super) fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.done)
    }

    /// The reply, once there is something to take or the wait is over.
    pub(in super::super) fn step(&mut self) -> Result<Step, ControlError> {
        if self.done {
            return Ok(Step::End);
        }
        let over = self
            .deadline
            .is_none_or(|deadline| Instant::now() >= deadline);
        let taken = self.take()?;
        if !taken.any && !over {
            return Ok(Step::Wait(self.deadline));
        }
        self.done = true;
        Ok(Step::Bytes(taken.reply))
    }

    /// Reads after the cursor and moves it, while nobody else can.
    fn take(&self) -> Result<Taken, ControlError> {
        let (shared, consumer) = (&self.shared, &self.consumer);
        let Some(consumers) = shared.consumers.get() else {
            return Err(ControlError::NotWritable);
        };
        let mut state = consumer.hold();
        state.lives()?;
        let beginning = state
            .beginning(self.own.as_deref())
            .map_err(|reject| ControlError::Invalid(reject.message))?;
        let query = EventsQuery {
            since: beginning.cursor,
            limit: Some(self.limit),
            ..EventsQuery::default()
        };
        let mut answer = Answer::new(
            shared.log.clone(),
            query,
            beginning.filter,
            shared.facts.store,
        );
        let mut reply = Vec::new();
        let mut any = false;
        loop {
            match answer.step(CHUNK_BYTES)? {
                Step::Bytes(bytes) => {
                    any |= !bytes.starts_with(b"{\"next\":");
                    reply.extend_from_slice(&bytes);
                }
                Step::Again => {}
                Step::Wait(_) | Step::End => break,
            }
        }
        any |= answer.has_holes();
        let to = answer.position();
        if any {
            consumer.store(&mut state, &shared.log, &*consumers.shelf, to)?;
        } else if to > Seq(0) {
            // Only what the filter leaves out was passed.
            consumer.move_to(&mut state, to);
        }
        drop(state);
        consumers.hold(&shared.log);
        Ok(Taken { reply, any })
    }
}
