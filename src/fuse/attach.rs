//! Putting the mount in its place: a session with the kernel first, the place in the tree second, so that nobody
//! sees a mount that does not answer.
//!
//! Over a dead earlier mount (its daemon died) the new one is mounted *beneath* and the dead one then taken off: at no
//! moment is the raw storage open to sessions that think they work in the mount.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use fuser::MountOption;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

/// How the mount is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// The storage, as it is shown in the list of mounts.
    pub source: PathBuf,
    /// Where.
    pub mountpoint: PathBuf,
    /// Whether other users may use it.
    pub allow_other: bool,
    /// Whether nothing can be changed through it.
    pub read_only: bool,
    /// Generic mount flags (`nodev`, `nosuid`, `noexec`, `noatime` and their kin).
    pub flags: Vec<String>,
}

/// Why the mount could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// `/dev/fuse` cannot be opened.
    #[error("/dev/fuse: {0}")]
    Device(io::Error),
    /// The kernel refused.
    #[error("{what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

fn kernel(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> AttachError {
    move |errno| AttachError::Kernel {
        what,
        source: errno.into(),
    }
}

/// A mount the kernel has made and nobody can see yet.
pub(super) struct Detached {
    mount: OwnedFd,
}

/// Opens the device the session is spoken over.
pub(super) fn open_device() -> Result<OwnedFd, AttachError> {
    rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| AttachError::Device(errno.into()))
}

/// A filesystem context bound to `device`; creating it sends the kernel's first request there.
pub(super) fn create(device: &OwnedFd, options: &Options) -> Result<OwnedFd, AttachError> {
    const DIRECTORY: &str = "40000";
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(kernel("fsopen"))?;
    let fs = context.as_fd();
    let text =
        |key: &str, value: &OsStr| fsconfig_set_string(fs, key, value).map_err(kernel("fsconfig"));
    text("source", options.source.as_os_str())?;
    text("subtype", OsStr::new("hippofs"))?;
    text("fd", OsStr::new(&device.as_raw_fd().to_string()))?;
    text("rootmode", OsStr::new(DIRECTORY))?;
    text(
        "user_id",
        OsStr::new(&rustix::process::geteuid().as_raw().to_string()),
    )?;
    text(
        "group_id",
        OsStr::new(&rustix::process::getegid().as_raw().to_string()),
    )?;
    fsconfig_set_flag(fs, "default_permissions").map_err(kernel("fsconfig"))?;
    if options.allow_other {
        fsconfig_set_flag(fs, "allow_other").map_err(kernel("fsconfig"))?;
    }
    if options.read_only {
        fsconfig_set_flag(fs, "ro").map_err(kernel("fsconfig"))?;
    }
    fsconfig_create(fs).map_err(kernel("mount"))?;
    Ok(context)
}

/// The same options in the words of the mount helper.
pub(super) fn helper_options(options: &Options) -> Vec<MountOption> {
    let flags = options.flags.iter().filter_map(|flag| match flag.as_str() {
        "nodev" => Some(MountOption::NoDev),
        "nosuid" => Some(MountOption::NoSuid),
        "noexec" => Some(MountOption::NoExec),
        "noatime" => Some(MountOption::NoAtime),
        _ => None,
    });
    let mut all = vec![
        MountOption::FSName(options.source.display().to_string()),
        MountOption::Subtype("hippofs".into()),
        MountOption::DefaultPermissions,
    ];
    all.extend(flags);
    all.extend(options.read_only.then_some(MountOption::RO));
    all
}

/// Makes the mount of a filesystem whose session has begun.
pub(super) fn detached(context: &OwnedFd, options: &Options) -> Result<Detached, AttachError> {
    let mut flags = MountAttrFlags::empty();
    for option in &options.flags {
        flags |= match option.as_str() {
            "nodev" => MountAttrFlags::MOUNT_ATTR_NODEV,
            "nosuid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
            "noexec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
            "nodiratime" => MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "strictatime" => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            _ => MountAttrFlags::empty(),
        };
    }
    if options.read_only {
        flags |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let mount =
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, flags).map_err(kernel("fsmount"))?;
    Ok(Detached { mount })
}

impl Detached {
    /// Puts the mount in its place. With `over_dead` a dead mount lies there and is taken off afterwards.
    pub(super) fn place(&self, mountpoint: &Path, over_dead: bool) -> Result<(), AttachError> {
        let from_here = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        if over_dead {
            let beneath = from_here | MoveMountFlags::MOVE_MOUNT_BENEATH;
            match move_mount(&self.mount, "", CWD, mountpoint, beneath) {
                Ok(()) => return take_off(mountpoint).map_err(kernel("taking the dead mount off")),
                // Kernels before 6.5 cannot: the storage is open for a moment.
                Err(_) => take_off(mountpoint).map_err(kernel("taking the dead mount off"))?,
            }
        }
        move_mount(&self.mount, "", CWD, mountpoint, from_here).map_err(kernel("move_mount"))
    }
}

/// Takes the topmost mount at `mountpoint` off, whoever still uses it.
pub(super) fn take_off(mountpoint: &Path) -> Result<(), rustix::io::Errno> {
    unmount(mountpoint, UnmountFlags::DETACH)
}

/// Takes the topmost mount at `mountpoint` off unless someone uses it.
pub(super) fn unmount_idle(mountpoint: &Path) -> Result<(), rustix::io::Errno> {
    unmount(mountpoint, UnmountFlags::empty())
}
