//! Small disks that fill.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A small filesystem in memory, unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn at(place: PathBuf, size: &str) -> SmallDisk {
        let options = std::ffi::CString::new(format!("size={size},mode=755")).expect("options");
        mount(
            "tmpfs",
            &place,
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .expect("mount a tmpfs");
        SmallDisk(place)
    }

    /// Makes it read-only under whoever uses it, or writable again. It waits for nobody who writes.
    pub(crate) fn set_read_only(&self, on: bool) -> rustix::io::Result<()> {
        let flags = if on {
            MountFlags::RDONLY
        } else {
            MountFlags::empty()
        };
        mount_remount(&self.0, flags, "")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Fills the disk past the mount.
pub(crate) fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = fs::File::create(&path).expect("the filler");
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}
