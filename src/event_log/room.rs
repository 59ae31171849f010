//! Room for an event, promised before anything is done to the storage.
//!
//! Invariant: the promised bytes fit into the preallocated rest of the active segment, so an append needs nothing
//! but its one write. Rotation happens here, when a promise does not fit, and never in an append. Everything
//! promised before a rotation is promised again in the new segment.
//!
//! A spare segment is always kept ready. When none can be made, ordinary changes are refused at once, and what is
//! left of the active segment is kept for the changes that free space; otherwise a full disk could not be emptied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{Failure, LogError};
use super::options::LINE_BYTES_MAX;
use super::segment::{SPARE_NAME, Segment, segment_name};
use super::writer::{Cause, Sealed, Shared, Shortage, Spare, State};
use crate::event::line::FRAME_BYTES_MAX;
use crate::event::{Seq, Timestamp};

/// Room kept back in every segment for the gap event that ends a failure.
pub(super) const GAP_ROOM_BYTES: u64 = 4 * 1024;
/// Time between two attempts to make a spare on a full disk: each is a few system calls under the serial point.
const SPARE_RETRY: Duration = Duration::from_millis(100);

/// What the change that is about to be made does to the space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// It may need space.
    Ordinary,
    /// It gives space back: unlink, rmdir, a shrinking truncate, a punched hole.
    Freeing,
}

/// A promise that one line fits. Dropped unused it is given back.
#[must_use = "a reservation is there to be appended to"]
pub struct Reservation<'a> {
    shared: &'a Shared,
    bytes: u64,
    purpose: Purpose,
    open: bool,
}

impl Reservation<'_> {
    /// Writes the event's line; when this returns, every reader can have it.
    ///
    /// # Errors
    /// [`LogError::TooLong`] when the line is longer than was reserved and does not fit, [`LogError::Format`] when
    /// the body holds a newline, [`LogError::Closed`], [`LogError::Latched`] after an earlier failure, or the failed
    /// write itself. Nothing is visible after an error.
    pub fn append(mut self, body: &str) -> Result<Seq, LogError> {
        if memchr::memchr(b'\n', body.as_bytes()).is_some() {
            return Err(LogError::Format("a line break inside an event".into()));
        }
        let mut state = self.shared.state.lock();
        self.open = false;
        state.give_back(self.bytes, self.purpose);
        if state.closed {
            return Err(LogError::Closed);
        }
        if let Some(latch) = &mut state.latch {
            latch.lost += 1;
            return Err(latch.failure.error());
        }
        let bytes = body.len() + FRAME_BYTES_MAX;
        if bytes as u64 > self.bytes.max(state.unpromised()) {
            return Err(LogError::TooLong { bytes });
        }
        let seq = self.shared.write_line(&mut state, body)?;
        drop(state);
        self.shared.wake.wake();
        Ok(seq)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.open {
            let mut state = self.shared.state.lock();
            state.give_back(self.bytes, self.purpose);
        }
    }
}

impl State {
    /// Room of the active segment that is promised to nobody.
    fn unpromised(&self) -> u64 {
        self.capacity
            .saturating_sub(self.bytes + self.reserved + GAP_ROOM_BYTES)
    }

    fn give_back(&mut self, bytes: u64, purpose: Purpose) {
        self.reserved -= bytes;
        if let (Purpose::Freeing, Some(shortage)) = (purpose, &mut self.shortage) {
            shortage.retry_at = Instant::now();
        }
    }
}

impl Shared {
    /// See [`super::EventLog::reserve`].
    pub(super) fn reserve(
        &self,
        line_bytes_max: usize,
        purpose: Purpose,
    ) -> Result<Reservation<'_>, LogError> {
        if line_bytes_max > LINE_BYTES_MAX {
            return Err(LogError::TooLong {
                bytes: line_bytes_max,
            });
        }
        let bytes = line_bytes_max as u64;
        let mut state = self.state.lock();
        if state.closed {
            return Err(LogError::Closed);
        }
        let healed = self.heal(&mut state)?;
        let room = self.make_room(&mut state, bytes, purpose);
        if room.is_ok() {
            state.reserved += bytes;
        }
        drop(state);
        if healed {
            self.wake.wake();
        }
        room.map(|()| Reservation {
            shared: self,
            bytes,
            purpose,
            open: true,
        })
    }

    fn make_room(&self, state: &mut State, bytes: u64, purpose: Purpose) -> Result<(), LogError> {
        let fits = bytes <= state.unpromised();
        match self.ready_spare(state) {
            Ok(()) if fits => Ok(()),
            Ok(()) => self.rotate(state, bytes),
            Err(_) if fits && purpose == Purpose::Freeing => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that there is a spare; while there was none lately it says so without trying.
    pub(super) fn ready_spare(&self, state: &mut State) -> Result<(), LogError> {
        if state.spare.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(shortage) = state.shortage.as_ref().filter(|s| now < s.retry_at) {
            return Err(shortage.failure.error());
        }
        match self.make_spare() {
            Ok(spare) => {
                state.spare = Some(spare);
                state.shortage = None;
                Ok(())
            }
            Err(error) => {
                state.fall_short(&error);
                Err(error)
            }
        }
    }

    fn make_spare(&self) -> Result<Spare, LogError> {
        let what = "preallocation of a segment";
        let file = self
            .storage
            .create(SPARE_NAME)
            .map_err(LogError::io(what))?;
        let bytes = self.options.segment_bytes;
        if let Err(source) = file.allocate(bytes) {
            // An empty spare is harmless, so a failed removal is too.
            let _ = self.storage.remove(SPARE_NAME);
            return Err(LogError::io(what)(source));
        }
        Ok(Spare { file, bytes })
    }

    /// Makes the spare the active segment, with room for everything promised and `bytes` more.
    pub(super) fn rotate(&self, state: &mut State, bytes: u64) -> Result<(), LogError> {
        let what = "rotation to the next segment";
        let needed = state.reserved + bytes + GAP_ROOM_BYTES;
        let Some(mut spare) = state.spare.take() else {
            return Err(LogError::Format("no spare segment".into()));
        };
        if spare.bytes < needed {
            if let Err(source) = spare.file.allocate(needed) {
                state.spare = Some(spare);
                return Err(LogError::io(what)(source));
            }
            spare.bytes = needed;
        }
        let first = state.head.next();
        let name = segment_name(first);
        let blank = state.bytes == 0;
        if let Err(source) = self.storage.rename(SPARE_NAME, &name) {
            let error = LogError::io(what)(source);
            state.fall_short(&error);
            // Whether it took effect is unknown. If it did, a blank active segment has lost its name, so it must
            // not be written; behind any other there is now a blank one, which must not outlive the failure.
            if blank {
                state.latch(&error, Cause::Sync);
            } else {
                let _ = self.storage.remove(&name);
            }
            return Err(error);
        }
        state.names_dirty = true;
        let segment = Arc::new(Segment::new(first, 0, Timestamp::default()));
        segment.share(&spare.file);
        let mut map = self.map.lock();
        if state.run.is_empty() {
            map.runs.pop_back();
        }
        if blank {
            map.segments.pop_back();
        } else {
            state.sealed.push(Sealed {
                segment: Arc::clone(&state.run.segment),
                file: Arc::clone(&state.file),
                bytes: state.bytes,
            });
        }
        state.run = map.push_active(&segment);
        state.file = spare.file;
        state.bytes = 0;
        state.capacity = spare.bytes;
        Ok(())
    }
}

impl State {
    /// Notes that no spare can be made.
    pub(super) fn fall_short(&mut self, error: &LogError) {
        let mut failure = Failure::now(error);
        if let Some(shortage) = &self.shortage {
            failure.since = shortage.failure.since;
        }
        self.shortage = Some(Shortage {
            failure,
            retry_at: Instant::now() + SPARE_RETRY,
        });
    }
}
