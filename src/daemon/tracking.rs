//! What belongs to finding changes behind the mount: the catalog at the start, its checkpoints, and detection with its
//! ways to the kernel and to the control directory.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::detection::Desk;
use super::store::Store;
use super::{Config, DaemonError, Stop};
use crate::backing;
use crate::content::Content;
use crate::control::Control;
use crate::detect::Detect;
use crate::disk::Storage;
use crate::event::{Event, GapReason, Seq};
use crate::event_log::EventLog;
use crate::fuse::Session;
use crate::health::Health;
use crate::recorder::{Catalog, KeepOptions, Recorder};
use crate::vfs::CONTROL_NAME;

/// How long the mount waits for the first scan, so that a small storage is watched completely from its first moment
/// on. A large one is mounted meanwhile; what changes behind it before it is known is taken as having been so.
const FIRST_SCAN_WAIT: Duration = Duration::from_millis(500);
/// Time between checkpoints of the catalog: what a start after a crash has to read of the log at most.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two looks whether retention waits for a checkpoint.
const CHECKPOINT_LOOK: Duration = Duration::from_secs(1);

/// The event after which the log is needed to bring the saved catalog up to date.
pub(super) fn needed_after(store: &Store) -> Option<Seq> {
    Catalog::saved_at(&store.files().ok()?)
}

/// A recorder that knows what stands in the storage, as far as the state tells, and what is to be said of it.
///
/// # Errors
/// The storage or the state directory cannot be read.
pub(super) fn recorder(
    log: &EventLog,
    store: &Store,
    storage: BorrowedFd<'_>,
    (keep, silent): (Option<(Content, KeepOptions)>, bool),
) -> Result<(Arc<Recorder>, Option<Event>), DaemonError> {
    let hint = "see the disk and the limit on open files";
    let failed = |errno: backing::Errno| DaemonError::io("catalog", hint)(errno.into());
    let root = backing::attr_of(storage).map_err(failed)?;
    let state = backing::attr_of(store.dir.as_fd()).map_err(failed)?;
    let reserved = CONTROL_NAME.as_bytes();
    let files = store.files().map_err(DaemonError::io("catalog", hint))?;
    let start = Catalog::open(&root, reserved, Some(state.identity), &files, log);
    for note in &start.notes {
        log::info!("{note}");
    }
    let gap = start.left_aside.map(|why| {
        log::warn!("{why}");
        let detail = format!(
            "{why}: what changed behind the mount before this start is taken as having been so"
        );
        Event::gap(GapReason::Unwatched, None, detail)
    });
    let storage = storage
        .try_clone_to_owned()
        .map_err(DaemonError::io("catalog", hint))?;
    let (catalog, storage) = (Arc::new(start.catalog), Arc::new(storage));
    let health = Arc::new(Health::default());
    let recorder = Recorder::with_catalog(log.clone(), health, catalog, storage);
    let recorder = match keep {
        Some((content, options)) => recorder.keeping(content, options),
        None => recorder,
    };
    let recorder = Arc::new(match silent {
        true => recorder.silenced(),
        false => recorder,
    });
    Ok((recorder, gap))
}

/// Detection at work before the mount is in its place.
///
/// # Errors
/// No thread or descriptor is left.
pub(super) fn detect(
    config: &Config,
    store: &Store,
    storage: BorrowedFd<'_>,
    recorder: &Arc<Recorder>,
    (control, content): (&Control, &Content),
) -> Result<Detect, DaemonError> {
    let failed = || DaemonError::io("detection", "see the system's limits");
    let dir = store.dir.try_clone().map_err(failed())?;
    let detect =
        Detect::start(Arc::clone(recorder), storage, dir, config.detect).map_err(failed())?;
    control.detect_with(Arc::new(Desk::new(
        detect.clone(),
        recorder.log().clone(),
        content.clone(),
    )));
    if !detect.wait_first_scan(FIRST_SCAN_WAIT) {
        log::info!("the first scan goes on while the mount is in use");
    }
    Ok(detect)
}

/// Lets what is found behind the mount reach the kernel's caches.
///
/// # Errors
/// No thread is left.
pub(super) fn connect(
    session: &Session,
    detect: &Detect,
    recorder: &Recorder,
) -> Result<(), DaemonError> {
    let invalidator = session
        .invalidator()
        .map_err(DaemonError::io("detection", "see the system's limits"))?;
    let looked = invalidator.clone();
    recorder.on_look(Box::new(move |found| looked.forget(found.invalidate)));
    detect.on_stale(Box::new(move |stale| invalidator.forget(stale)));
    Ok(())
}

/// Saves the catalog now and then until `stop`.
///
/// # Errors
/// No thread or descriptor is left.
pub(super) fn keep_catalog(
    recorder: &Arc<Recorder>,
    detect: &Detect,
    store: &Store,
    stop: &Stop,
) -> io::Result<()> {
    let (recorder, detect, stop) = (Arc::clone(recorder), detect.clone(), stop.clone());
    let files = store.files()?;
    std::thread::Builder::new()
        .name("checkpoint".into())
        .spawn(move || {
            // The first one as soon as everything is known: a start after a crash must not begin with nothing.
            while !detect.wait_first_scan(FIRST_SCAN_WAIT) {
                if stop.requested() {
                    return;
                }
            }
            let log = recorder.log();
            let mut saved = log.head();
            let mut save = || {
                if log.head() != saved {
                    saved = log.head();
                    save_in(&recorder, &files)
                } else {
                    true
                }
            };
            save_in(&recorder, &files);
            let (mut last, mut good) = (Instant::now(), true);
            while !stop.wait(CHECKPOINT_LOOK) {
                // One that fails is not tried again at once: it may be large.
                if last.elapsed() >= CHECKPOINT_INTERVAL || good && log.waits_for_start() {
                    good = save();
                    last = Instant::now();
                }
            }
        })?;
    Ok(())
}

/// Saves the catalog; without, the next start reads more of the log and of the disk.
pub(super) fn save(recorder: &Recorder, store: &Store) {
    match store.files() {
        Ok(files) => drop(save_in(recorder, &files)),
        Err(error) => log::warn!("the catalog could not be saved: {error}"),
    }
}

/// Saves it; whether that went well.
fn save_in(recorder: &Recorder, files: &dyn Storage) -> bool {
    let saved = recorder.save_catalog(files);
    if let Err(error) = &saved {
        log::warn!("the catalog could not be saved: {error}");
    }
    saved.is_ok()
}
