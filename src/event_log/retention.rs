//! Retention: sealed segments go, oldest first, when the log is too large or they are too old.
//!
//! A segment leaves the map first, so that no reader begins in a file that is going; its file goes after. A file
//! that cannot be removed holds back all later ones: the files on disk are always the newest part of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::segment::{Map, Segment};
use super::writer::Shared;
use crate::event::Timestamp;

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
        let too_old = u128::from(age) > self.options.retain_age.as_nanos();
        let too_large = map.bytes() > self.options.retain_bytes;
        (too_old || too_large).then(|| Arc::clone(oldest))
    }
}
