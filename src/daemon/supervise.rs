//! A parent that does nothing but keep a daemon running. It is single-threaded, serves nothing and records nothing;
//! it holds the storage directory's descriptor, so that a restart needs no path that a dead mount may cover. While
//! it lives it unmounts nothing: the dead mount hides the storage until the next daemon has taken its place.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::detach::Again;
use super::{DaemonError, mounts};

/// A daemon that dies sooner than this after its start has not recovered anything.
const QUICK: Duration = Duration::from_secs(1);
/// Quick deaths in a row after which a further start is hopeless.
const QUICK_DEATHS_MAX: u32 = 5;
/// Pause before a restart after a daemon that had not served, or the first quick death; doubled for each further one.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Runs `again` and restarts it whenever it dies, until it ends by itself or a byte on `signals` asks for the end.
/// `on_ready` gets the first success line. Gives the exit status of the last daemon.
///
/// # Errors
/// [`DaemonError::GaveUp`] when it dies again and again; the dead mount is then taken away.
pub fn supervise(
    again: &Again,
    mountpoint: &Path,
    signals: &UnixStream,
    on_ready: impl FnOnce(&str),
) -> Result<ExitStatus, DaemonError> {
    let mut watch = Watch {
        signals,
        on_ready: Some(on_ready),
        stopping: false,
        ready: false,
    };
    let hint = "see the system's limits on processes and open files";
    let mut quick_deaths = 0;
    loop {
        let started = Instant::now();
        let status = watch
            .run_once(again)
            .map_err(DaemonError::io("starting the daemon", hint))?;
        let never_ready = watch.on_ready.is_some();
        // An error exit before the first readiness is a refusal, which the daemon has explained.
        if status.success() || (never_ready && status.code().is_some()) {
            return Ok(status);
        }
        if watch.stopping {
            detach_dead(mountpoint);
            return Ok(status);
        }
        let quick = started.elapsed() < QUICK;
        // SIGKILL is somebody's decision or the kernel's want of memory, not a start that cannot succeed.
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        quick_deaths = match (quick, killed) {
            (true, true) => quick_deaths,
            (true, false) => quick_deaths + 1,
            (false, _) => 0,
        };
        if quick_deaths >= QUICK_DEATHS_MAX {
            detach_dead(mountpoint);
            return Err(DaemonError::GaveUp {
                path: mountpoint.to_path_buf(),
                deaths: quick_deaths,
                last: describe(status),
            });
        }
        log::error!("the daemon died by {}: starting it again", describe(status));
        let pause = match quick_deaths {
            0 if watch.ready => Duration::ZERO,
            0 => BACK_OFF,
            deaths => BACK_OFF * 2u32.pow(deaths - 1),
        };
        if watch.pause(pause) {
            detach_dead(mountpoint);
            return Ok(status);
        }
    }
}

/// What the loop listens to besides the daemon itself.
struct Watch<'a, F> {
    signals: &'a UnixStream,
    on_ready: Option<F>,
    stopping: bool,
    /// The present or last daemon has served.
    ready: bool,
}

impl<F: FnOnce(&str)> Watch<'_, F> {
    /// One life of the daemon.
    fn run_once(&mut self, again: &Again) -> io::Result<ExitStatus> {
        self.ready = false;
        let mut child = again.spawn()?;
        match self.attend(&mut child) {
            Ok(()) => {}
            // Attending needs descriptors; without them the daemon must not run unattended.
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        }
        child.wait()
    }

    /// Forwards signals and readiness until the daemon has ended.
    fn attend(&mut self, child: &mut Child) -> io::Result<()> {
        let pidfd = pidfd_of(child)?;
        let mut stdout = child.stdout.take();
        let mut line = Vec::new();
        loop {
            let (ended, signalled, output) =
                wait_for(Some(&pidfd), self.signals, stdout.as_ref(), None)?;
            if signalled {
                self.take_signal();
                match pidfd_send_signal(&pidfd, Signal::TERM) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if output && let Some(pipe) = &mut stdout {
                let mut chunk = [0; 4096];
                let count = pipe.read(&mut chunk).unwrap_or(0);
                line.extend_from_slice(&chunk[..count]);
                if line.ends_with(b"\n") {
                    self.ready(&line);
                }
                if count == 0 || line.ends_with(b"\n") {
                    stdout = None;
                }
            }
            if ended && !output {
                return Ok(());
            }
        }
    }

    fn ready(&mut self, line: &[u8]) {
        self.ready = true;
        let line = String::from_utf8_lossy(line);
        match self.on_ready.take() {
            Some(on_ready) => on_ready(&line),
            None => log::warn!("started again: {}", line.trim_end()),
        }
    }

    fn take_signal(&mut self) {
        let mut bytes = [0; 64];
        let mut signals = self.signals;
        let _ = signals.read(&mut bytes);
        self.stopping = true;
    }

    /// Waits `pause`; true when a signal cut it short.
    fn pause(&mut self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match wait_for(None, self.signals, None, Some(left)) {
                Ok((_, true, _)) => {
                    self.take_signal();
                    return true;
                }
                _ if left.is_zero() => return false,
                _ => {}
            }
        }
    }
}

/// Waits until the daemon has ended, a signal has come, the daemon's output can be read, or `timeout` has passed.
fn wait_for(
    pidfd: Option<&OwnedFd>,
    signals: &UnixStream,
    stdout: Option<&ChildStdout>,
    timeout: Option<Duration>,
) -> io::Result<(bool, bool, bool)> {
    let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
    // An absent descriptor is stood in for by the signals, asked for nothing.
    let asked = |present: bool| {
        if present {
            PollFlags::IN
        } else {
            PollFlags::empty()
        }
    };
    let mut fds = [
        PollFd::from_borrowed_fd(
            pidfd.map_or(signals.as_fd(), |fd| fd.as_fd()),
            asked(pidfd.is_some()),
        ),
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(
            stdout.map_or(signals.as_fd(), |fd| fd.as_fd()),
            asked(stdout.is_some()),
        ),
    ];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok((false, false, false)),
        Err(error) => return Err(error.into()),
    }
    let [ended, signalled, output] = fds.map(|fd| !fd.revents().is_empty());
    Ok((
        ended && pidfd.is_some(),
        signalled,
        output && stdout.is_some(),
    ))
}

fn pidfd_of(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Takes what a dead daemon left at `mountpoint` away, so that nobody meets ENOTCONN for ever.
fn detach_dead(mountpoint: &Path) {
    if mounts::is_dead(mountpoint)
        && let Err(error) = mounts::detach(mountpoint)
    {
        log::error!("the dead mount at {} stays: {error}", mountpoint.display());
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, code) => format!("exit status {}", code.unwrap_or_default()),
    }
}
