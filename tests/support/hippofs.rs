//! The program under test: runs of it, and a guard for each mount that takes it away however the test ends.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::process::{self, Done, Running};
use super::{events, wait, watchdog};

/// The built binary.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_hippofs");

/// `hippofs` with arguments, not yet started.
pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env("RUST_BACKTRACE", "1")
        .env_remove("HIPPOFS_SESSION");
    command
}

/// Runs `hippofs` to its end.
#[track_caller]
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Done {
    process::run(&mut command(arguments))
}

/// What to mount where.
pub(crate) struct Settings {
    pub(crate) storage: PathBuf,
    pub(crate) mountpoint: Option<PathBuf>,
    pub(crate) options: Vec<String>,
}

impl Settings {
    pub(crate) fn new(storage: PathBuf, mountpoint: Option<PathBuf>, options: &[&str]) -> Settings {
        Settings {
            storage,
            mountpoint,
            options: options.iter().map(|o| (*o).to_owned()).collect(),
        }
    }

    fn command(&self) -> Command {
        let mut command = command(&["mount"]);
        command
            .arg(&self.storage)
            .args(&self.mountpoint)
            .args(&self.options);
        command
    }
}

/// Held by whoever starts a daemon; alone by a test that changes what daemons meet at their start.
static STARTS: parking_lot::RwLock<()> = parking_lot::RwLock::new(());

/// A live mount; unmounted when dropped, and the daemon must then end cleanly.
pub(crate) struct Mount {
    daemon: Running,
    mountpoint: PathBuf,
    settings: Settings,
    _entry: watchdog::Entry,
}

impl Mount {
    /// Mounts and waits until the mount answers.
    #[track_caller]
    pub(crate) fn start(settings: Settings) -> Mount {
        let _shared = STARTS.read();
        Mount::launch(settings)
    }

    /// The same while no other mount starts, between `before` and the end of what it gives.
    #[track_caller]
    pub(crate) fn start_alone<T>(settings: Settings, before: impl FnOnce() -> T) -> Mount {
        let _alone = STARTS.write();
        let _held = before();
        Mount::launch(settings)
    }

    #[track_caller]
    fn launch(settings: Settings) -> Mount {
        let mountpoint = settings
            .mountpoint
            .clone()
            .unwrap_or_else(|| settings.storage.clone());
        let entry = watchdog::Entry::mount(mountpoint.clone());
        let mut mount = Mount {
            daemon: process::start(&mut settings.command()),
            mountpoint,
            settings,
            _entry: entry,
        };
        mount.wait_ready();
        mount
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        wait::until("the daemon says that it is mounted", || {
            if let Some(status) = self.daemon.ended() {
                panic!(
                    "mount ended with {status}: {}{}",
                    self.daemon.stdout(),
                    self.daemon.stderr()
                );
            }
            self.daemon.stdout().contains("hippofs: mounted ")
        });
    }

    /// What the daemon has printed so far: standard output, standard error.
    pub(crate) fn output(&self) -> (String, String) {
        (self.daemon.stdout(), self.daemon.stderr())
    }

    /// Root of the mount.
    pub(crate) fn root(&self) -> &Path {
        &self.mountpoint
    }

    /// A path inside the mount.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.mountpoint.join(name)
    }

    /// A path inside the control directory.
    pub(crate) fn control(&self, name: impl AsRef<Path>) -> PathBuf {
        self.mountpoint.join(".hippofs").join(name)
    }

    /// A path inside the storage, past the mount. Not for a mount over itself.
    pub(crate) fn storage(&self, name: impl AsRef<Path>) -> PathBuf {
        assert!(self.settings.mountpoint.is_some(), "the storage is covered");
        self.settings.storage.join(name)
    }

    /// Id of the started process: the daemon, or its supervisor.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Every event, each line checked and the positions dense.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        events::read(&self.control("events"))
    }

    /// The events after `seq`.
    #[track_caller]
    pub(crate) fn since(&self, seq: u64) -> Vec<Value> {
        events::read(&self.control(format!("since/{seq}")))
    }

    /// Position of the newest event.
    #[track_caller]
    pub(crate) fn head(&self) -> u64 {
        self.status()["head"].as_u64().expect("head in status")
    }

    /// The status object.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let text = std::fs::read_to_string(self.control("status")).expect("read status");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("status: {error}: {text}"))
    }

    /// Does `work`, which must start no process, and gives the events it made.
    #[track_caller]
    pub(crate) fn events_of(&self, work: impl FnOnce()) -> Vec<Value> {
        let before = self.head();
        {
            let _quiet = process::quiet();
            work();
        }
        self.since(before)
    }

    /// The same in brief, one text per event (see [`events::brief`]).
    #[track_caller]
    pub(crate) fn record(&self, work: impl FnOnce()) -> Vec<String> {
        events::briefs(&self.events_of(work))
    }

    /// SIGKILL to the daemon; the dead mount stays until this guard is dropped or it is mounted again.
    pub(crate) fn kill(&mut self) {
        self.daemon.signal(Signal::KILL);
        wait::until("the killed daemon is gone", || {
            self.daemon.ended().is_some()
        });
    }

    /// Sends a signal to the started process.
    pub(crate) fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }

    /// Waits for the end of the started process and gives its exit code.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> Option<i32> {
        wait::value("the daemon ends", || self.daemon.ended()).code()
    }

    /// Unmounts by signal; the daemon must end with success and the mount must be gone.
    #[track_caller]
    pub(crate) fn unmount(mut self) {
        self.stop();
    }

    #[track_caller]
    fn stop(&mut self) {
        if let Err(problem) = self.try_stop() {
            panic!("{problem}");
        }
    }

    fn try_stop(&mut self) -> Result<(), String> {
        if self.daemon.ended().is_some() {
            return Ok(());
        }
        self.daemon.signal(Signal::TERM);
        let end = Instant::now() + wait::DEADLINE;
        while self.daemon.ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        match self.daemon.ended() {
            Some(status) if status.success() && !is_mounted(&self.mountpoint) => Ok(()),
            Some(status) if status.success() => Err("still mounted after a clean end".to_owned()),
            other => Err(format!(
                "no clean end of the daemon: {other:?}: {}",
                self.daemon.stderr()
            )),
        }
    }

    /// Unmounts and mounts the same again.
    #[track_caller]
    pub(crate) fn remount(mut self) -> Mount {
        self.stop();
        let settings = Settings {
            storage: self.settings.storage.clone(),
            mountpoint: self.settings.mountpoint.clone(),
            options: self.settings.options.clone(),
        };
        drop(self);
        Mount::start(settings)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        if failing {
            let said = format!("{}{}", self.daemon.stdout(), self.daemon.stderr());
            eprintln!(
                "output of the daemon at {}:\n{said}",
                self.mountpoint.display()
            );
        }
        let stopped = if failing { Ok(()) } else { self.try_stop() };
        for child in process::children_of(self.daemon.id()) {
            watchdog::kill(child);
        }
        if self.daemon.ended().is_none() {
            watchdog::kill(self.daemon.id());
        }
        while is_mounted(&self.mountpoint) {
            watchdog::tear_down(&self.mountpoint);
        }
        if let Err(problem) = stopped {
            panic!("{problem}");
        }
    }
}

/// Whether something is mounted at `mountpoint`, also when it is dead.
pub(crate) fn is_mounted(mountpoint: &Path) -> bool {
    let wanted = mountpoint
        .canonicalize()
        .unwrap_or_else(|_| mountpoint.to_path_buf());
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("read the mount table");
    // Cases live under temporary directories without spaces, so the octal escapes of the table do not occur.
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|at| Path::new(at) == wanted || Path::new(at) == mountpoint)
}
