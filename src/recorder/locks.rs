//! Who waits for whom: the tree (shared by all, exclusive for a directory that moves) and stripes keyed by inode.

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Stripes: enough that two busy sessions seldom share one, few enough to stay in the cache.
const STRIPES: usize = 256;
/// Most entries one change touches: two directories, the moved entry and the replaced one.
pub(super) const KEYS_MAX: usize = 4;

/// How a change holds the shape of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tree {
    /// Paths stay as they are.
    #[default]
    Shared,
    /// A directory moves, and with it the path of everything below.
    Exclusive,
}

/// What a change must hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// How it holds the tree.
    pub tree: Tree,
    /// Inodes it touches.
    pub keys: [Option<u64>; KEYS_MAX],
}

impl Scope {
    /// Holds `keys` (at most four) with the tree shared.
    #[must_use]
    pub fn of(keys: &[u64]) -> Scope {
        debug_assert!(keys.len() <= KEYS_MAX);
        let mut scope = Scope::default();
        for (slot, key) in scope.keys.iter_mut().zip(keys) {
            *slot = Some(*key);
        }
        scope
    }
}

/// The locks themselves.
pub(super) struct Locks {
    tree: RwLock<()>,
    stripes: [Mutex<()>; STRIPES],
    /// For who bears an inode number: taken after the stripes by an observer, for what it saw, and by a change that
    /// has just made an entry, whose number nobody could name before. A number is reused at once, so without it an
    /// observer could put the entry that bore it last in the place of the new one.
    bearers: [Mutex<()>; STRIPES],
}

/// Held until dropped.
pub(super) type Bearers<'a> = [Option<MutexGuard<'a, ()>>; KEYS_MAX];

impl Default for Locks {
    fn default() -> Locks {
        Locks {
            tree: RwLock::new(()),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            bearers: std::array::from_fn(|_| Mutex::new(())),
        }
    }
}

/// Held until dropped.
pub(super) enum Held<'a> {
    Shared {
        _stripes: [Option<MutexGuard<'a, ()>>; KEYS_MAX],
        _tree: RwLockReadGuard<'a, ()>,
    },
    Exclusive {
        _tree: RwLockWriteGuard<'a, ()>,
    },
}

impl Locks {
    /// Keeps the numbers `keys` from getting another bearer in the catalog. Taken last of all locks but the log's.
    pub(super) fn bearers(&self, keys: [Option<u64>; KEYS_MAX]) -> Bearers<'_> {
        take(&self.bearers, keys)
    }

    /// Takes what `scope` names: the tree, then the stripes in rising order and each once, so that no two changes
    /// can wait for each other.
    pub(super) fn hold(&self, scope: &Scope) -> Held<'_> {
        if scope.tree == Tree::Exclusive {
            return Held::Exclusive {
                _tree: self.tree.write(),
            };
        }
        let tree = self.tree.read();
        let stripes = take(&self.stripes, scope.keys);
        Held::Shared {
            _stripes: stripes,
            _tree: tree,
        }
    }
}

/// The stripes of `keys`, in rising order and each once.
fn take(stripes: &[Mutex<()>; STRIPES], keys: [Option<u64>; KEYS_MAX]) -> Bearers<'_> {
    let mut wanted = keys.map(|key| key.map_or(STRIPES, stripe_of));
    wanted.sort_unstable();
    let mut taken = [const { None }; KEYS_MAX];
    let mut before = STRIPES;
    for (slot, stripe) in taken.iter_mut().zip(wanted) {
        if stripe != before && stripe != STRIPES {
            *slot = Some(stripes[stripe].lock());
        }
        before = stripe;
    }
    taken
}

/// Inode numbers of neighbours are neighbours; a multiplication spreads them.
fn stripe_of(key: u64) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    (key.wrapping_mul(GOLDEN_RATIO) >> 56) as usize % STRIPES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[test]
    fn the_same_stripe_twice_is_taken_once() {
        let locks = Locks::default();
        drop(locks.hold(&Scope::of(&[7, 7, 7, 7])));
        drop(locks.hold(&Scope::of(&[])));
    }

    #[test]
    fn crossing_scopes_exclude_each_other_and_end() {
        let locks = Arc::new(Locks::default());
        let inside = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..4u64)
            .map(|n| {
                let (locks, inside) = (Arc::clone(&locks), Arc::clone(&inside));
                std::thread::spawn(move || {
                    for round in 0..2000u64 {
                        let mut scope = Scope::of(&[n, 99, (n + round) % 4]);
                        if round % 50 == 0 {
                            scope.tree = Tree::Exclusive;
                        }
                        let held = locks.hold(&scope);
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                        drop(held);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
}
