//! A [`notify::Watcher`]: a program that watches with the crate notify hears of every change in a mount when it names
//! this type instead of its own. Elsewhere it is the watcher that notify recommends.
//!
//! ```text
//!  watch(path) --> in a mount? --no--> notify's own watcher --+
//!                     | yes                                   |
//!                     v                                       v
//!               one thread per mount: follow --> kinds --> the one handler
//! ```
//!
//! Invariant: of everything that happens after `watch` has returned, each watch is told once and in order. A watch of
//! a mount that is followed already begins at the position the log had when it was asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use notify::{
    Config, Error, Event, EventHandler, RecommendedWatcher, RecursiveMode, Watcher, WatcherKind,
};
use parking_lot::Mutex;

use crate::event::Seq;

use super::error::ClientError;
use super::follow::{Follow, Stopper};
use super::kinds;
use super::line::Line;
use super::query::Query;
use super::root::Client;

type Handler = Arc<Mutex<dyn EventHandler>>;

/// One watched path.
#[derive(Clone)]
struct Watch {
    /// As it was given: events name what is below it so.
    given: PathBuf,
    /// Relative to the root of the mount.
    place: PathBuf,
    is_recursive: bool,
    since: Seq,
}

impl Watch {
    /// The name by which this watch knows an entry; `None` when it does not cover it.
    fn name(&self, place: &Path) -> Option<PathBuf> {
        let place = place.strip_prefix(".").unwrap_or(place);
        let below = place.strip_prefix(&self.place).ok()?;
        let depth = below.components().count();
        match depth {
            0 => Some(self.given.clone()),
            1 => Some(self.given.join(below)),
            _ => self.is_recursive.then(|| self.given.join(below)),
        }
    }
}

/// One mount that is followed.
struct Mount {
    watches: Arc<Mutex<Vec<Watch>>>,
    stop: Stopper,
    thread: JoinHandle<()>,
}

/// Watches paths in mounts by their log, and any other path by [`RecommendedWatcher`].
///
/// An event that stands for others that are missing (a gap in the log) has [`notify::event::Flag::Rescan`]. When the
/// daemon is away for longer than [`super::PATIENCE`] the handler gets one error, and the watches of that mount end.
/// A handler must not call its own watcher.
pub struct HippofsWatcher {
    handler: Handler,
    config: Config,
    mounts: HashMap<PathBuf, Mount>,
    others: Option<RecommendedWatcher>,
}

impl Watcher for HippofsWatcher {
    fn new<F: EventHandler>(event_handler: F, config: Config) -> notify::Result<HippofsWatcher> {
        Ok(HippofsWatcher {
            handler: Arc::new(Mutex::new(event_handler)),
            config,
            mounts: HashMap::new(),
            others: None,
        })
    }

    fn watch(&mut self, path: &Path, recursive_mode: RecursiveMode) -> notify::Result<()> {
        if !path.try_exists()? {
            return Err(Error::path_not_found().add_path(path.to_path_buf()));
        }
        match Client::look(path).map_err(|error| failed(error, path))? {
            Some(client) => self.watch_mount(&client, path, recursive_mode),
            None => self.others()?.watch(path, recursive_mode),
        }
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        let mut ended = None;
        for (root, mount) in &self.mounts {
            let mut watches = mount.watches.lock();
            let before = watches.len();
            watches.retain(|watch| watch.given != path);
            if watches.len() < before {
                ended = Some((root.clone(), watches.is_empty()));
                break;
            }
        }
        match (ended, &mut self.others) {
            (Some((root, is_last)), _) => {
                if is_last && let Some(mount) = self.mounts.remove(&root) {
                    mount.stop.stop();
                }
                Ok(())
            }
            (None, Some(others)) => others.unwatch(path),
            (None, None) => Err(Error::watch_not_found().add_path(path.to_path_buf())),
        }
    }

    fn configure(&mut self, option: Config) -> notify::Result<bool> {
        self.config = option;
        match &mut self.others {
            Some(others) => others.configure(option),
            None => Ok(true),
        }
    }

    fn kind() -> WatcherKind {
        WatcherKind::Inotify
    }
}

impl HippofsWatcher {
    fn watch_mount(
        &mut self,
        client: &Client,
        path: &Path,
        mode: RecursiveMode,
    ) -> notify::Result<()> {
        let refused = |error| failed(error, path);
        let place = client.place_of(path).map_err(refused)?.unwrap_or_default();
        let mut watch = Watch {
            given: path.to_path_buf(),
            place,
            is_recursive: mode == RecursiveMode::Recursive,
            since: client.head().map_err(refused)?,
        };
        // A thread that has ended, after an error, is replaced.
        let ended = |mount: &Mount| mount.thread.is_finished();
        if let Some(mount) = self.mounts.get(client.root()).filter(|mount| !ended(mount)) {
            let mut watches = mount.watches.lock();
            // Watching a path again changes how, as it does in the crate itself.
            if let Some(known) = watches.iter().find(|known| known.given == watch.given) {
                watch.since = known.since;
            }
            watches.retain(|known| known.given != watch.given);
            watches.push(watch);
            return Ok(());
        }
        let query = Query::new().since(watch.since);
        let follow = client.follow(query).map_err(refused)?;
        let (stop, watches) = (follow.stopper(), Arc::new(Mutex::new(vec![watch])));
        let (told, handler, client) = (
            Arc::clone(&watches),
            Arc::clone(&self.handler),
            client.clone(),
        );
        let root = client.root().to_path_buf();
        let thread = std::thread::Builder::new()
            .name("hippofs watcher".into())
            .spawn(move || run(follow, &client, &told, &handler))?;
        let mount = Mount {
            watches,
            stop,
            thread,
        };
        self.mounts.insert(root, mount);
        Ok(())
    }

    fn others(&mut self) -> notify::Result<&mut RecommendedWatcher> {
        if self.others.is_none() {
            let handler = Arc::clone(&self.handler);
            let forward = move |event| handler.lock().handle_event(event);
            self.others = Some(RecommendedWatcher::new(forward, self.config)?);
        }
        self.others
            .as_mut()
            .ok_or_else(|| Error::generic("no watcher"))
    }
}

impl Drop for HippofsWatcher {
    fn drop(&mut self) {
        for mount in self.mounts.values() {
            mount.stop.stop();
        }
    }
}

impl std::fmt::Debug for HippofsWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HippofsWatcher")
            .field("mounts", &self.mounts.keys().collect::<Vec<_>>())
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

/// Tells `handler` of everything until it is stopped.
fn run(follow: Follow, client: &Client, watches: &Mutex<Vec<Watch>>, handler: &Handler) {
    for line in follow {
        match line {
            Ok(line) => {
                if line.dest_path().is_some() {
                    client.settle(&line);
                }
                // Not held while the handler works.
                let watches = watches.lock().clone();
                for event in told(&line, &watches) {
                    handler.lock().handle_event(Ok(event));
                }
            }
            Err(error) => {
                let error = failed(error, client.root());
                handler.lock().handle_event(Err(error));
            }
        }
    }
}

/// Each watch has its own names; what two of them name alike is told once.
fn told(line: &Line, watches: &[Watch]) -> Vec<Event> {
    let mut told: Vec<Event> = Vec::new();
    for watch in watches {
        if line.position().is_some_and(|seq| seq <= watch.since) {
            continue;
        }
        for event in kinds::events(line, |place| watch.name(&place)) {
            if !told.contains(&event) {
                told.push(event);
            }
        }
    }
    told
}

fn failed(error: ClientError, path: &Path) -> Error {
    let error = match error {
        ClientError::Io { source, .. } => Error::io(source),
        other => Error::generic(&other.to_string()),
    };
    error.add_path(path.to_path_buf())
}
