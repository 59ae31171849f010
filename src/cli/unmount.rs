//! `hippofs unmount`: takes a mount away and returns when its daemon has put everything on disk and is gone.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::daemon::DaemonError;
use crate::daemon::holders::holders_of;
use crate::daemon::mounts::{self, Mount};

use super::args::UnmountArgs;
use super::client::Root;
use super::error::CliError;
use super::exit::Exit;
use super::mount::target::resolve_last;

/// How long a daemon may take to say who it is: it answers in well under a millisecond when all is well.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a supervisor may take to start a dead daemon again: a second, and what a busy machine adds.
const REVIVAL: Duration = Duration::from_millis(1500);
/// How long a daemon may flush. What it holds is at most one sync interval of log, so this is a stuck disk.
const FLUSH: Duration = Duration::from_secs(120);
/// Holders named in a message; the rest is counted.
const HOLDERS_SHOWN_MAX: usize = 8;

pub(super) fn run(args: &UnmountArgs) -> Result<Exit, CliError> {
    let mount = mount_at(&args.mountpoint)?;
    let mountpoint = mount.mountpoint;
    // Nobody's working directory may keep the mount busy, least of all this program's own.
    let _ = std::env::set_current_dir("/");
    let daemon = match ask_until_alive(&mountpoint) {
        Answer::Dead => {
            mounts::detach(&mountpoint).map_err(|error| refused(&mountpoint, &error))?;
            return Ok(Exit::Success);
        }
        Answer::Alive(daemon) => Some(daemon),
        Answer::Unknown => None,
        Answer::Silent => {
            let why = "its daemon does not answer";
            let hint = "see what its storage waits for, or kill the daemon (SIGKILL loses no event) and try again";
            return Err(CliError::failed(
                mountpoint.display().to_string(),
                why,
                hint,
            ));
        }
    };
    if let Err(error) = mounts::unmount(&mountpoint) {
        if error.raw_os_error() == Some(libc::EBUSY) {
            return Err(busy(&mountpoint));
        }
        return Err(refused(&mountpoint, &error));
    }
    // Over the storage itself the lock can be seen only now.
    if let Some(daemon) = daemon.or_else(|| lock_holder(Path::new(&mount.source))) {
        wait_for_end(&daemon, &mountpoint)?;
    }
    Ok(Exit::Success)
}

/// The mount point that `given` names: itself, or a symbolic link to it. Nothing above it is taken for it.
fn mount_at(given: &Path) -> Result<Mount, CliError> {
    let failed =
        |why: String, hint: String| CliError::failed(given.display().to_string(), why, hint);
    let proc = || DaemonError::io("/proc/self/mountinfo", "mount /proc");
    // Taken as it stands where it is a mount point: resolving it would ask a daemon that may hang.
    if let Ok(path) = std::path::absolute(given)
        && let Some(mount) = mounts::at(&path).map_err(proc())?.filter(Mount::is_hippofs)
    {
        return Ok(mount);
    }
    let path =
        resolve_last(given).map_err(|error| failed(error.to_string(), "see the path".into()))?;
    let holder = mounts::holding(&path).map_err(proc())?;
    match holder {
        Some(mount) if mount.mountpoint == path && mount.is_hippofs() => Ok(mount),
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

/// What a mount says of its daemon.
enum Answer {
    /// It is gone.
    Dead,
    /// This process.
    Alive(OwnedFd),
    /// It does not answer this user, or has no such number here because it lives in another pid namespace.
    Unknown,
    /// It does not answer in time; the question itself now keeps the mount busy.
    Silent,
}

/// Asks a dead mount again for as long as a supervisor may take to bring it back: taken away now, it would return.
fn ask_until_alive(mountpoint: &Path) -> Answer {
    let until = Instant::now() + REVIVAL;
    loop {
        match ask(mountpoint) {
            Answer::Dead if Instant::now() < until => std::thread::sleep(REVIVAL / 30),
            answer => return answer,
        }
    }
}

/// Asks on a thread of its own, since a daemon that hangs lets its callers hang.
fn ask(mountpoint: &Path) -> Answer {
    let (sender, receiver) = mpsc::channel();
    let path = mountpoint.to_path_buf();
    let answer = move || {
        if mounts::is_dead(&path) {
            return Answer::Dead;
        }
        let status = Root::of(&path).and_then(|root| root.status());
        let pid = status.ok().and_then(|status| status.get("pid")?.as_u64());
        pid.and_then(|pid| hippofs_process(u32::try_from(pid).ok()?))
            .map_or(Answer::Unknown, Answer::Alive)
    };
    match std::thread::Builder::new().spawn(move || sender.send(answer())) {
        Ok(_) => receiver.recv_timeout(ANSWER).unwrap_or(Answer::Silent),
        Err(_) => Answer::Unknown,
    }
}

/// The process that holds the lock of an unmounted storage's store, where its state lies in the storage. Nobody's lock
/// is tried: a daemon that is just starting could meet it.
fn lock_holder(storage: &Path) -> Option<OwnedFd> {
    let lock = storage.join(".hippofs/lock");
    let pid: u32 = std::fs::read_to_string(&lock).ok()?.trim().parse().ok()?;
    let inode = format!(":{} ", std::fs::metadata(&lock).ok()?.ino());
    let holder = format!(" {pid} ");
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let held = locks
        .lines()
        .any(|line| line.contains("FLOCK") && line.contains(&holder) && line.contains(&inode));
    held.then(|| hippofs_process(pid)).flatten()
}

/// A process, if it is one of ours and not another that the number has gone to.
fn hippofs_process(pid: u32) -> Option<OwnedFd> {
    let pidfd = pidfd_open(
        Pid::from_raw(i32::try_from(pid).ok()?)?,
        PidfdFlags::empty(),
    )
    .ok()?;
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (comm.trim_end() == "hippofs").then_some(pidfd)
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
        _ => "unmount it as its owner or as root; `findmnt` shows who that is",
    };
    CliError::failed(mountpoint.display().to_string(), error, hint)
}
