//! inotify on every directory of the storage, by descriptor, so that a mount over the storage is never in the way.
//!
//! What the kernel tells is a hint and no more: it merges, drops, and echoes our own work. One queue serves all
//! directories, the state directory among them, so what comes out of it is in the order in which it happened.

use std::collections::HashMap;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use crate::backing::{self, Errno};

/// Bytes read from the kernel's queue at once: some hundred events.
const BUFFER_BYTES: usize = 64 * 1024;
/// Watches are spread over the directories of one storage; the state directory goes by this key, which no entry has.
pub(super) const STATE_DIR: u64 = u64::MAX;

/// One thing the kernel told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// Something happened to `name` in the directory `dir`.
    Entry {
        dir: u64,
        name: Vec<u8>,
        /// It was moved away: what stood there may turn up elsewhere.
        moved_away: bool,
    },
    /// The kernel's queue was full: anything may have happened.
    Overflow,
    /// The directory is no longer watched: it is gone, or its filesystem is.
    Unwatched { dir: u64, unmounted: bool },
}

/// Why a directory could not be watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum WatchError {
    /// No watch is left for this user.
    #[error("no inotify watch is left (fs.inotify.max_user_watches)")]
    Exhausted,
    /// The system refused.
    #[error("inotify: {0}")]
    Refused(Errno),
}

/// The watches. Shared by the one thread that reads and by those that add.
pub(super) struct Watcher {
    queue: OwnedFd,
    /// Can be read when all waiting is to end.
    end: OwnedFd,
    root: u64,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    dirs: HashMap<i32, u64>,
    by_dir: HashMap<u64, i32>,
}

impl Watcher {
    /// A watcher of nothing yet, for the storage whose root is known as `root`.
    ///
    /// # Errors
    /// As inotify_init1(2): EMFILE when this user has too many.
    pub(super) fn new(root: u64) -> Result<Watcher, Errno> {
        Ok(Watcher {
            queue: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            root,
            watches: Mutex::default(),
        })
    }

    /// Watches the directory that `fd` stands for, known as `dir`. What happened before the return may go untold:
    /// look at the directory afterwards. Says whether the watch is new.
    ///
    /// # Errors
    /// [`WatchError`].
    pub(super) fn watch(&self, dir: u64, fd: BorrowedFd<'_>) -> Result<bool, WatchError> {
        let mask = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        let added = inotify::add_watch(&self.queue, backing::proc_path(fd), mask);
        let number = added.map_err(|errno| match errno {
            Errno::NOSPC => WatchError::Exhausted,
            other => WatchError::Refused(other),
        })?;
        let mut watches = self.watches.lock();
        watches.by_dir.insert(dir, number);
        Ok(watches.dirs.insert(number, dir) != Some(dir))
    }

    /// Whether `dir` is watched.
    pub(super) fn watches(&self, dir: u64) -> bool {
        self.watches.lock().by_dir.contains_key(&dir)
    }

    /// Directories watched.
    pub(super) fn count(&self) -> usize {
        self.watches.lock().dirs.len()
    }

    /// Waits at most `longest` for something to be told, and hands on all there is. Says whether there was any.
    ///
    /// # Errors
    /// When the queue cannot be read, which ends the watching.
    pub(super) fn read(
        &self,
        longest: Duration,
        mut tell: impl FnMut(Told),
    ) -> Result<bool, Errno> {
        let timeout = Timespec::try_from(longest).ok();
        let poll_in = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut wait = [poll_in(self.queue.as_fd()), poll_in(self.end.as_fd())];
        match poll(&mut wait, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) if wait[0].revents().is_empty() => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(self.queue.as_fd(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(CString::from);
                    if let Some(told) = self.told(event.wd(), event.events(), name) {
                        tell(told);
                    }
                    // One buffer at a time, so that the caller sees the end of a busy queue too.
                    if reader.is_buffer_empty() {
                        return Ok(true);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes every present and future [`Watcher::read`] return without waiting. It needs nothing of any disk.
    pub(super) fn wake(&self) {
        // It can only fail when it was woken four thousand million times before.
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
    }

    fn told(&self, number: i32, what: ReadFlags, name: Option<CString>) -> Option<Told> {
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(Told::Overflow);
        }
        let mut watches = self.watches.lock();
        let dir = watches.dirs.get(&number).copied()?;
        if what.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
            watches.dirs.remove(&number);
            if watches.by_dir.get(&dir) == Some(&number) {
                watches.by_dir.remove(&dir);
            }
            let unmounted = what.contains(ReadFlags::UNMOUNT);
            return Some(Told::Unwatched { dir, unmounted });
        }
        let name = match name {
            Some(name) => name.into_bytes(),
            // What happens to a directory itself is told by the one it stands in, but the root stands in none.
            None if dir == self.root && what.contains(ReadFlags::ATTRIB) => b".".to_vec(),
            None => return None,
        };
        let moved_away = what.contains(ReadFlags::MOVED_FROM);
        Some(Told::Entry {
            dir,
            name,
            moved_away,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Instant;

    fn all(watcher: &Watcher, until: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let mut told = Vec::new();
        let end = Instant::now() + Duration::from_secs(10);
        while !until(&told) {
            assert!(Instant::now() < end, "{told:?}");
            watcher
                .read(Duration::from_millis(50), |t| told.push(t))
                .unwrap();
        }
        told
    }

    #[test]
    fn what_happens_in_a_watched_directory_is_told_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let fd = fs::File::open(dir.path()).unwrap();
        let watcher = Watcher::new(1).unwrap();
        assert!(watcher.watch(7, fd.as_fd()).unwrap());
        assert!(!watcher.watch(7, fd.as_fd()).unwrap());
        assert!(watcher.watches(7) && watcher.count() == 1);
        fs::write(dir.path().join("a"), "x").unwrap();
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        let entry = |name: &str, moved_away| Told::Entry {
            dir: 7,
            name: name.into(),
            moved_away,
        };
        let told = all(&watcher, |told| told.contains(&entry("b", false)));
        let away = told.iter().position(|t| *t == entry("a", true)).unwrap();
        assert_eq!(told[0], entry("a", false));
        assert_eq!(told[away + 1], entry("b", false));
    }

    #[test]
    fn a_wait_ends_when_it_is_woken() {
        let watcher = Watcher::new(1).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| watcher.read(Duration::from_secs(3600), |_| {}));
            watcher.wake();
            assert_eq!(waiting.join().unwrap(), Ok(false));
        });
    }

    #[test]
    fn a_directory_that_goes_is_no_longer_watched() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("d");
        fs::create_dir(&inner).unwrap();
        let watcher = Watcher::new(1).unwrap();
        let fd = fs::File::open(&inner).unwrap();
        watcher.watch(9, fd.as_fd()).unwrap();
        drop(fd);
        fs::remove_dir(&inner).unwrap();
        let gone = Told::Unwatched {
            dir: 9,
            unmounted: false,
        };
        all(&watcher, |told| told.contains(&gone));
        assert_eq!((watcher.watches(9), watcher.count()), (false, 0));
    }
}
