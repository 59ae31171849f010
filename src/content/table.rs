//! Which object is where: one small entry each, found by the first half of its hash. The whole hash stands in the
//! record and is compared there.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::RwLock;

use super::format::{Hash, IndexEntry, Kind};

/// Tables: enough that a growing one makes few wait.
const SHARDS: usize = 16;

/// Where an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) payload_bytes: u32,
    pub(super) kind: Kind,
}

impl Place {
    /// The place in `pack` that an entry of its index tells.
    pub(super) fn of(pack: u32, entry: &IndexEntry) -> Place {
        Place {
            pack,
            offset: entry.offset,
            payload_bytes: entry.payload_bytes,
            kind: entry.kind,
        }
    }
}

type Shard = HashMap<u128, Place, BuildHasherDefault<KeyHasher>>;

/// All objects.
#[derive(Default)]
pub(super) struct Table {
    shards: [RwLock<Shard>; SHARDS],
}

impl Table {
    pub(super) fn find(&self, hash: &Hash) -> Option<Place> {
        let key = key_of(hash);
        self.shard(key).read().get(&key).copied()
    }

    /// The newest place of an object is the one that is known.
    pub(super) fn put(&self, pack: u32, entry: &IndexEntry) {
        let place = Place::of(pack, entry);
        self.shard(entry.key).write().insert(entry.key, place);
    }

    /// Whether the object of that half of a hash is at a place of which `is` says yes.
    pub(super) fn has(&self, key: u128, is: impl Fn(&Place) -> bool) -> bool {
        self.shard(key).read().get(&key).is_some_and(is)
    }

    /// Forgets every object whose place `gone` says is gone.
    pub(super) fn forget(&self, gone: impl Fn(&Place) -> bool) {
        for shard in &self.shards {
            shard.write().retain(|_, place| !gone(place));
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.shards.iter().map(|s| s.read().len() as u64).sum()
    }

    fn shard(&self, key: u128) -> &RwLock<Shard> {
        &self.shards[(key >> 124) as usize % SHARDS]
    }
}

/// The first half of a hash.
pub(super) fn key_of(hash: &Hash) -> u128 {
    hash.first_chunk::<16>()
        .map_or(0, |half| u128::from_le_bytes(*half))
}

/// A key is a hash already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}
