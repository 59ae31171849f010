//! One pack: its file, who names it, and who keeps it from going.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::format::Hash;
use super::table::Place;
use crate::disk::{Storage, StoredFile};
use crate::event::Seq;

const NAME_DIGITS: usize = 20;
const PACK_SUFFIX: &str = ".pack";
const INDEX_SUFFIX: &str = ".index";

/// The file name of pack `id`.
pub(super) fn pack_name(id: u32) -> String {
    format!("{id:0NAME_DIGITS$}{PACK_SUFFIX}")
}

/// The file name of its index.
pub(super) fn index_name(id: u32) -> String {
    format!("{id:0NAME_DIGITS$}{INDEX_SUFFIX}")
}

/// The pack a file name is of; `None` when it is none of a pack.
pub(super) fn pack_id(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(PACK_SUFFIX)?;
    let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// A file of records.
pub(super) struct Pack {
    pub(super) id: u32,
    /// Bytes of its records.
    pub(super) bytes: AtomicU64,
    /// The last event that names anything in it.
    pub(super) named: AtomicU64,
    pins: AtomicU32,
    opened: Mutex<Option<Weak<dyn StoredFile>>>,
}

impl Pack {
    pub(super) fn new(id: u32, bytes: u64, named: Seq) -> Pack {
        Pack {
            id,
            bytes: AtomicU64::new(bytes),
            named: AtomicU64::new(named.0),
            pins: AtomicU32::new(0),
            opened: Mutex::new(None),
        }
    }

    pub(super) fn name(&self, seq: Seq) {
        self.named.fetch_max(seq.0, Ordering::AcqRel);
    }

    pub(super) fn named(&self) -> Seq {
        Seq(self.named.load(Ordering::Acquire))
    }

    pub(super) fn share(&self, file: &Arc<dyn StoredFile>) {
        *self.opened.lock() = Some(Arc::downgrade(file));
    }

    /// Its file, opened when nobody has it open.
    pub(super) fn file(&self, storage: &dyn Storage) -> io::Result<Arc<dyn StoredFile>> {
        if let Some(file) = self.opened.lock().as_ref().and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = storage.open(&pack_name(self.id))?;
        self.share(&file);
        Ok(file)
    }
}

/// Keeps a pack from going until dropped.
pub(super) struct Pin(Arc<Pack>);

impl Pin {
    pub(super) fn pack(&self) -> &Pack {
        &self.0
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::AcqRel);
    }
}

/// All packs, by their number; the newest is the active one.
#[derive(Default)]
pub(super) struct Packs {
    map: RwLock<BTreeMap<u32, Arc<Pack>>>,
    /// Packs below this number are the older half.
    old_below: AtomicU32,
}

/// Packs from which on some count as old: with fewer, none stays long for the sake of one object.
const HALVES_FROM: usize = 4;

impl Packs {
    pub(super) fn add(&self, pack: Arc<Pack>) {
        let mut packs = self.map.write();
        packs.insert(pack.id, pack);
        self.halve(&packs);
    }

    fn halve(&self, packs: &BTreeMap<u32, Arc<Pack>>) {
        let half = packs.keys().nth(packs.len() / 2).copied();
        let below = half.filter(|_| packs.len() >= HALVES_FROM).unwrap_or(0);
        self.old_below.store(below, Ordering::Release);
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Pack>> {
        self.map.read().get(&id).cloned()
    }

    /// Pins a pack; `None` when it has gone.
    pub(super) fn pin(&self, id: u32) -> Option<Pin> {
        let packs = self.map.read();
        let pack = packs.get(&id)?;
        pack.pins.fetch_add(1, Ordering::AcqRel);
        Some(Pin(Arc::clone(pack)))
    }

    /// Whether the pack lies in the older half of all: what is kept again goes to a newer one, so that no old pack
    /// stays for the sake of one object that is always there.
    pub(super) fn is_old(&self, place: &Place) -> bool {
        place.pack < self.old_below.load(Ordering::Acquire)
    }

    pub(super) fn all(&self) -> Vec<Arc<Pack>> {
        self.map.read().values().cloned().collect()
    }

    pub(super) fn newest(&self) -> Option<Arc<Pack>> {
        self.map.read().values().next_back().cloned()
    }

    /// Takes a pack out, unless it is pinned or the newest.
    pub(super) fn take(&self, id: u32) -> bool {
        let mut packs = self.map.write();
        let newest = packs.keys().next_back() == Some(&id);
        let free = packs
            .get(&id)
            .is_some_and(|pack| pack.pins.load(Ordering::Acquire) == 0);
        if newest || !free {
            return false;
        }
        packs.remove(&id);
        self.halve(&packs);
        true
    }

    /// Bytes of records in all of them.
    pub(super) fn bytes(&self) -> u64 {
        let packs = self.map.read();
        packs
            .values()
            .map(|p| p.bytes.load(Ordering::Acquire))
            .sum()
    }

    pub(super) fn len(&self) -> u64 {
        self.map.read().len() as u64
    }
}

/// For messages: the first digits of a hash.
pub(super) fn shown(hash: &Hash) -> String {
    hash.iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
