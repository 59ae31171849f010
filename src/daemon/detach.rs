//! Leaving the caller: a daemon is this program run again in a session of its own. No fork, so no state is shared by
//! accident. The storage directory travels as standard input, opened before any mount covers it; readiness is the
//! success line on standard output; errors go to the caller's own standard error. Once ready, the daemon keeps none
//! of the three.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit};

use super::DaemonError;

/// This program, also after its file was replaced by an upgrade.
const SELF_EXE: &str = "/proc/self/exe";
/// Name of the process, which the kernel would else take from [`SELF_EXE`]: `exe`.
const PROCESS_NAME: &CStr = c"hippofs";
/// The success line is a few paths long; more than this is not one.
const READY_BYTES_MAX: u64 = 64 << 10;

/// This program run again.
#[derive(Debug)]
pub struct Again {
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The storage directory, its standard input.
    pub storage_dir: OwnedFd,
}

impl Again {
    /// Starts it with standard output piped to the caller of this function.
    ///
    /// # Errors
    /// No process or descriptor is left.
    pub fn spawn(&self) -> io::Result<Child> {
        crate::backing::sys::keep_descriptors_from_programs();
        let mut command = Command::new(SELF_EXE);
        // A service manager's watchdog watches this process, whoever feeds it.
        if std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string()) {
            command.env_remove("WATCHDOG_PID");
        }
        command
            .arg0("hippofs")
            .args(&self.args)
            .stdin(Stdio::from(self.storage_dir.try_clone()?))
            .stdout(Stdio::piped())
            .spawn()
    }
}

/// How a launched daemon began.
#[derive(Debug)]
pub enum Launched {
    /// It serves and goes on alone; its success line.
    Ready(String),
    /// It ended before it was ready and has said why on standard error.
    Ended(ExitStatus),
}

/// Starts a daemon and returns once it serves or has ended.
///
/// # Errors
/// It could not be started at all.
pub fn launch(again: &Again) -> Result<Launched, DaemonError> {
    let hint = "see the system's limits on processes and open files";
    let mut child = again
        .spawn()
        .map_err(DaemonError::io("starting the daemon", hint))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // Unreadable output counts as none: the exit status then decides.
        let _ = stdout.take(READY_BYTES_MAX).read_to_string(&mut line);
    }
    if line.ends_with('\n') {
        return Ok(Launched::Ready(line));
    }
    let status = child
        .wait()
        .map_err(DaemonError::io("waiting for the daemon", hint))?;
    Ok(Launched::Ended(status))
}

/// Takes the storage directory that [`Again::spawn`] passed as standard input, and puts `/dev/null` in its place.
///
/// # Errors
/// Standard input is not open or `/dev/null` is not there.
pub fn storage_from_stdin() -> io::Result<OwnedFd> {
    // Above the standard three, which are about to be replaced.
    let storage_dir = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(storage_dir)
}

/// Leaves the caller's session and terminal, so that neither its hang-up nor its Ctrl-C reaches this process.
///
/// # Errors
/// This process leads a process group, which one started by [`Again::spawn`] does not.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Gives back the caller's standard streams; what is said afterwards goes to `log_file` or nowhere. A caller that
/// reads them to their end is thereby released.
///
/// # Errors
/// `/dev/null` is not there.
pub fn leave_streams(log_file: Option<&File>) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(log_file.unwrap_or(&null))?;
    Ok(())
}

/// Makes the process fit to serve: named, with no directory in use, and with as many open files as it may have.
pub fn settle() {
    // None of these is worth failing for: a name is cosmetic, the others only matter under load or at unmount.
    let _ = rustix::thread::set_name(PROCESS_NAME);
    let _ = rustix::process::chdir(Path::new("/"));
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}
