//! The active pack: records are written at its end, under one lock, and found by everyone after.
//!
//! The first failure is remembered. The pack it happened in is left as it is, and a later object tries a new one: a
//! disk that is full or broken costs versions, never a change.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::ContentError;
use super::format::IndexEntry;
use super::pack::{Pack, Packs, Pin, pack_name};
use super::store::Shared;
use crate::disk::{StoredFile, write_all_at};
use crate::event::Seq;

/// Smallest pack: below it the fixed work of a new one would show in every object.
pub const PACK_BYTES_MIN: u64 = 64 * 1024;
/// Ordinary pack: some seven thousand documents, and what goes at once in the end.
pub const PACK_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Largest pack: offsets in it are 32 bits.
pub const PACK_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Time between two attempts on a disk that has just failed.
const RETRY: Duration = Duration::from_millis(100);

pub(super) fn within_limits(pack_bytes: u64) -> u64 {
    pack_bytes.clamp(PACK_BYTES_MIN, PACK_BYTES_MAX)
}

/// Where the next record goes.
#[derive(Default)]
pub(super) struct Active {
    pub(super) open: Option<Open>,
    /// Sealed, and not yet cut, synced and indexed; oldest first.
    pub(super) sealed: Vec<Open>,
    /// Left because a sync failed: what they hold past `synced` is written again elsewhere.
    pub(super) doubtful: Vec<Open>,
    /// Number of the next pack.
    next: u32,
    pub(super) failure: Option<Failure>,
    /// Names changed since the directory was synced.
    pub(super) names_dirty: bool,
    pub(super) closed: bool,
}

/// A pack that is being written, or was just now.
pub(super) struct Open {
    pub(super) pack: Arc<Pack>,
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) bytes: u64,
    capacity: u64,
    /// Bytes that survive a power loss.
    pub(super) synced: u64,
    pub(super) entries: Vec<IndexEntry>,
}

/// Why nothing can be kept.
pub(super) struct Failure {
    pub(super) detail: String,
    is_full: bool,
    retry_at: Instant,
}

#[cfg(test)]
impl Failure {
    /// Lets the next object try again at once.
    pub(super) fn hasten(&mut self) {
        self.retry_at = Instant::now();
    }
}

impl Open {
    /// A pack of an earlier daemon's.
    pub(super) fn found(
        pack: Arc<Pack>,
        file: Arc<dyn StoredFile>,
        entries: Vec<IndexEntry>,
    ) -> Open {
        let bytes = pack.bytes.load(Ordering::Acquire);
        pack.share(&file);
        Open {
            pack,
            file,
            bytes,
            capacity: bytes,
            synced: 0,
            entries,
        }
    }
}

impl Active {
    /// Goes on behind the packs that are there, of which `unsynced` may not be durable.
    pub(super) fn after(packs: &Packs, unsynced: Vec<Open>) -> Active {
        Active {
            sealed: unsynced,
            names_dirty: true,
            next: packs.newest().map_or(1, |pack| pack.id.saturating_add(1)),
            ..Active::default()
        }
    }

    /// The pack gets no more records.
    pub(super) fn seal(&mut self) {
        self.sealed.extend(self.open.take());
    }

    /// Leaves the pack in which something failed.
    pub(super) fn fail(&mut self, error: &ContentError) {
        self.seal();
        self.failure = Some(Failure {
            detail: error.to_string(),
            is_full: matches!(error, ContentError::Full),
            retry_at: Instant::now() + RETRY,
        });
    }
}

impl Shared {
    /// Writes one record at the end of the active pack; `entry` gets its offset.
    pub(super) fn write_record(
        &self,
        record: &[u8],
        mut entry: IndexEntry,
    ) -> Result<Pin, ContentError> {
        let mut active = self.active.lock();
        if active.closed {
            return Err(ContentError::Closed);
        }
        self.make_room(&mut active, record.len() as u64)?;
        let Some(open) = &mut active.open else {
            return Err(ContentError::Closed);
        };
        if let Err(error) = write_all_at(&*open.file, record, open.bytes) {
            let error = ContentError::io("write of a content")(error);
            active.fail(&error);
            return Err(error);
        }
        // A pack ends below 32 bits: `make_room` sees to it.
        entry.offset = u32::try_from(open.bytes).map_err(|_| ContentError::TooLarge)?;
        open.bytes += record.len() as u64;
        open.entries.push(entry);
        open.pack.bytes.store(open.bytes, Ordering::Release);
        let id = open.pack.id;
        let pin = self.packs.pin(id).ok_or(ContentError::Closed)?;
        self.table.put(id, &entry);
        active.failure = None;
        Ok(pin)
    }

    /// After a failure: begins a new pack, if that is possible now.
    pub(super) fn try_again(&self) {
        let mut active = self.active.lock();
        if active.failure.is_some() && !active.closed && self.make_room(&mut active, 1).is_ok() {
            active.failure = None;
        }
    }

    fn make_room(&self, active: &mut Active, bytes: u64) -> Result<(), ContentError> {
        if active
            .open
            .as_ref()
            .is_some_and(|open| open.bytes + bytes <= open.capacity)
        {
            return Ok(());
        }
        if let Some(failure) = active
            .failure
            .as_ref()
            .filter(|f| Instant::now() < f.retry_at)
        {
            return Err(if failure.is_full {
                ContentError::Full
            } else {
                let source = std::io::Error::other(failure.detail.clone());
                ContentError::Io {
                    what: "contents",
                    source,
                }
            });
        }
        active.seal();
        match self.begin_pack(active, bytes) {
            Ok(open) => {
                active.open = Some(open);
                Ok(())
            }
            Err(error) => {
                active.fail(&error);
                Err(error)
            }
        }
    }

    fn begin_pack(&self, active: &mut Active, bytes: u64) -> Result<Open, ContentError> {
        let what = "a new pack";
        let (id, capacity) = (active.next, self.pack_bytes.max(bytes));
        let name = pack_name(id);
        let file = self.storage.create(&name).map_err(ContentError::io(what))?;
        active.names_dirty = true;
        if let Err(error) = file.allocate(capacity) {
            // An empty pack is harmless, so a failed removal is too.
            let _ = self.storage.remove(&name);
            return Err(ContentError::io(what)(error));
        }
        let named = self.packs.newest().map_or(Seq(0), |pack| pack.named());
        let pack = Arc::new(Pack::new(id, 0, named));
        pack.share(&file);
        self.packs.add(Arc::clone(&pack));
        active.next = id.saturating_add(1);
        Ok(Open {
            pack,
            file,
            bytes: 0,
            capacity,
            synced: 0,
            entries: Vec::new(),
        })
    }
}
