//! The state on disk: `store.json`, `lock` and the directory of the log. Reached from the storage's descriptor, so
//! that a mount over the storage is never in the way.

use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RawDir, flock, fsync, mkdirat, openat, renameat,
};
use rustix::io::Errno;
use uuid::Uuid;

use super::{Config, DaemonError};
use crate::disk::DirStorage;
use crate::vfs::CONTROL_NAME;

/// The format this program writes, and the newest it reads.
pub const FORMAT: u64 = 1;
/// What the store is.
const STORE_FILE: &str = "store.json";
/// Locked by the one daemon that serves the store; holds its pid.
const LOCK_FILE: &str = "lock";
/// Directory of the durable consumers.
const CONSUMERS_DIR: &str = "consumers";
/// Directory of the stored contents.
const CONTENT_DIR: &str = "content";
/// Directory of the log.
const LOG_DIR: &str = "log";
/// How long another daemon may take to end after its mount has gone, before the storage counts as served.
const ENDING_WAIT: Duration = Duration::from_secs(5);
/// Time between two looks at a lock that is taken.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A store file is a hundred bytes; this much is read of whatever stands there.
const STORE_BYTES_MAX: u64 = 4096;

/// An open store, locked for this process until dropped.
pub struct Store {
    /// Its identity, given when it was made.
    pub id: Uuid,
    /// The state directory itself.
    pub dir: OwnedFd,
    /// The directory of its log.
    pub log_dir: OwnedFd,
    /// The directory of its durable consumers.
    pub consumers_dir: OwnedFd,
    /// The directory of its stored contents.
    pub content_dir: OwnedFd,
    /// Where the log is, for messages.
    pub log_path: PathBuf,
    _lock: OwnedFd,
}

impl Store {
    /// Opens the store of `config`'s storage, or makes one.
    ///
    /// # Errors
    /// [`DaemonError::Locked`] when another daemon serves it, [`DaemonError::NewerFormat`],
    /// [`DaemonError::State`] when something else stands in its place or the disk refuses.
    pub fn open(config: &Config, storage: BorrowedFd<'_>) -> Result<Store, DaemonError> {
        let path = config
            .state_dir
            .clone()
            .unwrap_or_else(|| config.storage.join(CONTROL_NAME));
        let at = |what: &str| path.join(what);
        let dir = match &config.state_dir {
            Some(given) => directory(rustix::fs::CWD, given.as_os_str()),
            None => directory(storage, OsStr::new(CONTROL_NAME)),
        };
        let state_dir = dir.map_err(|errno| failed(&path, errno))?;
        let dir = state_dir.as_fd();
        refuse_foreign(dir, &path)?;
        let lock = lock(dir, &at(LOCK_FILE), &config.storage)?;
        lock_storage(config, storage)?;
        let id = match read_store(dir, &at(STORE_FILE))? {
            Some(id) => id,
            None => make_store(dir).map_err(|errno| failed(&at(STORE_FILE), errno))?,
        };
        let log_path = at(LOG_DIR);
        let log_dir =
            directory(dir, OsStr::new(LOG_DIR)).map_err(|errno| failed(&log_path, errno))?;
        let consumers_dir = directory(dir, OsStr::new(CONSUMERS_DIR))
            .map_err(|errno| failed(&at(CONSUMERS_DIR), errno))?;
        let content_dir = directory(dir, OsStr::new(CONTENT_DIR))
            .map_err(|errno| failed(&at(CONTENT_DIR), errno))?;
        // What is made durable in these directories must not be lost with their names.
        settle_names(config, storage, dir).map_err(|errno| failed(&path, errno))?;
        Ok(Store {
            id,
            dir: state_dir,
            log_dir,
            consumers_dir,
            content_dir,
            log_path,
            _lock: lock,
        })
    }
}

impl Store {
    /// The files that stand in the state directory itself.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn files(&self) -> io::Result<DirStorage> {
        Ok(DirStorage::new(self.dir.try_clone()?))
    }
}

fn failed(path: &Path, errno: Errno) -> DaemonError {
    let (why, hint) = match errno {
        Errno::NOTDIR | Errno::LOOP => (
            "it is not a directory".into(),
            "move it away, or use --state-dir",
        ),
        Errno::NOSPC | Errno::DQUOT => ("no space left on the disk".into(), "make room"),
        Errno::ROFS | Errno::ACCESS | Errno::PERM => {
            (io::Error::from(errno).to_string(), "use --state-dir")
        }
        _ => (
            io::Error::from(errno).to_string(),
            "see the disk and the permissions",
        ),
    };
    DaemonError::State {
        path: path.to_path_buf(),
        why,
        hint,
    }
}

/// Locks `file`, and waits a moment for whoever has it: umount(8) returns while the daemon still saves its state.
fn lock_soon(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let end = Instant::now() + ENDING_WAIT;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(LOOK_EVERY),
            outcome => return outcome,
        }
    }
}

/// Locks the storage directory itself, which two daemons with different state directories would share.
fn lock_storage(config: &Config, storage: BorrowedFd<'_>) -> Result<(), DaemonError> {
    match lock_soon(storage) {
        Err(Errno::WOULDBLOCK) => Err(DaemonError::Locked {
            path: config.storage.clone(),
            pid: None,
        }),
        // Filesystems without locks are guarded by the lock of the state alone.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens the directory `name`, made for the owner alone when it is missing.
fn directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Makes durable the names in the state directory and its own.
fn settle_names(
    config: &Config,
    storage: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fsync(dir)?;
    let above = match &config.state_dir {
        Some(given) => openat(rustix::fs::CWD, given.join(".."), flags, Mode::empty()),
        // The storage may have been opened as a place only.
        None => openat(storage, ".", flags, Mode::empty()),
    };
    // What lies above may be closed to this user, or on a filesystem that flushes no directories.
    if let Err(errno) = above.and_then(fsync) {
        log::info!("the name of the state directory is not flushed: {errno}");
    }
    Ok(())
}

/// A directory of that name that holds anything, but no store, belongs to someone else.
fn refuse_foreign(dir: BorrowedFd<'_>, path: &Path) -> Result<(), DaemonError> {
    let ours = |name: &str| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    // A start that was cut short may have left no more than the lock.
    if ours(STORE_FILE) || ours(LOCK_FILE) {
        return Ok(());
    }
    let names = openat(
        dir,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let names = names.map_err(|errno| failed(path, errno))?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(names, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| failed(path, errno))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Err(DaemonError::State {
                path: path.to_path_buf(),
                why: "the name is reserved and something else stands there".into(),
                hint: "move it away, or use --state-dir",
            });
        }
    }
    Ok(())
}

fn lock(dir: BorrowedFd<'_>, path: &Path, storage: &Path) -> Result<OwnedFd, DaemonError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, LOCK_FILE, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| failed(path, errno))?;
    let mut file = std::fs::File::from(fd);
    match lock_soon(file.as_fd()) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = (&mut file).take(STORE_BYTES_MAX).read_to_string(&mut text);
            return Err(DaemonError::Locked {
                path: storage.to_path_buf(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(errno) => return Err(failed(path, errno)),
    }
    // The pid only helps a person; a disk without room for it must not keep the mount away.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file.into())
}

/// The store's identity; `None` when there is no store yet.
fn read_store(dir: BorrowedFd<'_>, path: &Path) -> Result<Option<Uuid>, DaemonError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(dir, STORE_FILE, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(path, errno)),
    };
    let mut text = String::new();
    let damaged = |why: String| DaemonError::State {
        path: path.to_path_buf(),
        why,
        hint: "restore it from a backup, or move it away to give the log a new identity",
    };
    std::fs::File::from(fd)
        .take(STORE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|e| damaged(e.to_string()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| damaged(format!("damaged: {e}")))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    let format = format.ok_or_else(|| damaged("damaged: it names no format".into()))?;
    if format > FORMAT {
        return Err(DaemonError::NewerFormat {
            path: path.to_path_buf(),
            found: format,
            known: FORMAT,
        });
    }
    let id = value
        .get("store")
        .and_then(serde_json::Value::as_str)
        .and_then(|text| Uuid::parse_str(text).ok());
    id.map(Some)
        .ok_or_else(|| damaged("damaged: it names no store".into()))
}

/// Writes a new identity: all of it or nothing.
fn make_store(dir: BorrowedFd<'_>) -> Result<Uuid, Errno> {
    const NEW_FILE: &str = "store.json.new";
    let id = Uuid::new_v4();
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(openat(dir, NEW_FILE, flags, Mode::RUSR | Mode::WUSR)?);
    let written =
        writeln!(file, "{{\"format\":{FORMAT},\"store\":\"{id}\"}}").and_then(|()| file.sync_all());
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    renameat(dir, NEW_FILE, dir, STORE_FILE)?;
    rustix::fs::fsync(openat(
        dir,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)?;
    Ok(id)
}
