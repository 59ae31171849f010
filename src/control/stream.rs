//! One open control file: what was written to it and what is still to be read. No call here waits for a session.
//!
//! The lock of a stream is a leaf but for the log's own locks: it is held while the log is read, by this one open
//! file's readers alone.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::event::{Caller, Mark};

use super::answer::{Answer, Step};
use super::consumers::{Batch, Consumer, ConsumerFile, ConsumerId, Take, TakeQuery};
use super::copy::LogCopy;
use super::detection::{Detection, Promise};
use super::documents::{DocumentsAnswer, events_only};
use super::error::{ControlError, Reject};
use super::past::{self, Past, Said, VersionId, VersionsQuery, Work};
use super::query::{EventsQuery, REQUEST_BYTES_MAX, Request, too_long};
use super::select::Filter;
use super::tree::Entry;
use super::{Shared, help, metrics, status};

/// What a read gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// The next bytes; none is the end of the file or of the reply.
    Bytes(Vec<u8>),
    /// Nothing yet. Ask again after an append, or at `until`; a signal to the caller may end its wait before.
    Park {
        /// When to ask again although nothing was appended.
        until: Option<Instant>,
    },
}

/// An open control file, read from its beginning to its end whatever the offsets say.
pub struct Stream {
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    writes: Writes,
    state: Mutex<State>,
}

/// What a write to an open file means.
enum Writes {
    Refused,
    Requests,
    To(Arc<Consumer>, ConsumerFile),
}

/// What is still to be read: the rest of a chunk, then what `feed` brings.
struct State {
    pending: Vec<u8>,
    /// Bytes of `pending` that have been read.
    read: usize,
    feed: Feed,
}

/// Where the next bytes come from.
enum Feed {
    Nothing,
    Copy(LogCopy),
    Answer(Box<Answer>),
    Batch(Box<Batch>),
    Take(Box<Take>),
    Documents(Box<DocumentsAnswer>),
    Promise(Arc<Promise>),
    Versions(Arc<Past>, Option<VersionsQuery>),
    Work(Arc<Work>),
}

impl Stream {
    /// Opens a file; a directory would be an empty file here.
    pub(super) fn open(shared: Arc<Shared>, entry: Entry, caller: Arc<Caller>) -> Stream {
        let state = match entry {
            Entry::Root
            | Entry::SinceDir
            | Entry::Control
            | Entry::ConsumersDir
            | Entry::Consumer(_)
            | Entry::ConsumerFile(..)
            | Entry::VersionsDir
            | Entry::VersionDir(_)
            | Entry::VersionFile(_) => State::text(String::new()),
            Entry::Events => State::copy(LogCopy::snapshot(
                shared.log.clone(),
                crate::event::Seq::default(),
            )),
            Entry::Since(seq) => State::copy(LogCopy::snapshot(shared.log.clone(), seq)),
            Entry::Follow => State::copy(LogCopy::follow(shared.log.clone())),
            Entry::Status => State::text(status::json(&shared)),
            Entry::Metrics => State::text(metrics::text(&shared)),
            Entry::Help => State::text(help::text()),
        };
        Stream {
            shared,
            caller,
            writes: match entry {
                Entry::Control => Writes::Requests,
                _ => Writes::Refused,
            },
            state: Mutex::new(state),
        }
    }

    /// Opens a past content.
    pub(super) fn open_version(
        shared: Arc<Shared>,
        id: VersionId,
        caller: Arc<Caller>,
    ) -> Result<Stream, ControlError> {
        let past = shared.past.get().ok_or(ControlError::Gone)?;
        let read = past.read_version(id);
        let bytes = read.map_err(|error| ControlError::Past(error.to_string()))?;
        let state = State {
            pending: bytes.ok_or(ControlError::Gone)?,
            ..State::text(String::new())
        };
        Ok(Stream {
            shared,
            caller,
            writes: Writes::Refused,
            state: Mutex::new(state),
        })
    }

    /// Opens the file of a consumer.
    pub(super) fn open_consumer(
        shared: Arc<Shared>,
        id: ConsumerId,
        file: ConsumerFile,
        caller: Arc<Caller>,
    ) -> Result<Stream, ControlError> {
        let known = shared.consumers.get().and_then(|all| all.get(id));
        let consumer =
            known.ok_or_else(|| ControlError::Invalid("the consumer was removed".into()))?;
        let state = match file {
            ConsumerFile::Events | ConsumerFile::Follow => {
                let own = caller.session.as_deref();
                let follow = file == ConsumerFile::Follow;
                let batch = Batch::open(Arc::clone(&shared), Arc::clone(&consumer), own, follow)
                    .map_err(|reject| refused(reject).1)?;
                State::fed(Feed::Batch(Box::new(batch)))
            }
            ConsumerFile::Ack => State::text(String::new()),
            ConsumerFile::Cursor | ConsumerFile::Filter | ConsumerFile::Lag => {
                State::text(consumer.text(file, shared.log.head()))
            }
        };
        Ok(Stream {
            shared,
            caller,
            writes: Writes::To(consumer, file),
            state: Mutex::new(state),
        })
    }

    /// The next bytes, at most `max_bytes`. Never waits for an event; it may read the log from disk, and a query that
    /// selects little may read much of it.
    ///
    /// # Errors
    /// [`ControlError::Log`] when the log cannot be read.
    pub fn read(&self, max_bytes: usize) -> Result<Read, ControlError> {
        let mut state = self.state.lock();
        if max_bytes == 0 {
            return Ok(Read::Bytes(Vec::new()));
        }
        while state.is_drained() {
            match state.fill(max_bytes)? {
                Filled::Bytes | Filled::Again => {}
                Filled::Nothing => return Ok(Read::Bytes(Vec::new())),
                Filled::Wait(until) => return Ok(Read::Park { until }),
            }
        }
        Ok(Read::Bytes(state.take(max_bytes)))
    }

    /// Takes one whole request, carries it out and makes its reply what is read next, in place of what was left of an
    /// earlier one. The write succeeds exactly when the reply is no error.
    ///
    /// # Errors
    /// [`ControlError::NotWritable`] for every file but `control`; [`Invalid`](ControlError::Invalid) and
    /// [`TooLong`](ControlError::TooLong) for a request that is refused; [`Log`](ControlError::Log) and
    /// [`Record`](ControlError::Record) when the log failed. In all but the first case the reply says it in words.
    pub fn write(&self, data: &[u8]) -> Result<usize, ControlError> {
        match &self.writes {
            Writes::Refused => return Err(ControlError::NotWritable),
            Writes::To(consumer, file) => return self.tell(consumer, *file, data),
            Writes::Requests => {}
        }
        let outcome = self.perform(data);
        let mut state = self.state.lock();
        match outcome {
            Ok(reply) => {
                *state = reply;
                Ok(data.len())
            }
            Err((reject, error)) => {
                *state = State::text(reject.line());
                Err(error)
            }
        }
    }

    /// Whether a read would have bytes or the end of the file at once. It does a bounded amount of work and may say yes
    /// where a read then finds nothing, but never no where there is something.
    pub fn readable(&self) -> bool {
        // Whoever holds the lock does a bounded amount of work.
        let mut state = self.state.lock();
        if !state.is_drained() {
            return true;
        }
        match &state.feed {
            Feed::Nothing => true,
            Feed::Copy(copy) => copy.ready(),
            Feed::Batch(_) | Feed::Take(_) | Feed::Documents(_) => {
                !matches!(state.fill(0), Ok(Filled::Wait(_)))
            }
            Feed::Promise(promise) => promise.is_kept(),
            Feed::Versions(..) => true,
            Feed::Work(work) => work.is_ready(),
            // Whether an event matches is known when it is found; what is found is then read from `pending`. An error
            // is something to read, too.
            Feed::Answer(_) => !matches!(state.fill(0), Ok(Filled::Wait(_))),
        }
    }

    /// When a long poll that waits now will end although nothing is appended; [`readable`](Self::readable) is true from
    /// then on. `None` for everything else.
    pub fn due(&self) -> Option<Instant> {
        match &self.state.lock().feed {
            Feed::Answer(answer) => answer.deadline(),
            Feed::Take(take) => take.deadline(),
            Feed::Documents(answer) => answer.deadline(),
            Feed::Promise(promise) => Some(promise.look_at()),
            Feed::Work(work) => Some(work.look_at()),
            Feed::Nothing | Feed::Copy(_) | Feed::Batch(_) | Feed::Versions(..) => None,
        }
    }

    /// Carries out a request and gives its reply.
    fn perform(&self, data: &[u8]) -> Result<State, (Reject, ControlError)> {
        if data.len() > REQUEST_BYTES_MAX {
            return Err((too_long(), ControlError::TooLong));
        }
        match Request::parse(data).map_err(refused)? {
            Request::Events(query) => self.events(*query).map_err(refused),
            Request::Status => Ok(State::text(status::json(&self.shared))),
            Request::Help => Ok(State::text(help::text())),
            Request::Sync => self.sync(),
            Request::Reconcile { path, full } => {
                self.begin(|detection| detection.reconcile(&path, full))
            }
            Request::Versions(query) => self.versions(&query),
            Request::Restore(query) => {
                let caller = Arc::clone(&self.caller);
                let work = past::begin_restore(self.past()?, query, caller).map_err(refused)?;
                Ok(State::fed(Feed::Work(work)))
            }
            Request::Verify => self.begin(|detection| detection.verify()),
            Request::Mark(mark) => self.mark(mark),
            Request::Take(query) => self.take(&query),
        }
    }

    fn events(&self, query: EventsQuery) -> Result<State, Reject> {
        let own = self.caller.session.as_deref();
        let (log, store) = (self.shared.log.clone(), self.shared.facts.store);
        if query.documents {
            let filter = Filter::new(events_only(&query.selectors), own)?;
            let answer = DocumentsAnswer::new(log, query, filter, store);
            return Ok(State::fed(Feed::Documents(Box::new(answer))));
        }
        let filter = Filter::new(query.selectors.clone(), own)?;
        let answer = Answer::new(log, query, filter, store);
        Ok(State {
            feed: Feed::Answer(Box::new(answer)),
            ..State::text(String::new())
        })
    }

    /// Carries out a write to a file of `consumer`.
    fn tell(
        &self,
        consumer: &Consumer,
        file: ConsumerFile,
        data: &[u8],
    ) -> Result<usize, ControlError> {
        if data.len() > REQUEST_BYTES_MAX {
            return Err(ControlError::TooLong);
        }
        let Some(consumers) = self.shared.consumers.get() else {
            return Err(ControlError::NotWritable);
        };
        consumers.write(&self.shared.log, consumer, file, data)?;
        Ok(data.len())
    }

    /// Begins to take events from a consumer; they are taken when the reply is read.
    fn take(&self, query: &TakeQuery) -> Result<State, (Reject, ControlError)> {
        let own = self.caller.session.as_deref();
        let take = Take::new(Arc::clone(&self.shared), query, own).map_err(refused)?;
        Ok(State::fed(Feed::Take(Box::new(take))))
    }

    fn past(&self) -> Result<&Arc<Past>, (Reject, ControlError)> {
        let reject = || Reject::new("unavailable", "the mount is not complete", "ask again");
        self.shared.past.get().ok_or_else(|| refused(reject()))
    }

    /// Made when it is read, on a thread that may take its time.
    fn versions(&self, query: &VersionsQuery) -> Result<State, (Reject, ControlError)> {
        let query = Some(query.clone());
        Ok(State::fed(Feed::Versions(Arc::clone(self.past()?), query)))
    }

    /// Begins work that is answered later.
    fn begin(
        &self,
        work: impl FnOnce(&dyn Detection) -> Arc<Promise>,
    ) -> Result<State, (Reject, ControlError)> {
        match self.shared.detection.get() {
            Some(detection) => Ok(State::promise(work(&**detection))),
            None => Err(refused(Reject::new(
                "unavailable",
                "nothing watches this storage",
                "ask again when the mount is complete",
            ))),
        }
    }

    fn sync(&self) -> Result<State, (Reject, ControlError)> {
        if let Some(detection) = self.shared.detection.get() {
            return Ok(State::promise(detection.sync()));
        }
        // An operation's event is in the log before its call returns, so the head of this moment covers them all.
        let head = self.shared.log.head();
        match self.shared.log.sync() {
            Ok(durable) => Ok(State::text(format!(
                "{{\"head\":{head},\"durable\":{durable}}}\n"
            ))),
            Err(error) => Err((log_failed(&error), ControlError::Log(error))),
        }
    }

    fn mark(&self, mark: Mark) -> Result<State, (Reject, ControlError)> {
        match (self.shared.mark)(mark, Some(Arc::clone(&self.caller))) {
            Ok(seq) => Ok(State::text(format!("{{\"seq\":{seq}}}\n"))),
            Err(error) => Err((log_failed(&error), ControlError::Record(error))),
        }
    }
}

/// A refusal, as the reply and as the result of the write.
fn refused(reject: Reject) -> (Reject, ControlError) {
    let error = match reject.code {
        "too_long" => ControlError::TooLong,
        _ => ControlError::Invalid(reject.message.clone()),
    };
    (reject, error)
}

/// The reply of a request that the log could not carry out.
fn log_failed(error: &dyn std::fmt::Display) -> Reject {
    Reject::new(
        "log",
        format!("the log could not do it: {error}"),
        "`status` says why, and when it is over",
    )
}

/// What [`State::fill`] found.
enum Filled {
    Bytes,
    Again,
    Nothing,
    Wait(Option<Instant>),
}

impl State {
    fn text(text: String) -> State {
        State {
            pending: text.into_bytes(),
            read: 0,
            feed: Feed::Nothing,
        }
    }

    fn copy(copy: LogCopy) -> State {
        State {
            pending: Vec::new(),
            read: 0,
            feed: Feed::Copy(copy),
        }
    }

    fn fed(feed: Feed) -> State {
        State {
            feed,
            ..State::text(String::new())
        }
    }

    fn promise(promise: Arc<Promise>) -> State {
        State {
            feed: Feed::Promise(promise),
            ..State::text(String::new())
        }
    }

    fn is_drained(&self) -> bool {
        self.read >= self.pending.len()
    }

    /// Brings the next bytes into `pending`, which must be drained.
    fn fill(&mut self, wanted: usize) -> Result<Filled, ControlError> {
        let step = match &mut self.feed {
            Feed::Nothing => Step::End,
            Feed::Copy(copy) => copy.step(wanted)?,
            Feed::Answer(answer) => answer.step(wanted)?,
            Feed::Batch(batch) => batch.step(wanted)?,
            Feed::Take(take) => take.step()?,
            Feed::Documents(answer) => answer.step()?,
            Feed::Versions(past, query) => match query.take() {
                None => Step::End,
                Some(query) => {
                    let text = past::versions(past, &query);
                    let text = text.unwrap_or_else(|error| past::failure(&error));
                    Step::Bytes(text.into_bytes())
                }
            },
            Feed::Work(work) => match work.next() {
                Said::Lines(lines) => Step::Bytes(lines.into_bytes()),
                Said::Later(at) => Step::Wait(Some(at)),
                Said::End => Step::End,
            },
            Feed::Promise(promise) => match promise.take() {
                None => Step::Wait(Some(promise.look_at())),
                Some(outcome) => {
                    let text = outcome.unwrap_or_else(|failed| {
                        Reject::new(failed.code, failed.message, failed.hint).line()
                    });
                    self.feed = Feed::Nothing;
                    Step::Bytes(text.into_bytes())
                }
            },
        };
        Ok(match step {
            Step::Bytes(bytes) => {
                self.pending = bytes;
                self.read = 0;
                Filled::Bytes
            }
            Step::Again => Filled::Again,
            Step::Wait(until) => Filled::Wait(until),
            Step::End => {
                self.feed = Feed::Nothing;
                Filled::Nothing
            }
        })
    }

    /// Up to `max_bytes` of `pending`.
    fn take(&mut self, max_bytes: usize) -> Vec<u8> {
        let rest = self.pending.len().saturating_sub(self.read);
        if self.read == 0 && rest <= max_bytes {
            return std::mem::take(&mut self.pending);
        }
        let end = self.read + rest.min(max_bytes);
        let bytes = self
            .pending
            .get(self.read..end)
            .unwrap_or_default()
            .to_vec();
        self.read = end;
        if self.is_drained() {
            // A chunk may be large and the next read far away.
            self.pending = Vec::new();
            self.read = 0;
        }
        bytes
    }
}
