//! One thread that ends the whole run when a test hangs: it names the test, tears the mounts down, kills the
//! daemons and aborts. A thread stuck in a system call on a dead mount cannot be ended in any gentler way.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// More than any single test needs, several times over.
const TEST_LIMIT: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Watched {
    next: u64,
    tests: BTreeMap<u64, (String, Instant)>,
    mounts: BTreeMap<u64, PathBuf>,
    processes: BTreeMap<u64, u32>,
}

fn watched() -> &'static Mutex<Watched> {
    static WATCHED: OnceLock<Mutex<Watched>> = OnceLock::new();
    WATCHED.get_or_init(|| {
        std::thread::spawn(watch);
        Mutex::default()
    })
}

/// What the watchdog knows of; forgotten when dropped.
pub(super) struct Entry(u64);

impl Entry {
    fn new(add: impl FnOnce(&mut Watched, u64)) -> Entry {
        let mut all = watched().lock();
        all.next += 1;
        let key = all.next;
        add(&mut all, key);
        Entry(key)
    }

    pub(super) fn test(name: String) -> Entry {
        Entry::new(|all, key| {
            all.tests.insert(key, (name, Instant::now()));
        })
    }

    pub(super) fn mount(mountpoint: PathBuf) -> Entry {
        Entry::new(|all, key| {
            all.mounts.insert(key, mountpoint);
        })
    }

    pub(super) fn process(pid: u32) -> Entry {
        Entry::new(|all, key| {
            all.processes.insert(key, pid);
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut all = watched().lock();
        all.tests.remove(&self.0);
        all.mounts.remove(&self.0);
        all.processes.remove(&self.0);
    }
}

/// Kills by id; a process that is gone already is fine.
pub(super) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Takes a mount away whatever its state; one that is gone already is fine.
pub(super) fn tear_down(mountpoint: &std::path::Path) {
    let _ = unmount(mountpoint, UnmountFlags::FORCE | UnmountFlags::DETACH);
}

fn watch() {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let all = watched().lock();
        let Some((name, _)) = all.tests.values().find(|(_, t)| t.elapsed() > TEST_LIMIT) else {
            continue;
        };
        // Written past the capture of the test harness, which would swallow it.
        let text = format!("\nWATCHDOG: {name} ran longer than {TEST_LIMIT:?}: ending the run\n");
        let _ = std::io::stderr().write_all(text.as_bytes());
        for pid in all.processes.values() {
            kill(*pid);
        }
        for mountpoint in all.mounts.values() {
            tear_down(mountpoint);
        }
        std::process::abort();
    }
}
