//! One test's ground: its directories, removed at the end, and its place in the watchdog's list.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::hippofs::{Mount, Settings};
use super::watchdog;

/// Declare it first in a test, so that it is dropped last.
pub(crate) struct Case {
    dir: TempDir,
    _entry: watchdog::Entry,
}

impl Case {
    /// A fresh case named after the test's thread.
    pub(crate) fn new() -> Case {
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        let entry = watchdog::Entry::test(name);
        let dir = tempfile::Builder::new()
            .prefix("hippofs-test-")
            .tempdir()
            .expect("a directory for the case");
        // Other users take part in some tests, and TempDir is private.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("open the directory");
        for name in ["storage", "mnt", "native"] {
            std::fs::create_dir(dir.path().join(name)).expect("a subdirectory");
        }
        Case { dir, _entry: entry }
    }

    /// A path inside the case's own directory, outside any mount.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The storage directory that mounts are made of.
    pub(crate) fn storage(&self) -> PathBuf {
        self.path("storage")
    }

    /// An empty directory to mount at.
    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.path("mnt")
    }

    /// A plain directory on the same filesystem, to compare with.
    pub(crate) fn native(&self) -> PathBuf {
        self.path("native")
    }

    /// Mounts the storage at the mountpoint.
    #[track_caller]
    pub(crate) fn mount(&self) -> Mount {
        self.mount_with(&[])
    }

    /// The same with more options.
    #[track_caller]
    pub(crate) fn mount_with(&self, options: &[&str]) -> Mount {
        Mount::start(Settings::new(
            self.storage(),
            Some(self.mountpoint()),
            options,
        ))
    }

    /// Mounts the storage over itself.
    #[track_caller]
    pub(crate) fn mount_over(&self) -> Mount {
        Mount::start(Settings::new(self.storage(), None, &[]))
    }
}
