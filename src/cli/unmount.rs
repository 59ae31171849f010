//! `hippofs unmount`: takes a mount away and returns when its daemon has put everything on disk and is gone.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::daemon::holders::holders_of;
use crate::daemon::{DaemonError, mounts};

use super::args::UnmountArgs;
use super::client::Root;
use super::error::CliError;
use super::exit::Exit;
use super::mount::target::resolve_last;

/// How long a daemon may take to say who it is. One that hangs must not keep its mount from being taken away.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a daemon may flush. What it holds is at most one sync interval of log, so this is a stuck disk.
const FLUSH: Duration = Duration::from_secs(120);
/// Holders named in a message; the rest is counted.
const HOLDERS_SHOWN_MAX: usize = 8;

pub(super) fn run(args: &UnmountArgs) -> Result<Exit, CliError> {
    let mountpoint = mount_at(&args.mountpoint)?;
    // Nobody's working directory may keep the mount busy, least of all this program's own.
    let _ = std::env::set_current_dir("/");
    if mounts::is_dead(&mountpoint) {
        mounts::detach(&mountpoint).map_err(|error| refused(&mountpoint, &error))?;
        return Ok(Exit::Success);
    }
    let daemon = daemon_of(&mountpoint);
    if let Err(error) = mounts::unmount(&mountpoint) {
        if error.raw_os_error() == Some(libc::EBUSY) {
            return Err(busy(&mountpoint));
        }
        return Err(refused(&mountpoint, &error));
    }
    if let Some(daemon) = daemon {
        wait_for_end(&daemon, &mountpoint)?;
    }
    Ok(Exit::Success)
}

/// The mount point that `given` names: itself, or a symbolic link to it. Nothing above it is taken for it.
fn mount_at(given: &Path) -> Result<PathBuf, CliError> {
    let failed =
        |why: String, hint: String| CliError::failed(given.display().to_string(), why, hint);
    let path =
        resolve_last(given).map_err(|error| failed(error.to_string(), "see the path".into()))?;
    let proc = DaemonError::io("/proc/self/mountinfo", "mount /proc");
    let holder = mounts::holding(&path).map_err(proc)?;
    match holder {
        Some(mount) if mount.mountpoint == path && mount.is_hippofs() => Ok(path),
        Some(mount) if mount.is_hippofs() => {
            let at = mount.mountpoint.display();
            Err(failed(
                format!("it is inside the mount at {at}"),
                format!("run `hippofs unmount {at}`"),
            ))
        }
        Some(mount) if mount.mountpoint == path => {
            let why = format!("a mount of type {}, not of hippofs", mount.fs_type);
            Err(failed(why, "use umount(8)".into()))
        }
        _ => Err(failed(
            "nothing is mounted here".into(),
            "see `findmnt -t fuse.hippofs`".into(),
        )),
    }
}

/// The process that serves a mount, by its own word; `None` when it does not answer, or has no such name here because
/// it lives in another pid namespace.
fn daemon_of(mountpoint: &Path) -> Option<OwnedFd> {
    let (sender, receiver) = mpsc::channel();
    let path = mountpoint.to_path_buf();
    let ask = move || {
        let pid = Root::of(&path)
            .and_then(|root| root.status())
            .ok()?
            .get("pid")?
            .as_i64()?;
        let pidfd = pidfd_open(
            Pid::from_raw(i32::try_from(pid).ok()?)?,
            PidfdFlags::empty(),
        )
        .ok()?;
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (comm.trim_end() == "hippofs").then_some(pidfd)
    };
    std::thread::Builder::new()
        .spawn(move || sender.send(ask()))
        .ok()?;
    receiver.recv_timeout(ANSWER).ok().flatten()
}

fn wait_for_end(daemon: &OwnedFd, mountpoint: &Path) -> Result<(), CliError> {
    let timeout = Timespec::try_from(FLUSH).ok();
    let mut fds = [PollFd::new(daemon, PollFlags::IN)];
    let ended =
        rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref())).is_ok_and(|ready| ready > 0);
    if ended {
        return Ok(());
    }
    let why = format!(
        "unmounted, but its daemon still writes after {} s",
        FLUSH.as_secs()
    );
    Err(CliError::failed(
        mountpoint.display().to_string(),
        why,
        "see the storage's disk",
    ))
}

fn busy(mountpoint: &Path) -> CliError {
    let holders = holders_of(mountpoint);
    let mut names: Vec<String> = holders
        .iter()
        .take(HOLDERS_SHOWN_MAX)
        .map(ToString::to_string)
        .collect();
    if holders.len() > HOLDERS_SHOWN_MAX {
        names.push(format!("and {} more", holders.len() - HOLDERS_SHOWN_MAX));
    }
    let why = if names.is_empty() {
        "it is in use by processes that cannot be seen from here, or by a mount inside it"
            .to_string()
    } else {
        format!("it is in use by {}", names.join("; "))
    };
    CliError::failed(
        mountpoint.display().to_string(),
        why,
        "end them or have them leave, and try again",
    )
}

fn refused(mountpoint: &Path, error: &std::io::Error) -> CliError {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "unmount it as its owner or as root",
        _ => "see `findmnt` and the daemon's messages",
    };
    CliError::failed(mountpoint.display().to_string(), error, hint)
}
