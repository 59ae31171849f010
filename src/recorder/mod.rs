//! The ONE road to the log: [`Recorder::apply`] performs a change and records it, so that neither can happen alone.
//!
//! Why no event can be lost, step by step in [`Recorder::apply`]:
//!
//! 1. the locks of everything the change touches are taken, so that what is recorded first happened first;
//! 2. room for its line is reserved in preallocated space: a full disk or a broken log refuses the call *before*
//!    anything is done to the storage;
//! 3. the change is performed; a call that fails changed nothing and has no event;
//! 4. the line is appended: one write into space that is already there;
//! 5. what the mount knows of names follows, still under the locks;
//! 6. the locks are released, and only then does the caller get its answer.
//!
//! A daemon killed between 3 and 4 leaves a change whose caller never got an answer; the next start says so with a
//! `gap` event. A log that cannot take the line in 4 (a broken disk) latches: the call fails, every later one is
//! refused in 2, and the log says with a `gap` what happened when it works again.
//!
//! Lock order: tree, then stripes in rising order (`locks`), then the log's own lock. Nothing else is taken
//! under the log's lock.

mod callers;
pub mod change;
mod locks;
mod place;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::backing::Errno;
use crate::event::{Caller, Event, Mark, Seq, line};
use crate::event_log::{EventLog, LogError, Purpose};
use crate::health::Health;

pub use callers::Callers;
pub use change::Change;
pub use locks::{Scope, Tree};
pub use place::{Descriptor, Located};

/// Why a change was not applied and recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The storage refused; nothing happened.
    #[error("the storage refused: {0}")]
    Storage(#[from] Errno),
    /// The log has no room or is broken; nothing happened.
    #[error("the log refuses: {0}")]
    Refused(LogError),
    /// The change happened and its event could not be written; the log is latched and will say so.
    #[error("the change could not be recorded: {0}")]
    Unrecorded(LogError),
}

/// Applies and records.
pub struct Recorder {
    log: EventLog,
    health: Arc<Health>,
    locks: locks::Locks,
    next_handle: AtomicU64,
}

impl Recorder {
    /// A recorder that owns the road to `log`.
    #[must_use]
    pub fn new(log: EventLog, health: Arc<Health>) -> Recorder {
        // A handle is numbered at its first event, so there are never more numbers than events, and starting past
        // the head keeps them apart from those of earlier runs.
        let next_handle = AtomicU64::new(log.head().0 + 1);
        Recorder {
            log,
            health,
            locks: locks::Locks::default(),
            next_handle,
        }
    }

    /// The log behind it.
    #[must_use]
    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// The counters it bumps.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// A number for a handle's events, never given twice.
    pub fn number_handle(&self) -> u64 {
        self.next_handle.fetch_add(1, Relaxed)
    }

    /// Performs `change` for `caller` and records it; `settle` runs after the record, still under the locks, and
    /// lets the owner of names follow the change.
    ///
    /// # Errors
    /// [`RecordError`]; only [`RecordError::Unrecorded`] leaves the change done.
    pub fn apply<C: Change>(
        &self,
        mut change: C,
        caller: &Arc<Caller>,
        settle: impl FnOnce(&C::Done),
    ) -> Result<C::Done, RecordError> {
        let started = Instant::now();
        let op = change.op();

        let held = self.locks.hold(&change.scope());

        let texts = change.path_bytes()
            + caller.comm.len()
            + caller.session.as_ref().map_or(0, String::len);
        let room = self
            .log
            .reserve(line::line_bytes_max(texts), change.purpose())
            .map_err(RecordError::Refused)?;

        let done = change.perform()?;

        let mut event = change.describe(&done);
        event.caller = Some(Arc::clone(caller));
        let mut body = String::with_capacity(512);
        line::body(&event, &mut body);
        room.append(&body).map_err(RecordError::Unrecorded)?;

        settle(&done);
        drop(held);

        self.health.recorded(event.source);
        self.health.took(op, started.elapsed());
        Ok(done)
    }

    /// Records what is not a change of the storage: a gap that was found, a user's note.
    ///
    /// # Errors
    /// [`RecordError::Refused`] when the log cannot take it.
    pub fn note(&self, event: &Event) -> Result<Seq, RecordError> {
        let mut body = String::new();
        line::body(event, &mut body);
        // What may be missing is said even on a full disk.
        let purpose = if event.gap.is_some() {
            Purpose::Freeing
        } else {
            Purpose::Ordinary
        };
        // The body is already formatted, so its own length bounds it.
        let room = self
            .log
            .reserve(body.len() + line::FRAME_BYTES_MAX, purpose)
            .map_err(RecordError::Refused)?;
        let seq = room.append(&body).map_err(RecordError::Unrecorded)?;
        self.health.recorded(event.source);
        Ok(seq)
    }

    /// Records a user's note.
    ///
    /// # Errors
    /// As [`Recorder::note`].
    pub fn mark(&self, mark: Mark, caller: Option<Arc<Caller>>) -> Result<Seq, RecordError> {
        self.note(&Event::mark(mark, caller))
    }

    /// Keeps every change of an open file's entry out while `look` runs: what it reads belongs together.
    pub fn look<T>(&self, scope: &Scope, look: impl FnOnce() -> T) -> T {
        let _held = self.locks.hold(scope);
        look()
    }
}
