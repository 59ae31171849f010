//! The ONE road to the log: [`Recorder::apply`] performs a change and records it, so that neither can happen alone.
//!
//! Why no event can be lost, step by step in [`Recorder::apply`]:
//!
//! 1. the locks of everything the change touches are taken, so that what is recorded first happened first; where
//!    the disk is not what the catalog says, somebody changed it behind the mount, and that is recorded first;
//! 2. room for its line is reserved in preallocated space: a full disk or a broken log refuses the call *before*
//!    anything is done to the storage;
//! 3. the content it is about to destroy is kept, unless an event holds it already;
//! 4. the change is performed; a call that fails changed nothing and has no event;
//! 5. the content it left is kept, and then the line that names it is appended: one write into space that is
//!    already there;
//! 6. the catalog and what the mount knows of names follow, still under the locks;
//! 7. the locks are released, and only then does the caller get its answer.
//!
//! A daemon killed between 4 and 5 leaves a change whose caller never got an answer; the next start says so with a
//! `gap` event. A log that cannot take the line in 5 (a broken disk) latches: the call fails, every later one is
//! refused in 2, and the log says with a `gap` what happened when it works again.
//!
//! Lock order: tree, then stripes in rising order, then bearers of inode numbers in rising order (`locks`), then the log's own lock or one table of the catalog.
//! Nothing else is taken under either.

mod callers;
pub mod catalog;
pub mod change;
mod digest;
mod keep;
mod locks;
mod look;
mod observe;
mod place;
mod reach;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::backing::Errno;
use crate::content::Content;
use crate::disk::Storage;
use crate::event::{Caller, Event, Mark, Seq, line};
use crate::event_log::{EventLog, LogError, Purpose, Reservation};
use crate::health::Health;

use reach::Tracked;

pub use callers::Callers;
pub use catalog::Catalog;
pub use change::Change;
pub use keep::{
    Ahead, Before, Capture, Destroyed, INLINE_BYTES_MAX, KeepOptions, OBJECT_BYTES_MAX_DEFAULT,
    OBJECT_BYTES_MAX_MAX,
};
pub use locks::{Scope, Tree};
pub use look::{TOUCHES_MAX, Touch};
pub use observe::{Adopted, How, Observed, Stale};
pub use place::{Descriptor, Located};
pub use reach::CatalogPlace;

/// Times a checkpoint begins again because directories moved meanwhile; the one before serves until the next.
const SAVES_MAX: usize = 3;

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
    tracked: Option<Tracked>,
    keeper: Option<keep::Keeper>,
    /// Performs and records nothing but gaps: for measuring what the record costs.
    silent: bool,
    /// One checkpoint at a time: all are written under the same name before they take the place of the last.
    saving: parking_lot::Mutex<()>,
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
            tracked: None,
            keeper: None,
            silent: false,
            saving: parking_lot::Mutex::default(),
        }
    }

    /// A recorder that also keeps `catalog`, so that it can tell what is changed behind the mount; `storage` is the
    /// storage's root.
    #[must_use]
    pub fn with_catalog(
        log: EventLog,
        health: Arc<Health>,
        catalog: Arc<Catalog>,
        storage: Arc<OwnedFd>,
    ) -> Recorder {
        Recorder {
            tracked: Some(Tracked {
                catalog,
                storage,
                on_look: OnceLock::new(),
            }),
            ..Recorder::new(log, health)
        }
    }

    /// The same recorder, keeping content in `store`.
    #[must_use]
    pub fn keeping(self, store: Content, options: KeepOptions) -> Recorder {
        Recorder {
            keeper: Some(keep::Keeper::new(store, options)),
            ..self
        }
    }

    /// The same recorder, performing changes and recording none of them: what is measured with it is the mount
    /// without its log. Gaps are still said, and the catalog is not saved, so that the scan of the next start finds
    /// what was changed.
    #[must_use]
    pub fn silenced(self) -> Recorder {
        Recorder {
            silent: true,
            ..self
        }
    }

    /// The expected state of every entry, where it is kept.
    #[must_use]
    pub fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.tracked.as_ref().map(|tracked| &tracked.catalog)
    }

    /// Saves the catalog in `files`; gives the position it stands for. Changes go on meanwhile; only a
    /// directory that moves makes it begin again. Call it once more when all changes have ended, so that the next
    /// start has nothing to catch up with.
    ///
    /// # Errors
    /// The failed call; the checkpoint before stays.
    pub fn save_catalog(&self, files: &dyn Storage) -> io::Result<Seq> {
        let Some(tracked) = self.tracked.as_ref().filter(|_| !self.silent) else {
            return Ok(self.log.head());
        };
        let _one = self.saving.lock();
        let mut tries = 0..SAVES_MAX;
        loop {
            let seq = self.log.head();
            // Whoever has appended up to here holds the tree until the catalog has followed.
            drop(self.locks.hold(&Scope {
                tree: Tree::Exclusive,
                ..Scope::default()
            }));
            // What the checkpoint knows, some of it later than `seq`, must not survive a power loss that its events
            // do not: what a lost event told would then be found by nobody.
            let settle = || self.log.sync().map(drop).map_err(io::Error::other);
            match tracked.catalog.save(files, seq, settle) {
                Ok(()) => {
                    if let Some(keeper) = &self.keeper {
                        keeper.save(seq)?;
                    }
                    self.log.need_after(seq);
                    return Ok(seq);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            tries.next().ok_or(io::ErrorKind::Interrupted)?;
        }
    }

    /// The entry the catalog knows by `key`, to be reached on the disk.
    #[must_use]
    pub fn place(&self, key: u64) -> Option<CatalogPlace<'_>> {
        self.tracked.as_ref()?.place(key)
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
        change: C,
        caller: &Arc<Caller>,
        settle: impl FnOnce(&C::Done),
    ) -> Result<C::Done, RecordError> {
        self.apply_telling(change, caller, |_| None, settle)
    }

    /// As [`Recorder::apply`], for a change that the kernel did not ask for: what `stale` says it may hold of it is
    /// told to be forgotten before the event can be read.
    ///
    /// # Errors
    /// As [`Recorder::apply`].
    pub fn apply_telling<C: Change>(
        &self,
        mut change: C,
        caller: &Arc<Caller>,
        stale: impl FnOnce(&C::Done) -> Option<Stale>,
        settle: impl FnOnce(&C::Done),
    ) -> Result<C::Done, RecordError> {
        let started = Instant::now();
        let op = change.op();

        let held = self.hold_looked(&change)?;

        let texts = change.path_bytes()
            + caller.comm.len()
            + caller.session.as_ref().map_or(0, String::len);
        let room = self.room(line::line_bytes_max(texts), change.purpose())?;

        let before = self.keep_destroyed(&change);
        change.remember(before.hash);

        let done = change.perform()?;
        if let (Some(tracked), Some(stale)) = (&self.tracked, stale(&done)) {
            tracked.tell_stale(stale);
        }
        let bearer = self.locks.bearers([change.made(&done), None, None, None]);

        let mut event = change.describe(&done);
        event.caller = Some(Arc::clone(caller));
        let after = self.keep_left(&change, &done, &before, &mut event);
        let seq = self.append(room, &event)?;

        if let Some(tracked) = &self.tracked {
            change.follow(&done, seq, &tracked.catalog);
            self.learn_left(change.leaves(&done).map(|(_, attr)| attr), &after);
        }
        settle(&done);
        drop((bearer, held));

        self.health.took(op, started.elapsed());
        Ok(done)
    }

    /// Room for a line; none is needed where nothing is recorded.
    fn room(
        &self,
        line_bytes_max: usize,
        purpose: Purpose,
    ) -> Result<Option<Reservation<'_>>, RecordError> {
        if self.silent {
            return Ok(None);
        }
        let room = self.log.reserve(line_bytes_max, purpose);
        Ok(Some(room.map_err(RecordError::Refused)?))
    }

    /// Writes the event into its room; its position, or the head where nothing is recorded.
    fn append(&self, room: Option<Reservation<'_>>, event: &Event) -> Result<Seq, RecordError> {
        let Some(room) = room else {
            return Ok(self.log.head());
        };
        let mut body = String::with_capacity(512);
        line::body(event, &mut body);
        let seq = room.append(&body).map_err(RecordError::Unrecorded)?;
        self.name_content(event, seq);
        self.health.recorded(event.source);
        Ok(seq)
    }

    /// Records what is not a change of the storage: a gap that was found, a user's note.
    ///
    /// # Errors
    /// [`RecordError::Refused`] when the log cannot take it.
    pub fn note(&self, event: &Event) -> Result<Seq, RecordError> {
        // What may be missing is said even on a full disk.
        let purpose = if event.gap.is_some() {
            Purpose::Freeing
        } else {
            Purpose::Ordinary
        };
        self.note_for(event, purpose)
    }

    /// The same where something waits for it whose purpose is `purpose`.
    fn note_for(&self, event: &Event, purpose: Purpose) -> Result<Seq, RecordError> {
        if self.silent && event.gap.is_none() {
            return Ok(self.log.head());
        }
        let mut body = String::new();
        line::body(event, &mut body);
        // The body is already formatted, so its own length bounds it.
        let room = self
            .log
            .reserve(body.len() + line::FRAME_BYTES_MAX, purpose)
            .map_err(RecordError::Refused)?;
        let seq = room.append(&body).map_err(RecordError::Unrecorded)?;
        self.name_content(event, seq);
        self.health.recorded(event.source);
        Ok(seq)
    }

    /// Records a user's note.
    ///
    /// # Errors
    /// As [`Recorder::note`].
    pub fn mark(&self, mark: Mark, caller: Option<Arc<Caller>>) -> Result<Seq, RecordError> {
        if self.silent {
            return Err(RecordError::Refused(LogError::Closed));
        }
        self.note(&Event::mark(mark, caller))
    }

    /// Keeps every change of an open file's entry out while `look` runs: what it reads belongs together.
    pub fn look<T>(&self, scope: &Scope, look: impl FnOnce() -> T) -> T {
        let _held = self.locks.hold(scope);
        look()
    }
}
