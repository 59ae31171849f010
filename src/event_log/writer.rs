//! The serial point: one mutex under which an event gets its position and time, its one write, and is published.
//!
//! Invariant: everything before `State::bytes` in the active segment is published lines (or damage that recovery
//! kept); everything after it is zero unless the log is latched.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::error::{Failure, LogError};
use super::group::Group;
use super::index::Entry;
use super::options::Options;
use super::retention::Companion;
use super::segment::{Map, Run, Segment};
use super::wake::Wake;
use crate::disk::{Storage, StoredFile, write_all_at};
use crate::event::{Seq, Timestamp, line};

/// Everything the handles of one open log share.
pub(super) struct Shared {
    pub(super) storage: Box<dyn Storage>,
    pub(super) options: Options,
    pub(super) state: Mutex<State>,
    pub(super) map: Mutex<Map>,
    pub(super) wake: Wake,
    pub(super) sync: Group,
    /// Removed from the map, file not removed yet; oldest first.
    pub(super) doomed: Mutex<Vec<Arc<Segment>>>,
    /// Events after this are needed by a consumer; the largest number when none are.
    pub(super) held_after: AtomicU64,
    /// Events after this are needed by the next start; the same.
    pub(super) needed_after: AtomicU64,
    /// What is kept beside the log.
    pub(super) companion: OnceLock<Box<dyn Companion>>,
}

/// What the serial point guards.
pub(super) struct State {
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) run: Arc<Run>,
    /// Offset where the next line goes.
    pub(super) bytes: u64,
    /// End of the preallocated room.
    pub(super) capacity: u64,
    /// Bytes promised to reservations.
    pub(super) reserved: u64,
    pub(super) head: Seq,
    pub(super) newest: Timestamp,
    pub(super) spare: Option<Spare>,
    pub(super) shortage: Option<Shortage>,
    pub(super) latch: Option<Latch>,
    /// Sealed, and not yet cut and synced; oldest first.
    pub(super) sealed: Vec<Sealed>,
    /// Names changed since the directory was synced.
    pub(super) names_dirty: bool,
    pub(super) closed: bool,
    /// The line being written; reused, so that an append allocates nothing.
    pub(super) line: Vec<u8>,
}

/// The next segment, preallocated and blank.
pub(super) struct Spare {
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) bytes: u64,
}

/// A segment that gets no more lines.
#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) bytes: u64,
}

/// No spare could be made.
pub(super) struct Shortage {
    pub(super) failure: Failure,
    pub(super) retry_at: Instant,
}

/// Nothing may be written until this is healed.
pub(super) struct Latch {
    pub(super) failure: Failure,
    pub(super) cause: Cause,
    pub(super) retry_at: Instant,
    /// Appends that were refused or failed since.
    pub(super) lost: u64,
}

/// What has to be put right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A write failed; bytes up to this offset may be anything.
    Write { dirty_end: u64 },
    /// A sync failed, so that lines since the last good one may not survive a power loss, or the name of the
    /// active segment is in doubt; either way it must be left.
    Sync,
}

impl Shared {
    /// Writes one line and publishes it; the caller has the serial point and has checked the room.
    pub(super) fn write_line(&self, state: &mut State, body: &str) -> Result<Seq, LogError> {
        let seq = state.head.next();
        let timestamp = Timestamp::now().max(state.newest);
        state.line.clear();
        line::frame(seq, timestamp, body, &mut state.line);
        let line_bytes = state.line.len() as u64;
        if state.bytes + line_bytes > state.capacity {
            return Err(LogError::TooLong {
                bytes: state.line.len(),
            });
        }
        if let Err(source) = write_all_at(&*state.file, &state.line, state.bytes) {
            let error = LogError::io("write of an event")(source);
            let cause = Cause::Write {
                dirty_end: state.bytes + line_bytes,
            };
            state.latch(&error, cause);
            return Err(error);
        }
        let entry = Entry {
            seq,
            offset: state.bytes,
            timestamp,
        };
        state.run.publish(entry, line_bytes);
        state.bytes += line_bytes;
        state.head = seq;
        state.newest = timestamp;
        self.wake.publish(seq);
        Ok(seq)
    }
}
