//! The scan: a parallel walk over everything, or over what someone asked for. One mechanism for four uses: the start,
//! the safety net, polling, and repair after an overflow.
//!
//! Where the watcher works, a difference that a scan comes upon is first left to the watcher, whose word may be under
//! way; only what it then has not told of is recorded as found by the scan, and counted as missed.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::event::{Source, Timestamp};
use crate::recorder::{How, Located, RecordError};

use super::figures::Scanned;
use super::job::{Job, ReconcileError};
use super::look::{Later, Pass, Place};
use super::mode::Mode;
use super::shared::Shared;

/// Most threads of one walk: enough to keep a disk's queue filled.
const THREADS_MAX: usize = 4;
/// Pause before a scan is tried again that the log refused to record.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Least time between two scans that follow overflows: a storm must not become a storm of scans.
const RESCAN_PAUSE: Duration = Duration::from_millis(200);
/// Times what a walk left is gone through; what still moves then is left to the next scan.
const ROUNDS_MAX: u32 = 16;
/// Pause before places that keep changing are looked at again.
const AGAIN: Duration = Duration::from_millis(5);

/// What the scanner does next.
enum Turn {
    Everything(u64),
    Asked(Job),
    Fill,
    End,
}

/// The thread that scans.
pub(super) fn run(shared: &Shared) {
    let mut last = None;
    loop {
        match next(shared, last) {
            Turn::End => return,
            Turn::Everything(number) => {
                let done = everything(shared, number);
                last = Some(Instant::now());
                if !done {
                    pause(shared, REFUSED_PAUSE);
                }
            }
            Turn::Asked(job) => {
                let outcome = asked(shared, &job);
                // Whoever asked may have gone.
                let _ = job.answer.send(outcome);
            }
            Turn::Fill => fill(shared),
        }
    }
}

/// Waits for the next thing to do.
fn next(shared: &Shared, last: Option<Instant>) -> Turn {
    let mut scans = shared.scans.lock();
    loop {
        if shared.has_ended() {
            return Turn::End;
        }
        let now = Instant::now();
        let not_before = last.map_or(now, |last| last + RESCAN_PAUSE);
        let asked = scans.asked > scans.done;
        let first = scans.done == 0;
        let periodic = match (last, shared.interval()) {
            (Some(last), Some(interval)) => Some(last + interval),
            _ => None,
        };
        if (asked && (first || now >= not_before)) || periodic.is_some_and(|due| now >= due) {
            if !asked {
                scans.asked += 1;
            }
            scans.begun = scans.asked;
            return Turn::Everything(scans.begun);
        }
        if let Some(job) = scans.jobs.pop_front() {
            return Turn::Asked(job);
        }
        if scans.fill && !asked {
            return Turn::Fill;
        }
        let due = if asked { Some(not_before) } else { periodic };
        match due {
            Some(due) => drop(shared.scans_changed.wait_until(&mut scans, due)),
            None => shared.scans_changed.wait(&mut scans),
        }
    }
}

fn pause(shared: &Shared, time: Duration) {
    let end = Instant::now() + time;
    let mut scans = shared.scans.lock();
    while !shared.has_ended() && !shared.scans_changed.wait_until(&mut scans, end).timed_out() {}
}

/// Scans everything; says whether all that was found could be recorded.
fn everything(shared: &Shared, number: u64) -> bool {
    let first = number == 1;
    let mut pass = Pass::new(Source::Scan, How::Stat);
    pass.defer = !first && shared.watcher.is_some() && shared.mode().0 == Mode::Native;
    pass.yields = !first;
    let begun = Instant::now();
    let outcome = walk(shared, &pass, vec![shared.catalog.root()], &|| false)
        .and_then(|later| finish(shared, &pass, later));
    let missed = match outcome {
        Ok(missed) => missed,
        Err(error) => {
            log::warn!("what a scan found could not be recorded: {error}");
            return false;
        }
    };
    if shared.has_ended() {
        return true;
    }
    let scanned = scanned(&pass, begun);
    *shared.counters.last_scan.lock() = Some(scanned);
    shared.counters.fixes.fetch_add(scanned.found, Relaxed);
    shared.counters.missed.fetch_add(missed, Relaxed);
    shared.adapt(missed, scanned.took);
    if shared.watcher.is_some() && pass.unwatched.load(Relaxed) == 0 {
        shared.regained_sight();
    }
    let mut scans = shared.scans.lock();
    scans.done = number;
    scans.fill |= first;
    let all = scans.asked == scans.done;
    let covered = all && shared.watcher.is_some() && shared.mode().0 == Mode::Native;
    shared.counters.covered.store(covered, SeqCst);
    drop(scans);
    shared.scans_changed.notify_all();
    true
}

/// Scans what someone asked for.
fn asked(shared: &Shared, job: &Job) -> Result<Scanned, ReconcileError> {
    // What the kernel has told already is the watcher's.
    shared.flush().map_err(|_| ReconcileError::Ended)?;
    let how = if job.full { How::Content } else { How::Stat };
    let mut pass = Pass::new(Source::Scan, how);
    pass.defer = shared.watcher.is_some() && shared.mode().0 == Mode::Native;
    let begun = Instant::now();
    let outcome = place_of(shared, &job.path, &pass).and_then(|(key, mut later)| {
        if let Some(key) = key {
            later.add(walk(shared, &pass, vec![key], &|| false)?);
        }
        finish(shared, &pass, later)
    });
    match outcome {
        Ok(missed) => {
            let scanned = scanned(&pass, begun);
            shared.counters.fixes.fetch_add(scanned.found, Relaxed);
            shared.counters.missed.fetch_add(missed, Relaxed);
            Ok(scanned)
        }
        Err(RecordError::Storage(_)) => Err(ReconcileError::NotFound),
        Err(error) => {
            log::warn!("what a scan found could not be recorded: {error}");
            Err(ReconcileError::Refused)
        }
    }
}

/// Hashes the content of files that stood there before anyone watched, once, as long as nothing else is to be done.
fn fill(shared: &Shared) {
    let mut pass = Pass::new(Source::Scan, How::Fill);
    pass.yields = true;
    pass.defer = true;
    let interrupted = || {
        let scans = shared.scans.lock();
        scans.asked > scans.done || !scans.jobs.is_empty()
    };
    let stopped = AtomicBool::new(false);
    let stop = || {
        let stop = interrupted();
        stopped.fetch_or(stop, Relaxed);
        stop
    };
    // What differs meanwhile is left to the watcher and the next scan.
    if let Err(error) = walk(shared, &pass, vec![shared.catalog.root()], &stop) {
        log::warn!("files could not be hashed: {error}");
    }
    if !stopped.load(Relaxed) {
        shared.scans.lock().fill = false;
    }
}

fn scanned(pass: &Pass, begun: Instant) -> Scanned {
    Scanned {
        ended: Timestamp::now(),
        took: begun.elapsed(),
        directories: pass.directories.load(Relaxed),
        files: pass.files.load(Relaxed),
        found: pass.found.load(Relaxed),
        unreadable: pass.unreadable.load(Relaxed),
    }
}

/// The directory at `path`; for anything else nothing, after it has been looked at.
fn place_of(
    shared: &Shared,
    path: &[u8],
    pass: &Pass,
) -> Result<(Option<u64>, Later), RecordError> {
    let mut later = Later::default();
    let mut dir = shared.catalog.root();
    let mut names = path
        .split(|b| *b == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .peekable();
    while let Some(name) = names.next() {
        let place = shared
            .recorder
            .place(dir)
            .ok_or(crate::backing::Errno::NOENT)?;
        let at = place.descriptor()?;
        let known = shared.catalog.child(dir, name);
        let mut here = Pass::new(pass.source, pass.how);
        here.defer = pass.defer && known.is_some();
        shared.look(
            (dir, at.as_fd()),
            OsStr::from_bytes(name),
            &here,
            &mut later,
        )?;
        pass.found.fetch_add(here.found.load(Relaxed), Relaxed);
        let key = shared
            .catalog
            .child(dir, name)
            .ok_or(crate::backing::Errno::NOENT)?;
        let is_directory = shared
            .catalog
            .state(key)
            .is_some_and(|state| state.is_directory());
        if !is_directory {
            pass.files.fetch_add(here.files.load(Relaxed), Relaxed);
            if names.peek().is_some() {
                return Err(crate::backing::Errno::NOTDIR.into());
            }
            return Ok((None, later));
        }
        dir = key;
    }
    Ok((Some(dir), later))
}

/// Directories that wait to be listed by one of a walk's threads.
struct Walk {
    state: Mutex<WalkState>,
    changed: Condvar,
}

struct WalkState {
    dirs: Vec<u64>,
    /// Threads that list one now and may find more.
    busy: usize,
    failed: Option<RecordError>,
    later: Later,
}

/// Lists `dirs` and all that is below, with some threads; `stop` ends it early.
fn walk(
    shared: &Shared,
    pass: &Pass,
    dirs: Vec<u64>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Later, RecordError> {
    let walk = Walk {
        state: Mutex::new(WalkState {
            dirs,
            busy: 0,
            failed: None,
            later: Later::default(),
        }),
        changed: Condvar::new(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if pass.yields {
        1
    } else {
        threads.min(THREADS_MAX)
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let helper = || step_on(shared, pass, &walk, stop);
            // One thread less only makes it slower.
            let _ = std::thread::Builder::new()
                .name("scan".into())
                .spawn_scoped(scope, helper);
        }
        step_on(shared, pass, &walk, stop);
    });
    let state = walk.state.into_inner();
    match state.failed {
        Some(error) => Err(error),
        None => Ok(state.later),
    }
}

/// One thread of a walk.
fn step_on(shared: &Shared, pass: &Pass, walk: &Walk, stop: &(dyn Fn() -> bool + Sync)) {
    let mut state = walk.state.lock();
    loop {
        if shared.has_ended() || state.failed.is_some() || stop() {
            state.dirs.clear();
        }
        let Some(dir) = state.dirs.pop() else {
            if state.busy == 0 {
                walk.changed.notify_all();
                return;
            }
            walk.changed.wait(&mut state);
            continue;
        };
        state.busy += 1;
        drop(state);
        let mut later = Later::default();
        let listed = shared.directory(dir, pass, &mut later);
        // Those that came are in the listing too.
        later.enter.clear();
        state = walk.state.lock();
        state.busy -= 1;
        state.later.add(later);
        match listed {
            Ok(below) => state.dirs.extend(below),
            // It went or moved since its parent was listed: looked at again by its name.
            Err(RecordError::Storage(_)) => {
                let places = shared.catalog.places(dir);
                let again = places.into_iter().map(|(dir, name)| Place { dir, name });
                pass.unreadable.fetch_add(1, Relaxed);
                state.later.again.extend(again);
            }
            Err(refused) => state.failed = Some(refused),
        }
        walk.changed.notify_all();
    }
}

/// Brings to an end what a walk left. Gives the changes that the watcher should have told of.
fn finish(shared: &Shared, pass: &Pass, mut later: Later) -> Result<u64, RecordError> {
    let mut rest = Pass::new(pass.source, How::Stat);
    rest.defer = false;
    let mut missed = 0;
    for round in 0..ROUNDS_MAX {
        if shared.has_ended() {
            break;
        }
        let suspects = std::mem::take(&mut later.suspects);
        if !suspects.is_empty() {
            let _ = shared.flush();
            let before = rest.found.load(Relaxed);
            look_again(shared, &rest, suspects, &mut later)?;
            settle(shared, &rest, &mut later)?;
            missed += rest.found.load(Relaxed) - before;
        }
        settle(shared, &rest, &mut later)?;
        let again = std::mem::take(&mut later.again);
        let enter = std::mem::take(&mut later.enter);
        if again.is_empty() && enter.is_empty() && later.suspects.is_empty() {
            break;
        }
        if !again.is_empty() && round > 0 {
            std::thread::sleep(AGAIN);
        }
        look_again(shared, &rest, again, &mut later)?;
        let dirs = enter.into_iter().map(|(dir, _)| dir).collect();
        later.add(walk(shared, &rest, dirs, &|| false)?);
    }
    pass.found.fetch_add(rest.found.load(Relaxed), Relaxed);
    Ok(missed)
}

/// Settles names whose entry has left them: first those where another stands now.
fn settle(shared: &Shared, pass: &Pass, later: &mut Later) -> Result<(), RecordError> {
    for place in std::mem::take(&mut later.replaced) {
        shared.settle_gone(&place, pass, later)?;
    }
    for place in std::mem::take(&mut later.gone) {
        shared.settle_gone(&place, pass, later)?;
    }
    Ok(())
}

fn look_again(
    shared: &Shared,
    pass: &Pass,
    places: Vec<Place>,
    later: &mut Later,
) -> Result<(), RecordError> {
    for place in places {
        let Some(dir) = shared.recorder.place(place.dir) else {
            continue;
        };
        let Ok(at) = dir.descriptor() else {
            // Its own name is looked at as well, and moves it to where it is now.
            let own = shared.catalog.places(place.dir);
            later
                .again
                .extend(own.into_iter().map(|(dir, name)| Place { dir, name }));
            later.again.push(place);
            continue;
        };
        let name = OsStr::from_bytes(&place.name);
        shared.look((place.dir, at.as_fd()), name, pass, later)?;
    }
    Ok(())
}
