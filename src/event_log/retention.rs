//! Retention: sealed segments go, oldest first, when the log is too large or they are too old.
//!
//! A segment leaves the map first, so that no reader begins in a file that is going; its file goes after. A file
//! that cannot be removed holds back all later ones: the files on disk are always the newest part of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::log::EventLog;
use super::segment::{Map, Segment};
use super::writer::Shared;
use crate::event::{Seq, Timestamp};

/// Stands for "nobody needs anything".
const HELD_NOTHING: u64 = u64::MAX;

/// [`EventLog::hold_after`] as a number.
pub(super) fn held(after: Option<Seq>) -> u64 {
    after.map_or(HELD_NOTHING, |seq| seq.0)
}

impl EventLog {
    /// Holds the events after `after` back from retention, up to `retain_max` times its limits; `None` holds nothing.
    pub fn hold_after(&self, after: Option<Seq>) {
        self.shared.held_after.store(held(after), Ordering::Release);
    }
}

impl Shared {
    /// Removes what the options no longer keep; gives the number of segments removed.
    pub(super) fn retain(&self) -> u64 {
        let mut doomed = self.doomed.lock();
        if doomed.is_empty() {
            // Not yet synced: its sync would bring a removed file's lines into a gap that nobody tells.
            let unsynced = self.state.lock().sealed.first().map(|s| s.segment.first);
            let mut map = self.map.lock();
            while let Some(oldest) = self.oldest_to_go(&map) {
                if unsynced.is_some_and(|first| oldest.first >= first) {
                    break;
                }
                doomed.extend(map.pop_oldest());
            }
        }
        let mut removed = 0;
        while let Some(segment) = doomed.first() {
            match self.storage.remove(&segment.name) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    log::warn!("event log: {} cannot be removed: {error}", segment.name);
                    break;
                }
            }
            doomed.remove(0);
            removed += 1;
        }
        removed
    }

    /// The oldest segment when it is sealed and the options no longer keep it.
    fn oldest_to_go(&self, map: &Map) -> Option<Arc<Segment>> {
        if map.segments.len() < 2 {
            return None;
        }
        let oldest = map.segments.front()?;
        let newest = Timestamp(oldest.newest.load(Ordering::Acquire));
        let age = Timestamp::now().0.saturating_sub(newest.0);
        let last = map.segments.get(1)?.first.0.saturating_sub(1);
        let needed = last > self.held_after.load(Ordering::Acquire);
        let factor = if needed {
            self.options.retain_max.max(1)
        } else {
            1
        };
        let age_max = self
            .options
            .retain_age
            .as_nanos()
            .saturating_mul(factor.into());
        let bytes_max = self.options.retain_bytes.saturating_mul(factor.into());
        let too_old = u128::from(age) > age_max;
        let too_large = map.bytes() > bytes_max;
        (too_old || too_large).then(|| Arc::clone(oldest))
    }
}
