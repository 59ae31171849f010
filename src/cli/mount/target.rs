//! Where to mount what: both paths resolved, every unusable one refused with its reason, and the storage directory
//! opened before anything covers it. A dead earlier mount over the storage itself is taken away first, since nothing
//! can be opened below it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::daemon::{DaemonError, mounts};

/// Dead mounts that may lie on each other before this gives up: each failed start leaves at most one.
const DEAD_LAYERS_MAX: u32 = 32;

/// A storage and a mount point that fit together.
#[derive(Debug)]
pub(super) struct Target {
    /// Absolute, without symbolic links.
    pub(super) storage: PathBuf,
    /// Absolute, without symbolic links; equal to `storage` when over itself.
    pub(super) mountpoint: PathBuf,
    /// The storage directory itself.
    pub(super) storage_dir: OwnedFd,
}

/// Checks and opens. Without `mountpoint` the storage is mounted over itself.
///
/// # Errors
/// [`DaemonError::Storage`] and [`DaemonError::Mountpoint`], each naming what is wrong.
pub(super) fn resolve(storage: &Path, mountpoint: Option<&Path>) -> Result<Target, DaemonError> {
    let over_itself = mountpoint.is_none_or(|given| same_path(given, storage));
    if over_itself {
        detach_dead(storage)?;
    }
    let storage = storage_path(storage)?;
    let storage_dir = open_storage(&storage)?;
    let mountpoint = match mountpoint {
        Some(given) if !over_itself => mountpoint_path(given, &storage)?,
        _ => storage.clone(),
    };
    Ok(Target {
        storage,
        mountpoint,
        storage_dir,
    })
}

/// `--state-dir` made absolute; it need not exist yet, but its parent must.
///
/// # Errors
/// [`DaemonError::State`] when it lies where the mount would cover or record it.
pub(super) fn state_dir(given: &Path, target: &Target) -> Result<PathBuf, DaemonError> {
    let refuse = |why: String, hint| DaemonError::State {
        path: given.to_path_buf(),
        why,
        hint,
    };
    let path = resolve_last(given)
        .map_err(|error| refuse(error.to_string(), "make its parent directory first"))?;
    for (dir, name) in [
        (&target.storage, "storage"),
        (&target.mountpoint, "mount point"),
    ] {
        if path.starts_with(dir) {
            return Err(refuse(
                format!("it lies inside the {name}"),
                "choose a directory elsewhere, or leave the option out",
            ));
        }
    }
    Ok(path)
}

/// Takes dead hippofs mounts at `storage` away.
fn detach_dead(storage: &Path) -> Result<(), DaemonError> {
    for _ in 0..DEAD_LAYERS_MAX {
        if !mounts::is_dead(storage) {
            return Ok(());
        }
        let path = resolve_last(storage).unwrap_or_else(|_| storage.to_path_buf());
        let ours = mounts::at(&path)
            .ok()
            .flatten()
            .is_some_and(|mount| mount.is_hippofs());
        if !ours {
            return Err(covered_by_dead(&path));
        }
        mounts::detach(&path).map_err(|error| {
            let why = format!("a dead mount lies over it and cannot be taken away: {error}");
            refuse_storage(&path, why, "unmount it as its owner or as root")
        })?;
        log::info!("took away the dead mount at {}", path.display());
    }
    Ok(())
}

fn storage_path(given: &Path) -> Result<PathBuf, DaemonError> {
    if mounts::is_dead(given) {
        return Err(covered_by_dead(given));
    }
    let storage = given
        .canonicalize()
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => refuse_storage(
                given,
                "it does not exist".into(),
                "create it, or see the spelling",
            ),
            Some(libc::ENOTDIR) => refuse_storage(
                given,
                "a part of the path is not a directory".into(),
                "see the spelling",
            ),
            Some(libc::ENOTCONN) => covered_by_dead(given),
            _ => refuse_storage(
                given,
                error.to_string(),
                "see its permissions and those above it",
            ),
        })?;
    let holder = mounts::holding(&storage)
        .map_err(DaemonError::io("/proc/self/mountinfo", "mount /proc"))?;
    if let Some(holder) = holder.filter(mounts::Mount::is_hippofs) {
        if holder.mountpoint == storage {
            return Err(refuse_storage(
                &storage,
                "it is mounted already".into(),
                "use that mount, or unmount it first",
            ));
        }
        let why = format!(
            "it is itself inside the hippofs mount at {}",
            holder.mountpoint.display()
        );
        return Err(refuse_storage(
            &storage,
            why,
            "a mount of that mount would record everything twice: use that one",
        ));
    }
    refuse_served(&storage)?;
    Ok(storage)
}

/// Refuses a storage that is mounted elsewhere. The lock of the store says so too, but not when the two have different
/// state directories.
fn refuse_served(storage: &Path) -> Result<(), DaemonError> {
    let mounts = mounts::list().map_err(DaemonError::io("/proc/self/mountinfo", "mount /proc"))?;
    let serving = mounts.into_iter().find(|mount| {
        mount.is_hippofs() && Path::new(&mount.source) == storage && !mount.is_dead()
    });
    match serving {
        None => Ok(()),
        Some(mount) => {
            let why = format!("it is mounted already at {}", mount.mountpoint.display());
            Err(refuse_storage(
                storage,
                why,
                "use that mount, or unmount it first",
            ))
        }
    }
}

fn open_storage(storage: &Path) -> Result<OwnedFd, DaemonError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(storage, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOTDIR => refuse_storage(
            storage,
            "it is not a directory".into(),
            "give the directory to record",
        ),
        rustix::io::Errno::ACCESS => refuse_storage(
            storage,
            "it may not be read".into(),
            "run as its owner or as root",
        ),
        _ => refuse_storage(
            storage,
            io::Error::from(error).to_string(),
            "see that its disk is well",
        ),
    })
}

fn mountpoint_path(given: &Path, storage: &Path) -> Result<PathBuf, DaemonError> {
    let refuse = |why: String, hint| DaemonError::Mountpoint {
        path: given.to_path_buf(),
        why,
        hint,
    };
    // A dead mount is left for `serve`, which puts the new one in its place.
    let dead = mounts::is_dead(given);
    let path = if dead {
        resolve_last(given)
    } else {
        given.canonicalize()
    };
    let path = path.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => refuse("it does not exist".into(), "create the directory first"),
        _ => refuse(error.to_string(), "see the path"),
    })?;
    if !dead && !path.is_dir() {
        return Err(refuse(
            "it is not a directory".into(),
            "give a directory to mount over",
        ));
    }
    if path != storage && path.starts_with(storage) {
        return Err(refuse(
            "it lies inside the storage".into(),
            "choose one elsewhere, or the storage itself",
        ));
    }
    if path != storage && storage.starts_with(&path) {
        let hint =
            "the mount would hide its own storage: choose one elsewhere, or the storage itself";
        return Err(refuse("it contains the storage".into(), hint));
    }
    let here = mounts::at(&path).map_err(DaemonError::io("/proc/self/mountinfo", "mount /proc"))?;
    if !dead && here.is_some_and(|mount| mount.is_hippofs()) {
        return Err(refuse(
            "a hippofs is mounted here already".into(),
            "use that mount, or unmount it first",
        ));
    }
    Ok(path)
}

/// The path with every component but the last resolved, for a last one that does not exist or cannot be asked.
pub(in crate::cli) fn resolve_last(path: &Path) -> io::Result<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => path.canonicalize(),
    }
}

/// Whether two paths name the same place, as far as that can be said without touching what may be dead.
fn same_path(a: &Path, b: &Path) -> bool {
    match (resolve_last(a), resolve_last(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// A dead mount that is not to be taken away unasked: it lies elsewhere than asked for, or is not ours.
fn covered_by_dead(path: &Path) -> DaemonError {
    let why = "a dead mount lies over it or above it".into();
    refuse_storage(path, why, "find it with `findmnt` and unmount it first")
}

fn refuse_storage(path: &Path, why: String, hint: &'static str) -> DaemonError {
    DaemonError::Storage {
        path: path.to_path_buf(),
        why,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(storage: &Path, mountpoint: Option<&Path>) -> String {
        resolve(storage, mountpoint).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_mounted_is_refused_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (storage, file, inner) = (root.join("s"), root.join("f"), root.join("s/m"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(refusal(&file, None).contains("not a directory"));
        assert!(refusal(&root.join("none"), None).contains("does not exist"));
        assert!(refusal(&file.join("x"), None).contains("not a directory"));
        assert!(refusal(&storage, Some(&root.join("none"))).contains("does not exist"));
        assert!(refusal(&storage, Some(&file)).contains("not a directory"));
        assert!(refusal(&storage, Some(&inner)).contains("inside the storage"));
        assert!(refusal(&storage, Some(&root)).contains("contains the storage"));
    }

    #[test]
    fn both_paths_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let storage = root.join("s");
        std::fs::create_dir(&storage).unwrap();
        std::os::unix::fs::symlink(&storage, root.join("link")).unwrap();
        let target = resolve(&root.join("link"), Some(&root.join("s/../link"))).unwrap();
        assert_eq!((&target.storage, &target.mountpoint), (&storage, &storage));
        assert!(state_dir(&storage.join("state"), &target).is_err());
        assert_eq!(
            state_dir(&root.join("state"), &target).unwrap(),
            root.join("state")
        );
    }
}
