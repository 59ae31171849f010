//! The few steps in which the catalog changes. Each locks one table at a time; the order of the steps keeps an
//! entry reachable while it moves.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::entry::{Dir, Entry, Name};
use super::{Catalog, GHOST_FROM, State};

impl Catalog {
    /// The root, which stands nowhere.
    pub(super) fn plant(&self, state: &State) {
        let key = self.key_of(&state.identity);
        let mut entry = Box::new(Entry::new(state));
        entry.dir = Some(Box::default());
        self.shard(key).lock().insert(key, entry);
    }

    /// The entry of `state` stands at `name` in `dir`; what stood there loses the name. Does nothing when `dir` is
    /// not known: the scan will come there. Gives the key.
    pub(in crate::recorder) fn put(&self, dir: u64, name: &[u8], state: &State) -> u64 {
        let key = self.key_of(&state.identity);
        if self.leaves_out(dir, name, Some(&state.identity)) {
            return key;
        }
        self.make_room(key, state);
        let name: Name = Arc::from(name);
        let before = self.with(dir, |entry| {
            let names = &mut entry.dir.as_mut()?.names;
            Some(names.insert(Arc::clone(&name), key))
        });
        let Some(Some(before)) = before else {
            return key;
        };
        if let Some(before) = before.filter(|before| *before != key) {
            self.drop_link(before, dir, &name);
        }
        let own = state.identity.dev == self.dev;
        let mut shard = self.shard(key).lock();
        let entry = shard
            .entry(key)
            .or_insert_with(|| Box::new(Entry::new(state)));
        entry.set(state);
        entry.links.add(dir, &name);
        if state.is_directory() && own && entry.dir.is_none() {
            entry.dir = Some(Box::new(Dir::default()));
        }
        key
    }

    /// Replaces the state of an entry that is known, unless another has its number by now.
    pub(in crate::recorder) fn set(&self, state: &State) {
        let key = self.key_of(&state.identity);
        self.with(key, |entry| {
            let known = entry.state();
            if known.identity == state.identity || known.unsure {
                entry.set(state);
            }
        });
    }

    /// Remembers the hash of the content of `key`, if its state is still `of`.
    pub(in crate::recorder) fn set_hash(&self, key: u64, of: &State, hash: super::Hash) {
        self.with(key, |entry| {
            if entry.state() == *of {
                entry.set(&State {
                    hash: Some(hash),
                    ..*of
                });
            }
        });
    }

    /// Nothing stands at `name` in `dir` any more.
    pub(in crate::recorder) fn remove(&self, dir: u64, name: &[u8]) {
        let key = self.with(dir, |entry| entry.dir.as_mut()?.names.remove(name));
        if let Some(Some(key)) = key {
            self.drop_link(key, dir, name);
        }
    }

    /// `key` stands at `to` instead of `from`.
    pub(in crate::recorder) fn rename(&self, key: u64, from: (u64, &[u8]), to: (u64, &[u8])) {
        let Some(state) = self.state(key) else {
            self.remove(from.0, from.1);
            self.remove(to.0, to.1);
            return;
        };
        if state.is_directory() {
            self.dir_moves.fetch_add(1, Relaxed);
        }
        // Into a directory that is not known it goes out of sight, with all that is below.
        self.put_at(key, to, &state);
        if self.child(from.0, from.1) == Some(key) {
            self.remove(from.0, from.1);
        }
    }

    /// Every name in `dir` is known.
    pub(in crate::recorder) fn set_listed(&self, dir: u64, listed: bool) {
        self.with(dir, |entry| {
            if let Some(dir) = &mut entry.dir {
                dir.listed = listed;
            }
        });
    }

    /// Both entries stand where the other stood.
    pub(in crate::recorder) fn swap(&self, one: (u64, &[u8]), other: (u64, &[u8])) {
        let (Some(first), Some(second)) = (self.child(one.0, one.1), self.child(other.0, other.1))
        else {
            self.remove(one.0, one.1);
            self.remove(other.0, other.1);
            return;
        };
        let (Some(first_state), Some(second_state)) = (self.state(first), self.state(second))
        else {
            return;
        };
        if first_state.is_directory() || second_state.is_directory() {
            self.dir_moves.fetch_add(1, Relaxed);
        }
        // The second keeps its old name until the first has taken it, so that neither is ever without one.
        self.link(second, one.0, one.1);
        self.point(one, second);
        self.point(other, first);
        self.link(first, other.0, other.1);
        self.drop_link(first, one.0, one.1);
        self.drop_link(second, other.0, other.1);
    }

    /// Links an entry already taken in from a checkpoint; `false` when its directory is not there.
    pub(super) fn place_loaded(&self, key: u64, dir: u64, name: &[u8]) -> bool {
        let name: Name = Arc::from(name);
        let before = self.with(dir, |entry| {
            let names = &mut entry.dir.as_mut()?.names;
            Some(names.insert(Arc::clone(&name), key))
        });
        let Some(Some(before)) = before else {
            return false;
        };
        // Two entries at one name: the checkpoint was taken while they changed places, and the log tells the rest.
        if let Some(before) = before.filter(|before| *before != key) {
            self.drop_link(before, dir, &name);
        }
        self.with(key, |entry| entry.links.add(dir, &name));
        true
    }

    fn put_at(&self, key: u64, to: (u64, &[u8]), state: &State) {
        if key == self.key_of(&state.identity) {
            self.put(to.0, to.1, state);
        }
    }

    fn point(&self, at: (u64, &[u8]), key: u64) {
        self.with(at.0, |entry| {
            if let Some(dir) = &mut entry.dir {
                dir.names.insert(Arc::from(at.1), key);
            }
        });
    }

    fn link(&self, key: u64, dir: u64, name: &[u8]) {
        self.with(key, |entry| entry.links.add(dir, &Arc::from(name)));
    }

    /// `key` is no longer named `name` in `dir`; without any name left it is forgotten with all that is below.
    fn drop_link(&self, key: u64, dir: u64, name: &[u8]) {
        let mut ends = vec![(key, dir, Name::from(name))];
        while let Some((key, dir, name)) = ends.pop() {
            let mut shard = self.shard(key).lock();
            let Some(entry) = shard.get_mut(&key) else {
                continue;
            };
            entry.links.remove(dir, &name);
            if !entry.links.is_empty() || key == self.root {
                continue;
            }
            let gone = shard.remove(&key);
            drop(shard);
            let below = gone.and_then(|gone| gone.dir);
            ends.extend(
                below
                    .into_iter()
                    .flat_map(|below| below.names)
                    .map(|(name, child)| (child, key, name)),
            );
        }
    }

    /// The number of an entry that went unseen has a new bearer: the old one lives on under a key of its own, until
    /// its names are found to be gone.
    fn make_room(&self, key: u64, state: &State) {
        let mut shard = self.shard(key).lock();
        let stays = shard.get(&key).is_none_or(|entry| {
            let known = entry.state();
            known.unsure
                || (known.identity == state.identity && known.kind() == state.kind())
                || key == self.root
        });
        if stays {
            return;
        }
        let Some(old) = shard.remove(&key) else {
            return;
        };
        drop(shard);
        let ghost = GHOST_FROM | self.ghosts.fetch_add(1, Relaxed);
        let children: Vec<u64> = old
            .dir
            .iter()
            .flat_map(|dir| dir.names.values().copied())
            .collect();
        let places: Vec<_> = old.links.iter().map(|(d, n)| (d, Arc::clone(n))).collect();
        self.shard(ghost).lock().insert(ghost, old);
        for child in children {
            self.with(child, |entry| entry.links.reparent(key, ghost));
        }
        for (dir, name) in places {
            self.with(dir, |entry| {
                if let Some(held) = entry.dir.as_mut().and_then(|d| d.names.get_mut(&name))
                    && *held == key
                {
                    *held = ghost;
                }
            });
        }
    }
}
