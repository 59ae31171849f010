//! The expected state of every entry of the storage, so that a difference on the disk can be told from our own work.
//!
//! Entries are keyed by inode, not by path: a directory that moves takes what is below along, and hard links are
//! natural. What is here is derived from the log and the disk; it is saved only to start faster.
//!
//! Whoever changes it holds the recorder's locks of the entries concerned; the mutexes here only keep the tables
//! whole. They are leaves of the lock order: one at a time, for a few instructions, with nothing taken under them.
//! Never here: a system call, except in `checkpoint`.

mod checkpoint;
mod entry;
mod format;
mod replay;
mod state;
mod table;

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::backing::{Attr, Identity};
use crate::event::Seq;

pub use checkpoint::Start;
use entry::Entry;
pub use state::{Difference, Hash, State};

/// Tables: enough that two sessions seldom meet and that the growth of one is short.
const SHARDS: usize = 64;
/// Deepest place that is followed up to the root: no path a program can use goes deeper.
const DEPTH_MAX: usize = 4096;
/// Keys from here on are not inode numbers of the storage's own filesystem.
const FOREIGN_FROM: u64 = 1 << 63;
/// Keys from here on stand for entries whose inode number has a new bearer.
const GHOST_FROM: u64 = FOREIGN_FROM | 1 << 62;

/// One table.
type Shard = std::collections::HashMap<u64, Box<Entry>, BuildHasherDefault<KeyHasher>>;

/// All entries.
pub struct Catalog {
    shards: [Mutex<Shard>; SHARDS],
    root: u64,
    dev: u64,
    reserved: Vec<u8>,
    state_dir: Option<Identity>,
    ghosts: AtomicU64,
    dir_moves: AtomicU64,
}

/// How much is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CatalogStats {
    /// Directories, the root among them.
    pub directories: u64,
    /// All else.
    pub files: u64,
    /// Entries whose attributes are to be read from the disk yet.
    pub unsure: u64,
    /// Files whose content's hash is known.
    pub hashed: u64,
}

impl Catalog {
    /// A catalog that knows nothing but the storage's root. Never in it: the name `reserved` in the root, and the
    /// state directory wherever it stands.
    #[must_use]
    pub fn new(root: &Attr, reserved: &[u8], state_dir: Option<Identity>) -> Catalog {
        let catalog = Catalog {
            shards: std::array::from_fn(|_| Mutex::default()),
            root: root.identity.ino,
            dev: root.identity.dev,
            reserved: reserved.to_vec(),
            state_dir,
            ghosts: AtomicU64::new(0),
            dir_moves: AtomicU64::new(0),
        };
        catalog.plant(&State::of(root, None, Seq(0)));
        catalog
    }

    /// Key of the storage's root.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Device of the storage's own filesystem.
    #[must_use]
    pub fn dev(&self) -> u64 {
        self.dev
    }

    /// What an entry is keyed by: its inode number on the storage's own filesystem.
    #[must_use]
    pub fn key_of(&self, identity: &Identity) -> u64 {
        if identity.dev == self.dev {
            return identity.ino;
        }
        let mixed = mix(identity.dev) ^ mix(identity.ino.rotate_left(32));
        FOREIGN_FROM | (mixed & !GHOST_FROM)
    }

    /// Whether this place is none of the catalog's business.
    #[must_use]
    pub fn leaves_out(&self, dir: u64, name: &[u8], identity: Option<&Identity>) -> bool {
        (dir == self.root && name == self.reserved)
            || identity.is_some_and(|identity| self.state_dir.as_ref() == Some(identity))
    }

    /// What stands at `name` in the directory `dir`.
    #[must_use]
    pub fn child(&self, dir: u64, name: &[u8]) -> Option<u64> {
        self.with(dir, |entry| entry.dir.as_ref()?.names.get(name).copied())?
    }

    /// The expected state of `key`.
    #[must_use]
    pub fn state(&self, key: u64) -> Option<State> {
        self.with(key, |entry| entry.state())
    }

    /// Names in the directory `dir` with their keys, in no order.
    #[must_use]
    pub fn names(&self, dir: u64) -> Vec<(Vec<u8>, u64)> {
        let names = self.with(dir, |entry| {
            let dir = entry.dir.as_ref()?;
            Some(dir.names.iter().map(|(n, k)| (n.to_vec(), *k)).collect())
        });
        names.flatten().unwrap_or_default()
    }

    /// The directories and names at which `key` stands.
    #[must_use]
    pub fn places(&self, key: u64) -> Vec<(u64, Vec<u8>)> {
        self.with(key, |entry| {
            entry.links.iter().map(|(d, n)| (d, n.to_vec())).collect()
        })
        .unwrap_or_default()
    }

    /// Path of `key` by its first name; `.` for the root; `None` for one that is not known.
    #[must_use]
    pub fn path(&self, key: u64) -> Option<Vec<u8>> {
        let components = self.components(key)?;
        if components.is_empty() {
            return Some(b".".to_vec());
        }
        Some(components.join(&b'/'))
    }

    /// The names that lead from the root to `key`.
    pub(super) fn components(&self, key: u64) -> Option<Vec<Vec<u8>>> {
        let mut components = Vec::new();
        let mut at = key;
        while at != self.root {
            if components.len() >= DEPTH_MAX {
                return None;
            }
            let (dir, name) = self.with(at, |entry| {
                let (dir, name) = entry.links.iter().next()?;
                Some((dir, name.to_vec()))
            })??;
            components.push(name);
            at = dir;
        }
        components.reverse();
        Some(components)
    }

    /// Whether every name in `dir` is known, so that an unknown one has come since.
    #[must_use]
    pub fn is_listed(&self, dir: u64) -> bool {
        self.with(dir, |entry| entry.dir.as_ref().is_some_and(|d| d.listed))
            .unwrap_or(false)
    }

    /// Whether what was read at `name` in `dir` (`None`: nothing stands there) differs from what is known. Takes no
    /// lock of the recorder, so its answer is a reason to observe and nothing more.
    #[must_use]
    pub fn differs(&self, dir: u64, name: &[u8], found: Option<&Attr>) -> bool {
        let known = match self.child(dir, name) {
            None => None,
            Some(key) => match self.state(key) {
                // Its inode number is just getting a new bearer.
                None => return true,
                known => known,
            },
        };
        match (known, found) {
            (None, None) => false,
            (Some(_), None) => true,
            (_, Some(attr)) if self.leaves_out(dir, name, Some(&attr.identity)) => false,
            (None, Some(_)) => true,
            (Some(state), Some(attr)) => {
                state.unsure || !state.is_of(attr) || !state.difference(attr).is_none()
            }
        }
    }

    /// Figures for `status`; walks all tables.
    #[must_use]
    pub fn stats(&self) -> CatalogStats {
        let mut stats = CatalogStats::default();
        for shard in &self.shards {
            for entry in shard.lock().values() {
                let state = entry.state();
                *if state.is_directory() {
                    &mut stats.directories
                } else {
                    &mut stats.files
                } += 1;
                stats.unsure += u64::from(state.unsure);
                stats.hashed += u64::from(state.hash.is_some());
            }
        }
        stats
    }

    /// Directories moved so far: what was read of places before and after may not fit together.
    pub(super) fn dir_moves(&self) -> u64 {
        self.dir_moves.load(Relaxed)
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        &self.shards[(mix(key) >> 32) as usize % SHARDS]
    }

    fn with<T>(&self, key: u64, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.shard(key)
            .lock()
            .get_mut(&key)
            .map(|entry| look(entry))
    }
}

/// Spreads inode numbers, whose neighbours are neighbours.
fn mix(key: u64) -> u64 {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = key.wrapping_mul(GOLDEN_RATIO);
    mixed ^ (mixed >> 29)
}

/// Hashes keys, which nobody chooses freely.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = mix(mix(key));
    }
}
