//! Making contents durable, and what may wait until then: sealed packs are cut to their length and indexed.

use std::io;
use std::sync::Arc;

use super::ContentError;
use super::active::{Active, Open};
use super::format;
use super::pack::{Pack, index_name};
use super::store::{Content, Shared};
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
    synced: u64,
    is_sealed: bool,
}

impl Found {
    fn of(open: &Open, is_sealed: bool) -> Found {
        Found {
            pack: Arc::clone(&open.pack),
            file: Arc::clone(&open.file),
            bytes: open.bytes,
            synced: open.synced,
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
    /// The failed call. What was not durable is not held any more then, because nobody knows what the disk has of it.
    pub fn sync(&self) -> io::Result<()> {
        let _one = self.shared.syncing.lock();
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
            Err(error) => self.shared.lost(&files, error, names_dirty),
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

    /// The kernel may have dropped what was not durable: it is not held any more, and the packs are left.
    fn lost(&self, files: &[Found], error: &io::Error, names_dirty: bool) {
        let mut active = self.active.lock();
        active.names_dirty |= names_dirty;
        let what = format!("sync of the contents: {error}");
        active.fail(&ContentError::Io {
            what: "sync of the contents",
            source: io::Error::new(error.kind(), what),
        });
        let sealed = active.sealed.iter().map(|s| (s.pack.id, s.synced));
        let found = files.iter().map(|file| (file.pack.id, file.synced));
        let lost: Vec<(u32, u64)> = sealed.chain(found).collect();
        active.sealed.clear();
        self.table.forget(|place| {
            let pack = lost.iter().find(|(id, _)| *id == place.pack);
            pack.is_some_and(|(_, synced)| u64::from(place.offset) >= *synced)
        });
    }
}
