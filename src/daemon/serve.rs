//! The composition root: start order, stop order.
//!
//! Start: store and its lock, log and what its recovery found, stored contents, recorder with its catalog, control, detection,
//! filesystem, mount, ready. Stop: the mount goes first, so that nobody begins anything; then detection, the catalog's
//! checkpoint, and the log, which is made durable and closed; the lock goes with the process. A panic anywhere ends the process at once: recovery is the ordinary start.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::present::Now;
use super::store::Store;
use super::{Config, DaemonError, Stop, contents, holders, mounts, service, shelf, tracking};
use crate::content::Content;
use crate::control::{Control, Facts};
use crate::disk::DirStorage;
use crate::event::{Event, GapReason, Seq};
use crate::event_log::{EventLog, LogError};
use crate::fuse::{AttachError, Options, Session};
use crate::recorder::Recorder;
use crate::vfs::Vfs;

/// How long those who still use a mount that is to end may finish what they have under way.
const BUSY_GRACE: Duration = Duration::from_secs(2);

/// What was mounted.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// Identity of the store.
    pub store: Uuid,
    /// Newest event.
    pub head: Seq,
    /// The storage.
    pub storage: PathBuf,
    /// Where sessions see it.
    pub mountpoint: PathBuf,
}

/// What ends the wait.
enum Turn {
    Stop,
    Ended(io::Result<()>),
}

/// Mounts and serves until unmounted, from outside or by `stop`. `storage_dir` was opened before any mount covered
/// it; `ready` is called once the mount answers.
///
/// # Errors
/// [`DaemonError`]; everything that was begun is undone.
pub fn serve(
    config: Config,
    storage_dir: OwnedFd,
    stop: Stop,
    ready: Box<dyn FnOnce(&Mounted) + Send>,
) -> Result<(), DaemonError> {
    end_on_panic();
    let store = Store::open(&config, storage_dir.as_fd())?;
    let consumers = shelf::consumers(&store)?;
    let mut config = config;
    config.log.held_after = consumers.held_after();
    let (log, content, recorder) = open_log(&config, &store, storage_dir.as_fd())?;
    let control = Control::new(Arc::clone(&recorder), facts(&config, &store));
    control.serve_content(content.clone());
    control.serve_consumers(consumers);
    let detect = tracking::detect(
        &config,
        &store,
        storage_dir.as_fd(),
        &recorder,
        (&control, &content),
    )?;
    let storage_failed = |errno: crate::backing::Errno| DaemonError::Storage {
        path: config.storage.clone(),
        why: io::Error::from(errno).to_string(),
        hint: "see the disk",
    };
    let vfs = Vfs::new(storage_dir, Arc::clone(&recorder), control.clone());
    let vfs = Arc::new(vfs.map_err(storage_failed)?);
    control.look_back_with(Arc::new(Now(Arc::clone(&vfs))));
    let session = mount(&config, vfs).inspect_err(|_| {
        detect.stop();
        // The log was opened in order and is closed in order.
        let _ = log.close();
    })?;
    tracking::connect(&session, &detect, &recorder)?;
    let head = log.head();
    let turns =
        start(session, &stop).map_err(DaemonError::io("threads", "see the system's limits"))?;
    let mounted = Mounted {
        store: store.id,
        head,
        storage: config.storage.clone(),
        mountpoint: config.mountpoint.clone(),
    };
    ready(&mounted);
    service::ready(&format!(
        "recording {} at seq {head}",
        config.storage.display()
    ));
    feed_watchdog(&stop, log.clone())?;
    tracking::keep_catalog(&recorder, &detect, &store, &stop)
        .map_err(DaemonError::io("catalog", "see the system's limits"))?;

    let ended = wait(&turns, &config);
    service::stopping();
    stop.request();
    detect.stop();
    tracking::save(&recorder, &store);
    let closed = close(&log, &content);
    ended.map_err(|source| DaemonError::Mount {
        path: config.mountpoint.clone(),
        source,
        hint: "mount it again",
    })?;
    closed.map_err(|source| DaemonError::Log {
        path: store.log_path.clone(),
        source,
    })
}

/// Asking goes through the log's locks: a daemon that is stuck there does not answer, and is not fed.
fn feed_watchdog(stop: &Stop, log: EventLog) -> Result<(), DaemonError> {
    let alive = move || log.stats().segments > 0;
    service::feed_watchdog(stop.clone(), alive)
        .map_err(DaemonError::io("watchdog", "see the system's limits"))
}

/// The log first: closing it makes the contents durable before the events that name them.
fn close(log: &EventLog, content: &Content) -> Result<(), LogError> {
    let closed = log.close();
    if let Err(error) = content.close() {
        log::warn!("the contents could not be closed in order: {error}");
    }
    closed
}

/// A panic in any thread ends the process: half a daemon would answer half the requests.
fn end_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        std::process::abort();
    }));
}

fn open_log(
    config: &Config,
    store: &Store,
    storage: BorrowedFd<'_>,
) -> Result<(EventLog, Content, Arc<Recorder>), DaemonError> {
    let failed = |source| DaemonError::Log {
        path: store.log_path.clone(),
        source,
    };
    let dir = store
        .log_dir
        .try_clone()
        .map_err(DaemonError::io("log", "see the limit on open files"))?;
    let options = crate::event_log::Options {
        needed_after: tracking::needed_after(store),
        ..config.log
    };
    let (log, recovery) =
        EventLog::open(Box::new(DirStorage::new(dir)), options).map_err(failed)?;
    for note in &recovery.notes {
        log::warn!("{note}");
    }
    let content = contents::open(config, store, &log)?;
    let keep = config.keep.map(|options| (content.clone(), options));
    let (recorder, left_aside) = tracking::recorder(&log, store, storage, (keep, config.no_log))?;
    let say = |gap: &Event| match recorder.note(gap) {
        Ok(_) => Ok(()),
        Err(error) => Err(DaemonError::State {
            path: store.log_path.clone(),
            why: error.to_string(),
            hint: "make room on the disk of the log",
        }),
    };
    for gap in recovery.gaps.iter().chain(&left_aside) {
        // A full disk keeps the gap from being said now; the storage is refused too until there is room.
        say(gap)?;
    }
    if config.no_log {
        let detail = "mounted with --no-log, for measurements: no change is recorded from here on until it is mounted without";
        say(&Event::gap(GapReason::Unrecorded, None, detail))?;
        log::warn!("{detail}");
    }
    Ok((log, content, recorder))
}

fn facts(config: &Config, store: &Store) -> Facts {
    Facts {
        store: store.id,
        storage: config.storage.clone(),
        mountpoint: config.mountpoint.clone(),
        version: env!("CARGO_PKG_VERSION"),
        sync_interval: config.log.sync_interval,
        retain_bytes: config.log.retain_bytes,
        retain_age: config.log.retain_age,
        records: !config.no_log,
    }
}

fn mount(config: &Config, vfs: Arc<Vfs>) -> Result<Session, DaemonError> {
    let options = Options {
        source: config.storage.clone(),
        mountpoint: config.mountpoint.clone(),
        allow_other: config.allow_other,
        read_only: config.read_only,
        flags: config.fs_options.clone(),
    };
    let over_dead = mounts::is_dead(&config.mountpoint);
    Session::mount(vfs, &options, config.passthrough, over_dead).map_err(|error| {
        let (source, hint) = match error {
            AttachError::Device(source) => {
                (source, "load the fuse module and give access to /dev/fuse")
            }
            AttachError::Kernel { what, source } => {
                let told = io::Error::new(source.kind(), format!("{what}: {source}"));
                (
                    told,
                    "mounting needs root, or fusermount3 of the fuse3 package",
                )
            }
        };
        DaemonError::Mount {
            path: config.mountpoint.clone(),
            source,
            hint,
        }
    })
}

/// Starts serving, and listening for the wish to end.
fn start(session: Session, stop: &Stop) -> io::Result<crossbeam_channel::Receiver<Turn>> {
    let (sender, turns) = crossbeam_channel::unbounded();
    let (ended, wished, stop) = (sender.clone(), sender, stop.clone());
    std::thread::Builder::new()
        .name("session".into())
        .spawn(move || {
            let _ = ended.send(Turn::Ended(session.run()));
        })?;
    std::thread::Builder::new()
        .name("stop".into())
        .spawn(move || {
            stop.wait(Duration::MAX);
            let _ = wished.send(Turn::Stop);
        })?;
    Ok(turns)
}

/// Waits for the end, and makes it when `stop` asks for it.
fn wait(turns: &crossbeam_channel::Receiver<Turn>, config: &Config) -> io::Result<()> {
    if let Ok(Turn::Ended(result)) = turns.recv() {
        return result;
    }
    let mountpoint = &config.mountpoint;
    if let Err(busy) = Session::take_off(mountpoint, false) {
        let users = holders::holders_of(mountpoint);
        let users: Vec<_> = users.iter().map(ToString::to_string).collect();
        log::warn!(
            "{} is in use ({busy}) by {}",
            mountpoint.display(),
            users.join(", ")
        );
        Session::take_off(mountpoint, true)?;
        return match turns.recv_timeout(BUSY_GRACE) {
            Ok(Turn::Ended(result)) => result,
            Ok(Turn::Stop) | Err(_) => {
                log::warn!(
                    "{} is closed to those who still use it",
                    mountpoint.display()
                );
                Ok(())
            }
        };
    }
    loop {
        match turns.recv() {
            Ok(Turn::Ended(result)) => return result,
            Ok(Turn::Stop) => {}
            Err(gone) => return Err(io::Error::other(gone)),
        }
    }
}
