//! The one thread that follows hints: takes what waits, looks at each place, and settles names whose entry has left
//! them once nothing else has claimed it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::backing::Errno;
use crate::event::Source;
use crate::recorder::{How, Located, RecordError};

use super::hints::{Batch, Hint};
use super::look::{Later, Pass, Place};
use super::shared::Shared;
use super::watcher::{STATE_DIR, Told, Watcher};

/// How long a name that was moved away waits for the entry to turn up elsewhere: the kernel tells both halves of a
/// rename one after the other.
const MOVE_GRACE: Duration = Duration::from_millis(20);
/// Pause before a place that keeps changing is looked at again.
const AGAIN: Duration = Duration::from_millis(5);
/// Times a place is looked at again; one that changes on is told of again by the watcher.
const TRIES_MAX: u32 = 20;
/// Longest wait without a look at the clock.
const IDLE: Duration = Duration::from_secs(3600);
/// Pause after each reading of the kernel's queue, so that a burst is taken as one; a hundredth of what a change
/// may take to be found.
const COALESCE: Duration = Duration::from_millis(1);

/// The thread that reads what the kernel tells.
pub(super) fn listen(shared: &Shared, watcher: &Watcher) {
    while !shared.has_ended() {
        match watcher.read(Duration::from_secs(60), |told| take_note(shared, told)) {
            Ok(true) => std::thread::sleep(COALESCE),
            Ok(false) => {}
            Err(error) => {
                shared.lost_sight(format!("inotify cannot be read: {error}"));
                return;
            }
        }
    }
}

fn take_note(shared: &Shared, told: Told) {
    match told {
        Told::Entry {
            dir: STATE_DIR,
            name,
            ..
        } => {
            if let Some(number) = Shared::barrier_number(&name) {
                shared.hints.barrier(number);
            }
        }
        Told::Entry {
            dir,
            name,
            moved_away,
        } => {
            let reserved = shared.catalog.leaves_out(dir, &name, None);
            if !reserved {
                shared.counters.told();
                shared.hints.push(dir, name, moved_away);
            }
        }
        Told::Overflow => shared.hints.overflow(),
        Told::Unwatched { dir, unmounted } if dir == shared.catalog.root() => {
            let why = if unmounted {
                "the storage was unmounted"
            } else {
                "the storage's root was removed"
            };
            shared.lost_sight(why.into());
        }
        Told::Unwatched { .. } => {}
    }
}

/// A place to come back to.
struct Waiting {
    place: Place,
    due: Instant,
    tries: u32,
    gone: bool,
}

/// The thread's own state.
pub(super) struct Engine {
    shared: Arc<Shared>,
    waiting: Vec<Waiting>,
    barrier: Option<u64>,
}

impl Engine {
    pub(super) fn new(shared: Arc<Shared>) -> Engine {
        Engine {
            shared,
            waiting: Vec::new(),
            barrier: None,
        }
    }

    /// Follows hints until the end.
    pub(super) fn run(mut self) {
        loop {
            let due = self.waiting.iter().map(|waiting| waiting.due).min();
            let longest = due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
            let Some(batch) = self.shared.hints.take(longest) else {
                return;
            };
            let moved: HashSet<Place> = batch
                .hints
                .iter()
                .filter(|hint| hint.moved_away)
                .map(place_of)
                .collect();
            self.barrier = self.barrier.max(batch.barrier);
            if let Err(error) = self.follow(batch, &moved) {
                log::warn!("what changed behind the mount could not be recorded: {error}");
                self.shared.ask_for_scan();
            }
            if self.waiting.is_empty()
                && let Some(number) = self.barrier.take()
            {
                self.shared.passed(number);
            }
        }
    }

    fn follow(&mut self, batch: Batch, moved: &HashSet<Place>) -> Result<(), RecordError> {
        if batch.overflow {
            self.shared.overflowed();
        }
        let pass = Pass::new(Source::Watch, How::Stat);
        let mut later = Later::default();
        let mut hints = &batch.hints[..];
        while let Some(first) = hints.first() {
            let run = hints
                .iter()
                .take_while(|hint| hint.dir == first.dir)
                .count();
            let (here, rest) = hints.split_at(run);
            self.look_at(first.dir, here, &pass, &mut later)?;
            hints = rest;
        }
        self.come_back(&pass, &mut later)?;
        for _ in 0..TRIES_MAX {
            for place in std::mem::take(&mut later.replaced) {
                self.shared.settle_gone(&place, &pass, &mut later)?;
            }
            for place in std::mem::take(&mut later.gone) {
                if moved.contains(&place) {
                    self.wait(place, MOVE_GRACE, 0, true);
                } else {
                    self.shared.settle_gone(&place, &pass, &mut later)?;
                }
            }
            if later.enter.is_empty() {
                break;
            }
            self.enter(&pass, &mut later)?;
            // Nobody has told yet of what a listing has not: it may have moved.
            for place in std::mem::take(&mut later.gone) {
                self.wait(place, MOVE_GRACE, 0, true);
            }
        }
        if !(later.enter.is_empty() && later.replaced.is_empty() && later.gone.is_empty()) {
            self.shared.ask_for_scan();
        }
        for place in std::mem::take(&mut later.again) {
            self.wait(place, AGAIN, 0, false);
        }
        Ok(())
    }

    /// Looks at names told of in one directory.
    fn look_at(
        &self,
        dir: u64,
        hints: &[Hint],
        pass: &Pass,
        later: &mut Later,
    ) -> Result<(), RecordError> {
        let shared = &self.shared;
        // One that is not known any more, or not yet: whoever learns of it looks at all its names.
        let Some(place) = shared.recorder.place(dir) else {
            return Ok(());
        };
        let Ok(at) = place.descriptor() else {
            later.again.extend(hints.iter().map(place_of));
            return Ok(());
        };
        for hint in hints {
            let before = pass.found.load(Relaxed);
            let name = OsStr::from_bytes(&hint.name);
            shared.look((dir, at.as_fd()), name, pass, later)?;
            if pass.found.load(Relaxed) > before {
                shared.counters.took(hint.told.elapsed());
            }
        }
        Ok(())
    }

    /// Looks again at what is due.
    fn come_back(&mut self, pass: &Pass, later: &mut Later) -> Result<(), RecordError> {
        let now = Instant::now();
        let (due, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting: &Waiting| waiting.due <= now);
        self.waiting = waiting;
        for Waiting {
            place, tries, gone, ..
        } in due
        {
            if gone {
                self.shared.settle_gone(&place, pass, later)?;
                continue;
            }
            let hint = Hint {
                dir: place.dir,
                name: place.name.clone(),
                told: now,
                moved_away: false,
            };
            let mut own = Later::default();
            self.look_at(place.dir, &[hint], pass, &mut own)?;
            if !own.again.is_empty() {
                own.again.clear();
                if tries < TRIES_MAX {
                    self.wait(place, AGAIN, tries + 1, false);
                }
            }
            later.add(own);
        }
        Ok(())
    }

    /// Lists directories that came, with what is below.
    fn enter(&self, pass: &Pass, later: &mut Later) -> Result<(), RecordError> {
        let shared = &self.shared;
        while let Some((dir, all)) = later.enter.pop() {
            if shared.has_ended() {
                later.enter.clear();
                return Ok(());
            }
            match shared.directory(dir, pass, later) {
                Ok(below) => {
                    let watches =
                        |key: &u64| shared.watcher.as_ref().is_some_and(|w| w.watches(*key));
                    let below = below.into_iter().filter(|key| all || !watches(key));
                    later.enter.extend(below.map(|key| (key, all)));
                }
                // Gone again or on the move: its parent is told of that.
                Err(RecordError::Storage(Errno::STALE | Errno::NOENT)) => {}
                Err(RecordError::Storage(error)) => {
                    log::warn!("a directory could not be looked at: {error}");
                    shared.ask_for_scan();
                }
                Err(refused) => return Err(refused),
            }
        }
        Ok(())
    }

    fn wait(&mut self, place: Place, pause: Duration, tries: u32, gone: bool) {
        let known = |w: &Waiting| w.place == place && w.gone == gone;
        if !self.waiting.iter().any(known) {
            self.waiting.push(Waiting {
                place,
                due: Instant::now() + pause,
                tries,
                gone,
            });
        }
    }
}

fn place_of(hint: &Hint) -> Place {
    Place {
        dir: hint.dir,
        name: hint.name.clone(),
    }
}
