//! Where to look: names that the watcher told of, each once, in the order in which they were first told. Bounded: a
//! queue that would grow past its limit is thrown away for one flag, "look everywhere".

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Names that wait. Past this a scan of everything is cheaper than the memory, and the flag says the same.
pub(super) const HINTS_MAX: usize = 64 * 1024;

/// One place to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hint {
    pub(super) dir: u64,
    pub(super) name: Vec<u8>,
    /// When it was first told.
    pub(super) told: Instant,
    /// What stood there was moved away and may turn up elsewhere.
    pub(super) moved_away: bool,
}

/// What waited at one moment.
#[derive(Default, Debug)]
pub(super) struct Batch {
    /// In the order of their first telling.
    pub(super) hints: Vec<Hint>,
    /// More was told than was kept: look everywhere.
    pub(super) overflow: bool,
    /// The latest barrier that came through the queue before all that is still in it.
    pub(super) barrier: Option<u64>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.hints.is_empty() && !self.overflow && self.barrier.is_none()
    }
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    places: HashMap<(u64, Vec<u8>), usize>,
    ended: bool,
}

/// The queue between the watcher's thread and the one that looks.
#[derive(Default)]
pub(super) struct Hints {
    queue: Mutex<Queue>,
    came: Condvar,
}

impl Hints {
    /// Something happened to `name` in `dir`.
    pub(super) fn push(&self, dir: u64, name: Vec<u8>, moved_away: bool) {
        let mut queue = self.queue.lock();
        let Queue { batch, places, .. } = &mut *queue;
        if batch.overflow {
            // Everything is going to be looked at, this too.
            return;
        }
        match places.entry((dir, name)) {
            Entry::Occupied(known) => batch.hints[*known.get()].moved_away |= moved_away,
            Entry::Vacant(_) if batch.hints.len() >= HINTS_MAX => {
                drop(queue);
                return self.overflow();
            }
            Entry::Vacant(free) => {
                let name = free.key().1.clone();
                free.insert(batch.hints.len());
                batch.hints.push(Hint {
                    dir,
                    name,
                    told: Instant::now(),
                    moved_away,
                });
            }
        }
        drop(queue);
        self.came.notify_one();
    }

    /// More was told than could be kept.
    pub(super) fn overflow(&self) {
        let mut queue = self.queue.lock();
        queue.batch.overflow = true;
        queue.batch.hints = Vec::new();
        queue.places = HashMap::new();
        drop(queue);
        self.came.notify_one();
    }

    /// The barrier `number` has come through: all that was told before it waits here or has been taken.
    pub(super) fn barrier(&self, number: u64) {
        let mut queue = self.queue.lock();
        queue.batch.barrier = queue.batch.barrier.max(Some(number));
        drop(queue);
        self.came.notify_one();
    }

    /// Lets takers return.
    pub(super) fn end(&self) {
        self.queue.lock().ended = true;
        self.came.notify_all();
    }

    /// All that waits, as soon as anything does; empty after `longest`; `None` at the end.
    pub(super) fn take(&self, longest: Duration) -> Option<Batch> {
        let end = Instant::now() + longest;
        let mut queue = self.queue.lock();
        while queue.batch.is_empty() && !queue.ended {
            if self.came.wait_until(&mut queue, end).timed_out() {
                break;
            }
        }
        queue.places = HashMap::new();
        let batch = std::mem::take(&mut queue.batch);
        (!queue.ended).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_waits_once_and_keeps_its_place() {
        let hints = Hints::default();
        hints.push(1, b"a".to_vec(), false);
        hints.push(1, b"b".to_vec(), false);
        hints.push(2, b"a".to_vec(), false);
        hints.push(1, b"a".to_vec(), true);
        hints.barrier(4);
        hints.barrier(3);
        let batch = hints.take(Duration::ZERO).unwrap();
        let told: Vec<_> = batch
            .hints
            .iter()
            .map(|h| (h.dir, &h.name[..], h.moved_away))
            .collect();
        assert_eq!(
            told,
            [
                (1, &b"a"[..], true),
                (1, &b"b"[..], false),
                (2, &b"a"[..], false)
            ]
        );
        assert_eq!((batch.overflow, batch.barrier), (false, Some(4)));
        assert!(hints.take(Duration::ZERO).unwrap().is_empty());
    }

    #[test]
    fn too_many_names_become_one_flag() {
        let hints = Hints::default();
        for n in 0..=HINTS_MAX {
            hints.push(n as u64, b"x".to_vec(), false);
        }
        hints.push(1, b"after".to_vec(), false);
        let batch = hints.take(Duration::ZERO).unwrap();
        assert!(batch.overflow && batch.hints.is_empty());
        hints.push(1, b"next".to_vec(), false);
        assert_eq!(hints.take(Duration::ZERO).unwrap().hints.len(), 1);
    }

    #[test]
    fn the_end_lets_the_taker_go() {
        let hints = std::sync::Arc::new(Hints::default());
        let own = std::sync::Arc::clone(&hints);
        let taker = std::thread::spawn(move || own.take(Duration::from_secs(60)).is_none());
        hints.end();
        assert!(taker.join().unwrap());
    }
}
