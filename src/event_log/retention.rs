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

/// What is kept beside the log and lives as long as its events do: durable before them, removed after them, and
/// counted with them.
pub trait Companion: Send + Sync {
    /// Makes durable everything that an event so far may name.
    ///
    /// # Errors
    /// What the system said; the log then is not durable either.
    fn sync(&self) -> std::io::Result<()>;
    /// Its size in bytes.
    fn bytes(&self) -> u64;
    /// The oldest event kept is `oldest` now; what is kept beside the log may have `bytes_max` bytes.
    fn retain(&self, oldest: Seq, bytes_max: u64);
}

impl EventLog {
    /// Lets `companion` live and go with the events. Only the first call counts.
    pub fn accompany(&self, companion: Box<dyn Companion>) {
        let _ = self.shared.companion.set(companion);
    }

    /// Holds the events after `after` back from retention, up to `retain_max` times its limits; `None` holds nothing.
    pub fn hold_after(&self, after: Option<Seq>) {
        self.shared.held_after.store(held(after), Ordering::Release);
    }

    /// Holds the events after `after` back in the same way, because a start after a crash would need them.
    pub fn need_after(&self, after: Seq) {
        let needed = &self.shared.needed_after;
        needed.store(after.0, Ordering::Release);
    }

    /// Whether something stays past its limits only for what [`EventLog::need_after`] said.
    #[must_use]
    pub fn waits_for_start(&self) -> bool {
        let needed = self.shared.needed_after.load(Ordering::Acquire);
        let map = self.shared.map.lock();
        let last = map.segments.get(1).map_or(0, |next| next.first.0 - 1);
        let beside = self.shared.companion.get().map_or(0, |c| c.bytes());
        last > needed && map.bytes().saturating_add(beside) > self.shared.bytes_max(false)
    }
}

impl Shared {
    /// Removes what the options no longer keep; gives the number of segments removed.
    pub(super) fn retain(&self) -> u64 {
        let mut removed = 0;
        loop {
            let went = self.retain_step();
            removed += went;
            let Some(companion) = self.companion.get() else {
                return removed;
            };
            let (oldest, bytes, held) = self.kept();
            let is_last = went == 0;
            // As long as events can go, what they name goes with them and nothing else does.
            let bytes_max = if is_last && self.map.lock().segments.len() < 2 {
                self.bytes_max(held).saturating_sub(bytes)
            } else {
                u64::MAX
            };
            companion.retain(oldest, bytes_max);
            if is_last {
                return removed;
            }
        }
    }

    /// The same up to where what is kept beside the log has to follow.
    fn retain_step(&self) -> u64 {
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
                // What goes with these events gives room too, and is known only when it has gone.
                if self.companion.get().is_some() {
                    break;
                }
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

    /// The oldest event kept, bytes of all lines, and whether a consumer still needs the oldest.
    fn kept(&self) -> (Seq, u64, bool) {
        let head = self.wake.head();
        let map = self.map.lock();
        let oldest = map.runs.front().map_or(head.next(), |run| run.first);
        let held = oldest.0 > self.held();
        (oldest, map.bytes(), held)
    }

    /// The events after this are needed by someone.
    fn held(&self) -> u64 {
        let for_start = self.needed_after.load(Ordering::Acquire);
        for_start.min(self.held_after.load(Ordering::Acquire))
    }

    /// Bytes that log and companion may have together; `held` when a consumer needs the oldest of it.
    fn bytes_max(&self, held: bool) -> u64 {
        let bytes = self.options.retain_bytes;
        bytes.saturating_mul(self.factor(held).into())
    }

    fn factor(&self, held: bool) -> u32 {
        if held {
            self.options.retain_max.max(1)
        } else {
            1
        }
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
        let needed = last > self.held();
        let retain_age = self.options.retain_age.as_nanos();
        let too_old = u128::from(age) > retain_age.saturating_mul(self.factor(needed).into());
        let beside = self.companion.get().map_or(0, |c| c.bytes());
        let too_large = map.bytes().saturating_add(beside) > self.bytes_max(needed);
        (too_old || too_large).then(|| Arc::clone(oldest))
    }
}
