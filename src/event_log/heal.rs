//! The latch: after a failed write or sync nothing is written until the cause has been put right on purpose.
//!
//! A failed write: the bytes it may have left are zeroed and read back. A failed sync: the kernel may have
//! dropped the pages, so the segment is sealed as it is, writing goes on in a new one, and that is said. Either way
//! the first event afterwards is the `gap` that tells of it.

use std::time::{Duration, Instant};

use super::error::{Failure, LogError};
use super::room::GAP_ROOM_BYTES;
use super::writer::{Cause, Latch, Shared, State};
use crate::disk::write_all_at;
use crate::event::{Event, GapReason, line};

/// Time between two attempts: each does I/O on a storage that has just failed.
const HEAL_RETRY: Duration = Duration::from_secs(1);
/// Text of a failure that is repeated in the gap event; with it the line stays below [`GAP_ROOM_BYTES`].
const DETAIL_CHARS_MAX: usize = 200;

impl State {
    /// Stops the log. The first failure is the one that is told; its retry time runs from now.
    pub(super) fn latch(&mut self, error: &LogError, cause: Cause) {
        let retry_at = Instant::now() + HEAL_RETRY;
        let lost = u64::from(matches!(cause, Cause::Write { .. }));
        match &mut self.latch {
            // A failed write after a failed sync: healing the sync leaves the segment, and the bad bytes, behind.
            Some(latch) => {
                latch.retry_at = retry_at;
                if cause == Cause::Sync {
                    latch.cause = cause;
                }
            }
            None => {
                self.latch = Some(Latch {
                    failure: Failure::now(error),
                    cause,
                    retry_at,
                    lost,
                });
            }
        }
    }
}

impl Shared {
    /// Puts a latched failure right when it is time to try; true when it did, and the gap event is appended.
    pub(super) fn heal(&self, state: &mut State) -> Result<bool, LogError> {
        let Some(latch) = &state.latch else {
            return Ok(false);
        };
        if Instant::now() < latch.retry_at {
            return Err(latch.failure.error());
        }
        let refused = latch.failure.error();
        let cause = latch.cause;
        let tried = match cause {
            Cause::Write { dirty_end } => self.wipe(state, dirty_end),
            Cause::Sync => self.leave(state),
        };
        if let Err(error) = tried {
            log::warn!("event log: not healed yet: {error}");
            state.latch(&error, cause);
            return Err(refused);
        }
        let Some(latch) = state.latch.take() else {
            return Ok(false);
        };
        let mut body = String::new();
        line::body(&gap_of(&latch, self.sync.durable().next().0), &mut body);
        match self.write_line(state, &body) {
            Ok(_) => {
                log::info!("event log: writing again");
                Ok(true)
            }
            Err(_) => {
                // Keep telling of the first failure and what it cost. A segment that is left is left whole; else
                // the bad bytes now reach as far as this last write may have come.
                let again = state.latch.take();
                let retry_at = Instant::now() + HEAL_RETRY;
                let cause = match (latch.cause, again) {
                    (Cause::Write { .. }, Some(again)) => again.cause,
                    (first, _) => first,
                };
                state.latch = Some(Latch {
                    cause,
                    retry_at,
                    ..latch
                });
                Err(refused)
            }
        }
    }

    /// Zeroes what a failed write may have left, and proves it.
    fn wipe(&self, state: &State, dirty_end: u64) -> Result<(), LogError> {
        let what = "clearing the remains of a failed write";
        let length = usize::try_from(dirty_end.saturating_sub(state.bytes)).unwrap_or(0);
        let mut bytes = vec![0; length];
        write_all_at(&*state.file, &bytes, state.bytes).map_err(LogError::io(what))?;
        let mut done = 0;
        while done < length {
            let offset = state.bytes + done as u64;
            match state
                .file
                .read_at(&mut bytes[done..], offset)
                .map_err(LogError::io(what))?
            {
                0 => return Err(LogError::Format("the segment has become shorter".into())),
                read => done += read,
            }
        }
        if bytes.iter().any(|b| *b != 0) {
            return Err(LogError::Format("zeroed bytes do not read as zero".into()));
        }
        Ok(())
    }

    /// Goes on in a new segment, leaving the one that could not be synced.
    fn leave(&self, state: &mut State) -> Result<(), LogError> {
        self.ready_spare(state)?;
        self.rotate(state, GAP_ROOM_BYTES)?;
        for left in &state.sealed {
            let _ = left.file.truncate(left.bytes);
        }
        // A second sync would succeed without having written anything: the kernel tells of lost pages once.
        state.sealed.clear();
        state
            .file
            .sync()
            .map_err(LogError::io("sync of a segment"))?;
        self.storage
            .sync()
            .map_err(LogError::io("sync of the log directory"))
    }
}

fn gap_of(latch: &Latch, not_durable_from: u64) -> Event {
    let failure: String = latch
        .failure
        .detail
        .chars()
        .take(DETAIL_CHARS_MAX)
        .collect();
    let lost = latch.lost;
    let mut detail = format!(
        "the log could not be written since {}: {failure}; operations under way and not recorded: {lost}",
        latch.failure.since
    );
    if latch.cause == Cause::Sync {
        detail.push_str(&format!(
            "; events from {not_durable_from} up to here may not survive a power loss"
        ));
    }
    Event::gap(GapReason::Failed, None, detail)
}
