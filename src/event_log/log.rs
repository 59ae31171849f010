//! The log as its users see it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::error::{Failure, LogError};
use super::group::Group;
use super::keeper::Keeper;
use super::options::Options;
use super::reader::Reader;
use super::recovery::{self, Opened, Recovery, is_blank};
use super::room::{Purpose, Reservation};
use super::segment::{CLEAN_NAME, SPARE_NAME};
use super::wake::Wake;
use super::writer::{Shared, Spare, State};
use crate::disk::Storage;
use crate::event::{Seq, Timestamp};

/// An open log. Clones are handles of the same one.
///
/// Dropped without [`EventLog::close`] it ends as in a crash: everything appended stands, and the next start says
/// that it was not closed.
#[derive(Clone)]
pub struct EventLog {
    pub(super) shared: Arc<Shared>,
    keeper: Arc<Keeper>,
}

/// Figures for `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogStats {
    /// Segments with the active one, without the spare.
    pub segments: u64,
    /// Bytes of lines in them.
    pub bytes: u64,
}

impl EventLog {
    /// Opens a log, or makes one where there is none, by the rule in `recovery`.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::DiskFull`] when a storage call fails. An existing log also opens on a full
    /// disk; then [`EventLog::failure`] says so.
    pub fn open(
        storage: Box<dyn Storage>,
        options: Options,
    ) -> Result<(EventLog, Recovery), LogError> {
        let options = options.within_limits();
        let opened = recovery::open(&*storage)?;
        let mut recovery = opened.recovery.clone();
        let state = first_state(&*storage, &opened, options.segment_bytes, &mut recovery)?;
        let shared = Arc::new(Shared {
            storage,
            options,
            state: Mutex::new(state),
            map: Mutex::new(opened.map),
            wake: Wake::new(opened.head),
            sync: Group::new(opened.head),
            doomed: Mutex::new(Vec::new()),
            held_after: AtomicU64::new(super::retention::held(options.held_after)),
            needed_after: AtomicU64::new(super::retention::held(options.needed_after)),
            companion: OnceLock::new(),
        });
        if let Err(error) = shared.ready_spare(&mut shared.state.lock()) {
            recovery.notes.push(format!("no spare segment: {error}"));
        }
        let keeper = Arc::new(Keeper::start(&shared)?);
        Ok((EventLog { shared, keeper }, recovery))
    }

    /// Promises room for one line of at most `line_bytes_max` bytes (`line::line_bytes_max` of the event), before
    /// anything is done to the storage.
    ///
    /// # Errors
    /// [`LogError::DiskFull`] when there is none, [`LogError::Latched`] while a failure lasts, [`LogError::TooLong`]
    /// above [`super::LINE_BYTES_MAX`], [`LogError::Closed`], or a failed rotation.
    pub fn reserve(
        &self,
        line_bytes_max: usize,
        purpose: Purpose,
    ) -> Result<Reservation<'_>, LogError> {
        self.shared.reserve(line_bytes_max, purpose)
    }

    /// Position of the newest event; 0 while there is none.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.shared.wake.head()
    }

    /// Position of the oldest event kept; the one after the head when there is none.
    #[must_use]
    pub fn oldest(&self) -> Seq {
        let map = self.shared.map.lock();
        let first = map.runs.front().map(|run| run.first);
        first.unwrap_or_else(|| self.head().next())
    }

    /// Everything up to this position survives a power loss.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.sync.durable()
    }

    /// Makes everything up to the head at the call durable; gives how far the log is durable then. Concurrent
    /// callers share one sync.
    ///
    /// # Errors
    /// [`LogError::Io`] when the sync failed, [`LogError::Latched`] while that is not healed.
    pub fn sync(&self) -> Result<Seq, LogError> {
        self.shared.sync_to_head()
    }

    /// Waits until the head is past `seq` and gives it. Returns earlier at the deadline or when the log is closed.
    pub fn wait_past(&self, seq: Seq, deadline: Option<Instant>) -> Seq {
        self.shared.wake.wait_past(seq, deadline)
    }

    /// Sets what is called after every append, with no lock held. It must be cheap. Only the first call counts.
    pub fn on_append(&self, hook: Box<dyn Fn() + Send + Sync>) {
        self.shared.wake.set_hook(hook);
    }

    /// A reader of the events after `after` up to and with `until`, or the head of now where that is less.
    #[must_use]
    pub fn reader(&self, after: Seq, until: Seq) -> Reader {
        Reader::new(Arc::clone(&self.shared), after, until)
    }

    /// The failure that lasts, if one does.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let state = self.shared.state.lock();
        let latched = state.latch.as_ref().map(|l| &l.failure);
        latched
            .or(state.shortage.as_ref().map(|s| &s.failure))
            .cloned()
    }

    /// Figures for `status`.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let map = self.shared.map.lock();
        LogStats {
            segments: map.segments.len() as u64,
            bytes: map.bytes(),
        }
    }

    /// A position at or before the first event that is not earlier than `time`, at most an index step before it.
    #[must_use]
    pub fn first_seq_at(&self, time: Timestamp) -> Seq {
        let map = self.shared.map.lock();
        let earlier = map
            .runs
            .partition_point(|run| run.earlier_than(time).is_some());
        let found = earlier
            .checked_sub(1)
            .and_then(|at| map.runs[at].earlier_than(time));
        drop(map);
        found.unwrap_or_else(|| self.oldest())
    }

    /// Ends the log in order: later reservations and appends are refused, the keeper stops, everything is synced,
    /// the blank tail is cut, waiters return. A second call does nothing.
    ///
    /// # Errors
    /// The failed storage call, or the latched failure; the log is closed all the same, and not marked clean.
    pub fn close(&self) -> Result<(), LogError> {
        let mut state = self.shared.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return Ok(());
        }
        drop(state);
        self.keeper.stop();
        self.shared.wake.close();
        self.shared.sync_to_head()?;
        self.shared.finish()
    }
}

impl Shared {
    /// Cuts the blank tail and leaves the clean marker. The spare stays, or the tail where there is none: at a
    /// start on a full disk that is the room for the deletions that will empty it.
    fn finish(&self) -> Result<(), LogError> {
        let state = self.state.lock();
        if let Some(latch) = &state.latch {
            return Err(latch.failure.error());
        }
        let what = "close of the log";
        if state.spare.is_some() {
            let cut = state.file.truncate(state.bytes);
            cut.map_err(LogError::io(what))?;
        }
        state.file.sync().map_err(LogError::io(what))?;
        self.storage
            .create(CLEAN_NAME)
            .map_err(LogError::io(what))?;
        self.storage.sync().map_err(LogError::io(what))
    }
}

fn first_state(
    storage: &dyn Storage,
    opened: &Opened,
    segment_bytes: u64,
    recovery: &mut Recovery,
) -> Result<State, LogError> {
    let what = "preallocation of the active segment";
    if let Err(source) = opened.file.allocate(segment_bytes) {
        let error = LogError::io(what)(source);
        if opened.head == Seq(0) || !error.is_disk_full() {
            return Err(error);
        }
        recovery.notes.push(error.to_string());
    }
    let spare = if opened.spare {
        usable_spare(storage, segment_bytes)
    } else {
        None
    };
    Ok(State {
        file: Arc::clone(&opened.file),
        run: Arc::clone(&opened.run),
        bytes: opened.bytes,
        capacity: opened.file.bytes().map_err(LogError::io(what))?,
        reserved: 0,
        head: opened.head,
        newest: opened.newest,
        spare,
        shortage: None,
        latch: None,
        sealed: Vec::new(),
        names_dirty: false,
        closed: false,
        line: Vec::new(),
    })
}

/// An earlier spare, when it is blank and of the size that is wanted; a new one replaces any other.
fn usable_spare(storage: &dyn Storage, segment_bytes: u64) -> Option<Spare> {
    let file = storage.open(SPARE_NAME).ok()?;
    let bytes = file.bytes().ok()?;
    (bytes == segment_bytes && is_blank(&*file).ok()?).then_some(Spare { file, bytes })
}
