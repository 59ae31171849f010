//! The contents as their users see them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ContentError;
use super::active::Active;
use super::format::{HEADER_BYTES, Hash, Header, IndexEntry, Kind, pieces};
use super::pack::{Packs, Pin, shown};
use super::recovery::{self, Opened};
use super::table::{Place, Table, key_of};
use crate::disk::Storage;
use crate::event::{HASH_BYTES, Seq};

/// Largest piece of an object that is one record.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Largest object: it passes through memory as a whole.
pub const OBJECT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an owner may choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Size of a pack in bytes; taken as the nearest of [`super::PACK_BYTES_MIN`] to [`super::PACK_BYTES_MAX`].
    pub pack_bytes: u64,
}

/// Figures for `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContentStats {
    /// Records: objects, and pieces of large ones.
    pub objects: u64,
    /// Bytes of all records.
    pub bytes: u64,
    /// Files.
    pub packs: u64,
}

/// Open contents. Clones are handles of the same ones. Dropped without [`Content::close`] they end as in a crash.
#[derive(Clone)]
pub struct Content {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) storage: Box<dyn Storage>,
    pub(super) pack_bytes: u64,
    pub(super) packs: Packs,
    pub(super) table: Table,
    pub(super) active: Mutex<Active>,
    /// Held by the one who syncs, saves or removes; up to which event the names are saved.
    pub(super) syncing: Mutex<Seq>,
}

/// An object that is held, and stays at least until this is dropped: the event that names it is written meanwhile.
pub struct Kept {
    hash: Hash,
    pins: Vec<Pin>,
}

impl Kept {
    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The event `seq` names it.
    pub fn named(self, seq: Seq) {
        for pin in &self.pins {
            pin.pack().name(seq);
        }
    }
}

impl Content {
    /// Opens the contents in `storage`, or begins there, by the rule in `recovery`.
    ///
    /// # Errors
    /// [`ContentError::Io`] when the directory cannot be read. Damaged packs are no reason to refuse.
    pub fn open(
        storage: Box<dyn Storage>,
        options: Options,
    ) -> Result<(Content, Opened), ContentError> {
        let pack_bytes = super::active::within_limits(options.pack_bytes);
        let (packs, table) = (Packs::default(), Table::default());
        let (opened, unsynced) = recovery::open(&*storage, &packs, &table)?;
        let active = Active::after(&packs, unsynced);
        let shared = Arc::new(Shared {
            storage,
            pack_bytes,
            packs,
            table,
            active: Mutex::new(active),
            syncing: Mutex::new(opened.named_up_to),
        });
        Ok((Content { shared }, opened))
    }

    /// Keeps `bytes`, unless they are held already. When it returns, every reader can have them.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`], [`ContentError::Full`], [`ContentError::Closed`], or the failed write.
    pub fn keep(&self, bytes: &[u8]) -> Result<Kept, ContentError> {
        if bytes.len() > OBJECT_BYTES_MAX {
            return Err(ContentError::TooLarge);
        }
        let hash = *blake3::hash(bytes).as_bytes();
        if let Some(kept) = self.recent(&hash) {
            return Ok(kept);
        }
        if bytes.len() <= CHUNK_BYTES {
            let pin = self.shared.append(Kind::Whole, &hash, bytes.len(), bytes)?;
            return Ok(Kept {
                hash,
                pins: vec![pin],
            });
        }
        let mut manifest = Vec::with_capacity(bytes.len().div_ceil(CHUNK_BYTES) * HASH_BYTES);
        // One pin for each pack, however many pieces are in it.
        let mut pins = BTreeMap::new();
        for piece in bytes.chunks(CHUNK_BYTES) {
            let kept = self.keep(piece)?;
            manifest.extend_from_slice(&kept.hash);
            pins.extend(kept.pins.into_iter().map(|pin| (pin.pack().id, pin)));
        }
        let pin = self
            .shared
            .append(Kind::Manifest, &hash, bytes.len(), &manifest)?;
        pins.insert(pin.pack().id, pin);
        Ok(Kept {
            hash,
            pins: pins.into_values().collect(),
        })
    }

    /// Pins an object that is held and not about to grow old.
    fn recent(&self, hash: &Hash) -> Option<Kept> {
        let place = self.shared.table.find(hash)?;
        if self.shared.packs.is_old(&place) {
            return None;
        }
        self.held(hash)
    }

    /// Pins an object that is held; `None` when it is not.
    #[must_use]
    pub fn held(&self, hash: &Hash) -> Option<Kept> {
        let place = self.shared.table.find(hash)?;
        let mut pins = vec![self.shared.packs.pin(place.pack)?];
        if place.kind == Kind::Manifest {
            for piece in self.shared.pieces_of(hash, &place)? {
                let place = self.shared.table.find(&piece)?;
                if pins.iter().all(|pin| pin.pack().id != place.pack) {
                    pins.push(self.shared.packs.pin(place.pack)?);
                }
            }
        }
        Some(Kept { hash: *hash, pins })
    }

    /// Says that the event `seq` names an object; nothing happens when it is not held.
    pub fn named(&self, hash: &Hash, seq: Seq) {
        if let Some(kept) = self.held(hash) {
            kept.named(seq);
        }
    }

    /// The bytes of an object, compared with their checksum and their hash; `None` when it is not held.
    ///
    /// # Errors
    /// [`ContentError::Damaged`] when they are not what was kept, [`ContentError::Io`] when they cannot be read.
    pub fn read(&self, hash: &Hash) -> Result<Option<Vec<u8>>, ContentError> {
        let Some(place) = self.shared.table.find(hash) else {
            return Ok(None);
        };
        let Some((header, payload)) = self.shared.record(hash, &place)? else {
            return Ok(None);
        };
        let bytes = match header.kind {
            Kind::Whole => payload,
            Kind::Manifest => match self.assemble(&header, &payload)? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        if blake3::hash(&bytes).as_bytes() != hash {
            let detail = format!("{} has other bytes", shown(hash));
            return Err(ContentError::Damaged { detail });
        }
        Ok(Some(bytes))
    }

    fn assemble(&self, header: &Header, payload: &[u8]) -> Result<Option<Vec<u8>>, ContentError> {
        let damaged = || ContentError::Damaged {
            detail: format!("{}: its list of pieces", shown(&header.hash)),
        };
        let hashes = pieces(payload).ok_or_else(damaged)?;
        let room = usize::try_from(header.object_bytes).map_err(|_| damaged())?;
        let mut bytes = Vec::with_capacity(room.min(OBJECT_BYTES_MAX));
        for piece in hashes {
            match self.shared.table.find(&piece) {
                Some(place) if place.kind == Kind::Whole => {}
                Some(_) => return Err(damaged()),
                None => return Ok(None),
            }
            let Some(piece) = self.read(&piece)? else {
                return Ok(None);
            };
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }

    /// Bytes of all records.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.packs.bytes()
    }

    /// Figures for `status`.
    #[must_use]
    pub fn stats(&self) -> ContentStats {
        ContentStats {
            objects: self.shared.table.len(),
            bytes: self.bytes(),
            packs: self.shared.packs.len(),
        }
    }

    /// Why nothing can be kept at present, if so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let active = self.shared.active.lock();
        active
            .failure
            .as_ref()
            .map(|failure| failure.detail.clone())
    }

    /// Ends in order: nothing is kept any more, everything is durable.
    ///
    /// # Errors
    /// The failed call.
    pub fn close(&self) -> io::Result<()> {
        let mut active = self.shared.active.lock();
        let closed = std::mem::replace(&mut active.closed, true);
        active.seal();
        drop(active);
        if closed { Ok(()) } else { self.sync() }
    }
}

impl Shared {
    /// The record of an object; `None` when its pack has gone, or when it is another of the same half of a hash.
    pub(super) fn record(
        &self,
        hash: &Hash,
        place: &Place,
    ) -> Result<Option<(Header, Vec<u8>)>, ContentError> {
        let Some(pack) = self.packs.get(place.pack) else {
            return Ok(None);
        };
        let what = "read of a pack";
        let file = match pack.file(&*self.storage) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ContentError::io(what)(error)),
        };
        let mut record = vec![0; HEADER_BYTES + place.payload_bytes as usize];
        let read =
            fill(&*file, &mut record, u64::from(place.offset)).map_err(ContentError::io(what))?;
        record.truncate(read);
        let damaged = |how: &str| ContentError::Damaged {
            detail: format!(
                "{} in pack {} at byte {}: {how}",
                shown(hash),
                pack.id,
                place.offset
            ),
        };
        let header = Header::read(&record).ok_or_else(|| damaged("no record"))?;
        if header.payload_bytes != place.payload_bytes || header.kind != place.kind {
            return Err(damaged("another record"));
        }
        if header.payload(&record).is_none() {
            return Err(damaged("fails its checksum"));
        }
        if header.hash != *hash {
            return Ok(None);
        }
        record.drain(..HEADER_BYTES);
        Ok(Some((header, record)))
    }

    /// The pieces of a large object; `None` when its list cannot be read.
    fn pieces_of(&self, hash: &Hash, place: &Place) -> Option<Vec<Hash>> {
        let (_, payload) = self.record(hash, place).ok()??;
        pieces(&payload)
    }

    /// Writes a record and lets everyone find it.
    fn append(
        &self,
        kind: Kind,
        hash: &Hash,
        object_bytes: usize,
        payload: &[u8],
    ) -> Result<Pin, ContentError> {
        let header = Header {
            kind,
            // Neither a piece nor a list of pieces is near the limit.
            payload_bytes: u32::try_from(payload.len()).map_err(|_| ContentError::TooLarge)?,
            object_bytes: object_bytes as u64,
            hash: *hash,
        };
        let mut record = Vec::with_capacity(header.record_bytes());
        header.write(payload, &mut record);
        let entry = IndexEntry {
            key: key_of(hash),
            offset: 0,
            payload_bytes: header.payload_bytes,
            kind,
        };
        self.write_record(&record, entry)
    }
}

/// Reads until the buffer is full or the file ends; gives the count.
pub(super) fn fill(
    file: &dyn crate::disk::StoredFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}
