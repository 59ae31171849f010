//! Making contents durable, and what may wait until then: sealed packs are cut to their length and indexed.

use std::io;
use std::sync::Arc;

use super::ContentError;
use super::active::{Active, Open};
use super::format::{self, HEADER_BYTES, Header, IndexEntry};
use super::pack::{Pack, index_name};
use super::store::{Content, Shared, fill};
use super::table::{Place, key_of};
use crate::disk::{StoredFile, write_all_at};
use crate::event::Seq;

/// File of the checkpoint, and its name while it is written.
pub(super) const NAMES: &str = "names";
const NAMES_NEW: &str = "names.new";

/// A pack as a sync found it.
struct Found {
    pack: Arc<Pack>,
    file: Arc<dyn StoredFile>,
    bytes: u64,
    is_sealed: bool,
}

impl Found {
    fn of(open: &Open, is_sealed: bool) -> Found {
        Found {
            pack: Arc::clone(&open.pack),
            file: Arc::clone(&open.file),
            bytes: open.bytes,
            is_sealed,
        }
    }
}

impl Active {
    /// The packs that have anything a power loss would take.
    fn unsynced(&self) -> Vec<Found> {
        let sealed = self.sealed.iter().map(|sealed| Found::of(sealed, true));
        let open = self.open.iter().filter(|open| open.bytes > open.synced);
        sealed
            .chain(open.map(|open| Found::of(open, false)))
            .collect()
    }
}

impl Content {
    /// Makes everything that is held durable; quick when nothing is new.
    ///
    /// # Errors
    /// The failed call. Nobody knows what the disk then has of what was not durable: it is written again before the
    /// next sync, and only what cannot be read any more is lost.
    pub fn sync(&self) -> io::Result<()> {
        let _one = self.shared.syncing.lock();
        self.shared.rewrite_doubtful()?;
        let mut active = self.shared.active.lock();
        let files = active.unsynced();
        let names_dirty = std::mem::take(&mut active.names_dirty);
        drop(active);
        if files.is_empty() && !names_dirty {
            return Ok(());
        }
        let outcome = self.shared.sync_files(&files, names_dirty);
        match &outcome {
            Ok(()) => self.shared.synced(&files),
            Err(error) => self.shared.doubt(error, names_dirty),
        }
        outcome
    }

    /// Saves what each pack is named by, as of the event `seq`: all events up to it have been told by
    /// [`Content::named`], so that a start needs to tell only later ones.
    ///
    /// # Errors
    /// The failed call; the checkpoint before stays.
    pub fn save(&self, seq: Seq) -> io::Result<()> {
        let mut saved = self.shared.syncing.lock();
        self.shared.save_names(seq)?;
        *saved = seq;
        Ok(())
    }
}

impl Shared {
    pub(super) fn save_names(&self, seq: Seq) -> io::Result<()> {
        let packs = self.packs.all();
        let packs: Vec<_> = packs.iter().map(|p| (u64::from(p.id), p.named())).collect();
        self.write_file(NAMES_NEW, &format::names(seq, &packs))?;
        self.storage.rename(NAMES_NEW, NAMES)
    }

    fn sync_files(&self, files: &[Found], names_dirty: bool) -> io::Result<()> {
        for file in files {
            if file.is_sealed
                && let Err(error) = file.file.truncate(file.bytes)
            {
                // The tail is zero bytes: leaving them costs space and nothing else.
                log::warn!(
                    "content: pack {} keeps its blank tail: {error}",
                    file.pack.id
                );
            }
            file.file.sync()?;
        }
        if names_dirty {
            self.storage.sync()?;
        }
        Ok(())
    }

    fn synced(&self, files: &[Found]) {
        let mut active = self.active.lock();
        if let Some(open) = &mut active.open
            && let Some(done) = files.iter().find(|file| file.pack.id == open.pack.id)
        {
            open.synced = done.bytes;
        }
        // One that was open a moment ago and is sealed now may have got more since.
        let done = |sealed: &Open| {
            let synced = files.iter().find(|file| file.pack.id == sealed.pack.id);
            synced.is_some_and(|file| file.is_sealed)
        };
        let sealed = std::mem::take(&mut active.sealed).into_iter();
        let (ended, left): (Vec<_>, Vec<_>) = sealed.partition(done);
        active.sealed = left;
        drop(active);
        for sealed in ended {
            self.write_index(&sealed);
        }
    }

    /// The index is derived: without it the next start reads the pack.
    fn write_index(&self, sealed: &Open) {
        let index = format::index(sealed.bytes, &sealed.entries);
        if let Err(error) = self.write_file(&index_name(sealed.pack.id), &index) {
            log::warn!("content: pack {} has no index: {error}", sealed.pack.id);
        }
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.storage.create(name)?;
        file.allocate(bytes.len() as u64)?;
        write_all_at(&*file, bytes, 0)?;
        file.sync()
    }

    /// The kernel may have dropped what was not durable, and would not say so again: the packs are left.
    fn doubt(&self, error: &io::Error, names_dirty: bool) {
        let mut active = self.active.lock();
        active.names_dirty |= names_dirty;
        let what = format!("sync of the contents: {error}");
        active.fail(&ContentError::Io {
            what: "sync of the contents",
            source: io::Error::new(error.kind(), what),
        });
        let left = std::mem::take(&mut active.sealed);
        active.doubtful.extend(left);
    }

    /// Writes what is in doubt again, into a pack that nothing is wrong with: until that is done nothing is durable.
    fn rewrite_doubtful(&self) -> io::Result<()> {
        let mut doubtful = std::mem::take(&mut self.active.lock().doubtful);
        while let Some(left) = doubtful.last_mut() {
            while let Some(entry) = left.entries.pop() {
                if let Err(error) = self.rewrite(left, entry) {
                    left.entries.push(entry);
                    self.active.lock().doubtful.append(&mut doubtful);
                    return Err(io::Error::other(error.to_string()));
                }
            }
            doubtful.pop();
        }
        Ok(())
    }

    /// Writes one object again. What cannot be read as it was written is not held any more.
    fn rewrite(&self, left: &Open, entry: IndexEntry) -> Result<(), ContentError> {
        let here = Place::of(left.pack.id, &entry);
        let is_here = |place: &Place| *place == here;
        if u64::from(entry.offset) < left.synced || !self.table.has(entry.key, is_here) {
            return Ok(());
        }
        let mut record = vec![0; HEADER_BYTES + entry.payload_bytes as usize];
        let read = fill(&*left.file, &mut record, u64::from(entry.offset));
        let whole = read.is_ok()
            && Header::read(&record).is_some_and(|header| {
                key_of(&header.hash) == entry.key && header.payload(&record).is_some()
            });
        if !whole {
            log::warn!(
                "content: pack {}: an object at byte {} was lost with a failed sync",
                left.pack.id,
                entry.offset
            );
            self.table.forget(is_here);
            return Ok(());
        }
        let pin = self.write_record(&record, entry)?;
        pin.pack().name(left.pack.named());
        Ok(())
    }
}
