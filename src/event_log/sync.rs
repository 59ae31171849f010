//! Making the log durable: contents before the events that name them, sealed segments before the active one.
//!
//! One caller at a time syncs for all: it notes the head under the serial point, then syncs with no lock held.

use std::sync::Arc;

use super::error::LogError;
use super::writer::{Cause, Sealed, Shared};
use crate::disk::StoredFile;
use crate::event::Seq;

impl Shared {
    /// See [`super::EventLog::sync`].
    pub(super) fn sync_to_head(&self) -> Result<Seq, LogError> {
        self.sync.join(self.wake.head(), || self.sync_now())
    }

    /// Syncs whatever is not durable. Only one thread at a time is here.
    fn sync_now(&self) -> Result<Seq, LogError> {
        let mut state = self.state.lock();
        // A failed write leaves everything before it as it was, and that may be synced; after a failed sync only
        // the healing may go on.
        if let Some(latch) = state.latch.as_ref().filter(|l| l.cause == Cause::Sync) {
            return Err(latch.failure.error());
        }
        let head = state.head;
        let active = Arc::clone(&state.file);
        let sealed = state.sealed.clone();
        let names_dirty = std::mem::take(&mut state.names_dirty);
        drop(state);

        // What the events up to this head name must not be lost where they are not.
        if let Some(companion) = self.companion.get()
            && let Err(source) = companion.sync()
        {
            self.state.lock().names_dirty |= names_dirty;
            return Err(LogError::io("sync of the content")(source));
        }
        let result = self.sync_files(&sealed, &*active, names_dirty);
        let mut state = self.state.lock();
        match result {
            Ok(()) => {
                // What was sealed meanwhile stands behind these.
                let synced = sealed.len().min(state.sealed.len());
                state.sealed.drain(..synced);
                self.sync.reached(head);
                Ok(self.sync.durable())
            }
            Err(error) => {
                state.names_dirty |= names_dirty;
                state.latch(&error, Cause::Sync);
                Err(error)
            }
        }
    }

    fn sync_files(
        &self,
        sealed: &[Sealed],
        active: &dyn StoredFile,
        names_dirty: bool,
    ) -> Result<(), LogError> {
        let failed = LogError::io("sync of a segment");
        let files = sealed.iter().map(|s| &*s.file).chain([active]);
        for old in sealed {
            // The tail is zero bytes: leaving them costs space until the next start and nothing else.
            if let Err(error) = old.file.truncate(old.bytes) {
                log::warn!(
                    "event log: {} keeps its blank tail: {error}",
                    old.segment.name
                );
            }
        }
        let mut synced = Ok(());
        for file in files {
            synced = synced.and_then(|()| file.sync());
        }
        synced.map_err(failed)?;
        if names_dirty {
            self.storage
                .sync()
                .map_err(LogError::io("sync of the log directory"))?;
        }
        Ok(())
    }
}
