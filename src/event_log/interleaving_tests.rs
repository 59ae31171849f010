//! The waking and the group commit under a checker that runs every interleaving of their steps, of a few threads and
//! calls each: no wake-up is lost, and nobody is told durable what is not.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use shuttle::thread;

use super::primitives as real;
use crate::event::Seq;
use primitives::{AtomicBool, AtomicU64};

// The very sources, a second time.
#[path = "group.rs"]
#[allow(clippy::duplicate_mod)]
mod group;
#[path = "wake.rs"]
#[allow(clippy::duplicate_mod, dead_code)]
mod wake;

use group::Group;
use wake::Wake;

/// The checker's locks and atomics, by the names and calls of the real ones.
mod primitives {
    use std::ops::{Deref, DerefMut};

    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU64};

    pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);
    pub(super) struct Guard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);
    pub(super) struct Condvar(shuttle::sync::Condvar);
    pub(super) struct Waited;

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> Guard<'_, T> {
            Guard(Some(self.0.lock().unwrap()))
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    impl Condvar {
        pub(super) fn new() -> Condvar {
            Condvar(shuttle::sync::Condvar::new())
        }

        pub(super) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            let held = guard.0.take().unwrap();
            guard.0 = Some(self.0.wait(held).unwrap());
        }

        /// Time does not pass here.
        pub(super) fn wait_until<T>(
            &self,
            guard: &mut Guard<'_, T>,
            _: std::time::Instant,
        ) -> Waited {
            self.wait(guard);
            Waited
        }

        pub(super) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    impl Waited {
        pub(super) fn timed_out(&self) -> bool {
            false
        }
    }
}

/// Interleavings tried where there are too many for all.
const RANDOM_RUNS: usize = 10_000;

/// Appends one event and wakes, as the log does.
fn publish(wake: &Wake, seq: u64) {
    wake.publish(Seq(seq));
    wake.wake();
}

/// A reader waits for each of `events` in turn while they are appended.
fn follow(events: u64) {
    let wake = Arc::new(Wake::new(Seq(0)));
    let theirs = Arc::clone(&wake);
    let waiter = thread::spawn(move || {
        for after in 0..events {
            assert!(theirs.wait_past(Seq(after), None) > Seq(after));
        }
    });
    (1..=events).for_each(|seq| publish(&wake, seq));
    waiter.join().unwrap();
}

#[test]
fn no_wake_up_is_lost() {
    shuttle::check_dfs(|| follow(1), None);
    shuttle::check_random(|| follow(3), RANDOM_RUNS);
}

#[test]
fn every_waiter_wakes_by_an_event_or_by_the_close() {
    shuttle::check_random(
        || {
            let wake = Arc::new(Wake::new(Seq(0)));
            let waiters: Vec<_> = (0..3)
                .map(|after| {
                    let wake = Arc::clone(&wake);
                    thread::spawn(move || {
                        let now = std::time::Instant::now();
                        let deadline = (after == 1).then_some(now);
                        let head = wake.wait_past(Seq(after), deadline);
                        assert!(head > Seq(after) || after == 2);
                    })
                })
                .collect();
            publish(&wake, 1);
            publish(&wake, 2);
            wake.close();
            waiters.into_iter().for_each(|w| w.join().unwrap());
        },
        RANDOM_RUNS,
    );
}

#[test]
fn whoever_is_told_durable_was_committed_after_it_appended() {
    shuttle::check_random(
        || {
            let group = Arc::new(Group::new(Seq(0)));
            let (head, disk) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let busy = Arc::new(AtomicBool::new(false));
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (group, head) = (Arc::clone(&group), Arc::clone(&head));
                    let (disk, busy) = (Arc::clone(&disk), Arc::clone(&busy));
                    thread::spawn(move || {
                        let mine = head.fetch_add(1, SeqCst) + 1;
                        let commit = || -> Result<Seq, ()> {
                            assert!(!busy.swap(true, SeqCst), "two at once");
                            let upto = head.load(SeqCst);
                            thread::yield_now();
                            disk.store(upto, SeqCst);
                            group.reached(Seq(upto));
                            busy.store(false, SeqCst);
                            Ok(group.durable())
                        };
                        let told = group.join(Seq(mine), commit).unwrap();
                        assert!(told >= Seq(mine) && disk.load(SeqCst) >= mine);
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        },
        RANDOM_RUNS,
    );
}

#[test]
fn a_commit_that_fails_leaves_the_next_to_those_who_wait() {
    shuttle::check_random(
        || {
            let group = Arc::new(Group::new(Seq(0)));
            let failed = Arc::new(AtomicU64::new(0));
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (group, failed) = (Arc::clone(&group), Arc::clone(&failed));
                    thread::spawn(move || {
                        let commit = || match failed.fetch_add(1, SeqCst) {
                            0 => Err(()),
                            _ => {
                                group.reached(Seq(1));
                                Ok(Seq(1))
                            }
                        };
                        group.join(Seq(1), commit).is_err()
                    })
                })
                .collect();
            let errors = threads.into_iter().filter(|_| true);
            let errors = errors
                .map(|t| usize::from(t.join().unwrap()))
                .sum::<usize>();
            assert_eq!(errors, 1);
        },
        RANDOM_RUNS,
    );
}

#[test]
fn the_checked_calls_are_those_of_the_real_ones() {
    let (lock, changed) = (real::Mutex::new(1), real::Condvar::new());
    let mut guard = lock.lock();
    let now = std::time::Instant::now();
    assert!(changed.wait_until(&mut guard, now).timed_out());
    assert_eq!(*guard, 1);
}
