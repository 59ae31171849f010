//! Processes: output in files (a pipe would be held open by whatever a daemon leaves running), input from
//! nothing, an end within the deadline, and none left behind.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use parking_lot::{RwLock, RwLockReadGuard};
use rustix::process::{Pid, Signal, kill_process};

use super::{wait, watchdog};

/// Held for writing while a process is started and for reading while a test counts the events of files it
/// holds open: a child holds copies of all descriptors until its exec, closing them reaches the mount as
/// another close of the file, and an unmount finds it busy.
static STARTING: RwLock<()> = RwLock::new(());

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// No process is started by another test while this is held.
pub(crate) struct Quiet(
    #[allow(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>,
);

/// Keeps others from starting processes.
pub(crate) fn quiet() -> Quiet {
    assert!(!QUIET.get(), "already quiet: a second guard could deadlock");
    let guard = Quiet(STARTING.read());
    QUIET.set(true);
    guard
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// A running process, killed and reaped when dropped.
pub(crate) struct Running {
    child: Child,
    what: String,
    output: [File; 2],
    ended: Option<ExitStatus>,
    _entry: watchdog::Entry,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Exit code; `None` when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output of a process that must have succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.stdout
    }
}

/// Starts `command` with no input and its output in files.
pub(crate) fn start(command: &mut Command) -> Running {
    assert!(!QUIET.get(), "a process started while others are held back");
    let output = [0, 1].map(|_| tempfile::tempfile().expect("a file for output"));
    let [stdout, stderr] = [0, 1].map(|i| output[i].try_clone().expect("a second descriptor"));
    let what = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let child = {
        let _starting = STARTING.write();
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    };
    let entry = watchdog::Entry::process(child.id());
    Running {
        child,
        what,
        output,
        ended: None,
        _entry: entry,
    }
}

/// Runs `command` to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Done {
    start(command).finish()
}

/// A python program given as text: for what std and rustix do not offer without unsafe code.
pub(crate) fn python(text: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg("-c").arg(text);
    command
}

/// `program` as an ordinary user without rights.
pub(crate) fn as_user(uid: u32, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={uid}"))
        .arg(format!("--regid={uid}"))
        .args([
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            program,
        ]);
    command
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("signal sent");
    }

    /// The status when it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait for a child");
        }
        self.ended
    }

    pub(crate) fn stdout(&self) -> String {
        text_of(&self.output[0])
    }

    pub(crate) fn stderr(&self) -> String {
        text_of(&self.output[1])
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Done {
        let end = Instant::now() + wait::DEADLINE;
        while self.ended().is_none() {
            assert!(
                Instant::now() < end,
                "still running after {:?}: {}\nstdout: {}\nstderr: {}",
                wait::DEADLINE,
                self.what,
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Done {
            status: self.ended.expect("just seen"),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        watchdog::kill(self.child.id());
        // A killed process may be stuck in the kernel on a dead mount: reap it if it comes, never wait for it.
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn text_of(file: &File) -> String {
    // A descriptor of its own would share the offset with the writer: read by position instead.
    let mut bytes = Vec::new();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let mut own = File::open(path).expect("reopen the output");
    own.rewind().expect("rewind");
    own.read_to_end(&mut bytes).expect("read the output");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Ids of the processes whose parent is `parent`.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("read /proc");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| parent_of(*pid) == Some(parent))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; the parent is the second field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.next()?.parse().ok()
}

/// Ids of the running processes that have `argument` as a whole argument.
pub(crate) fn with_argument(argument: &std::path::Path) -> Vec<u32> {
    use std::os::unix::ffi::OsStrExt as _;
    let wanted = argument.as_os_str().as_bytes();
    let entries = std::fs::read_dir("/proc").expect("read /proc");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.split(|b| *b == 0).any(|word| word == wanted))
        })
        .collect()
}
