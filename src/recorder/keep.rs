//! Content is kept: what a change destroys before it is performed, what it leaves behind after, each in the store
//! before the event that names it, so that no event names what cannot be had.
//!
//! Keeping never refuses a change. What cannot be kept is said in the event (`content_missing`).

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::backing::{self, Attr, FileType, OFlags};
use crate::content::{Content, ContentError, Kept};
use crate::event::{Event, MissingContent, Seq};

use super::catalog::{Hash, State};
use super::change::Change;
use super::digest::{Digest, digest, digest_open, same};
use super::reach::Tracked;
use super::{Located, Recorder};

/// Largest content in bytes that is kept on the thread that answers the kernel: the documents this is for are below
/// it. Larger content is kept by a thread that may take its time.
pub const INLINE_BYTES_MAX: u64 = 64 * 1024;
/// Most bytes of large contents in memory at once; what comes beyond is said to be missing.
const LARGE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Times a large content is read ahead because it changed meanwhile, before it is read with its entry locked.
const READS_AHEAD_MAX: usize = 2;

/// Ordinary `object_bytes_max`: documents and most sources are below it, media and archives above.
pub const OBJECT_BYTES_MAX_DEFAULT: u64 = 8 * 1024 * 1024;
/// Largest `object_bytes_max`: a content passes through memory as a whole.
pub const OBJECT_BYTES_MAX_MAX: u64 = 64 * 1024 * 1024;

/// Which contents are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Capture {
    /// None.
    None,
    /// Those that were closed after writing or made durable, and those that are destroyed.
    #[default]
    Close,
    /// The same, and the bytes of each write.
    Write,
}

impl Capture {
    /// Every way, as the words of the command line.
    pub const ALL: [Capture; 3] = [Capture::None, Capture::Close, Capture::Write];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Capture::None => "none",
            Capture::Close => "close",
            Capture::Write => "write",
        }
    }
}

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepOptions {
    /// Whether the bytes of each write are kept too, so that every state between two closes can be rebuilt.
    pub every_write: bool,
    /// Largest content that is kept, in bytes; of a larger one the hash alone is known.
    pub object_bytes_max: u64,
}

/// The store, and how it is used.
pub(super) struct Keeper {
    store: Content,
    options: KeepOptions,
    large_bytes: AtomicU64,
}

/// The content that a file had before a handle wrote to it, from the first write on.
#[derive(Default)]
pub struct Before(parking_lot::Mutex<Option<Hash>>);

impl Before {
    /// Its hash, where it is known.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        *self.0.lock()
    }

    pub(super) fn remember(&self, hash: Option<Hash>) {
        *self.0.lock() = hash;
    }
}

/// Content that a change destroys.
pub enum Destroyed<'a> {
    /// Of this open file.
    Of(&'a dyn Located, BorrowedFd<'a>),
    /// Of what stands at this name, if that is its only one.
    At(&'a dyn Located, &'a OsStr),
}

/// What is known of a content: it is held, or only its hash is known, or neither.
#[derive(Clone, Default)]
pub(super) struct Captured {
    pub(super) hash: Option<Hash>,
    /// Keeps it from going before an event names it.
    pub(super) pin: Option<Arc<Kept>>,
    pub(super) missing: Option<MissingContent>,
}

/// A content that was read before its entry was locked.
pub struct Ahead {
    attr: Attr,
    seq: Option<Seq>,
    captured: Captured,
}

impl Keeper {
    pub(super) fn new(store: Content, options: KeepOptions) -> Keeper {
        Keeper {
            store,
            options,
            large_bytes: AtomicU64::new(0),
        }
    }

    /// Keeps `bytes`.
    pub(super) fn keep(&self, bytes: &[u8]) -> Captured {
        match self.store.keep(bytes) {
            Ok(kept) => Captured {
                hash: Some(kept.hash()),
                pin: Some(Arc::new(kept)),
                missing: None,
            },
            Err(error) => Captured {
                hash: Some(*blake3::hash(bytes).as_bytes()),
                pin: None,
                missing: Some(match error {
                    ContentError::Full => MissingContent::Full,
                    ContentError::TooLarge => MissingContent::TooLarge,
                    ContentError::Io { .. }
                    | ContentError::Damaged { .. }
                    | ContentError::Closed => MissingContent::Io,
                }),
            },
        }
    }

    /// Keeps the content of the file or symbolic link that `fd` stands for, which was just found to be `attr`.
    pub(super) fn keep_open(&self, fd: BorrowedFd<'_>, attr: &Attr) -> Captured {
        if attr.kind == FileType::Symlink {
            return match backing::readlink(fd) {
                Ok(target) => self.keep(&target),
                Err(_) => Captured::missing(MissingContent::Io),
            };
        }
        if attr.size > self.options.object_bytes_max {
            return Captured::missing(MissingContent::TooLarge);
        }
        let Some(_room) = self.take_room(attr.size) else {
            return Captured::missing(MissingContent::Busy);
        };
        match read_whole(fd, attr) {
            Ok(bytes) => self.keep(&bytes),
            Err(missing) => Captured::missing(missing),
        }
    }

    /// Saves which contents the events up to `seq` name; all of them have been told to the store.
    pub(super) fn save(&self, seq: Seq) -> std::io::Result<()> {
        self.store.save(seq)
    }

    /// A content known by its hash, if it is held.
    fn held(&self, hash: &Hash) -> Option<Captured> {
        Some(Captured {
            hash: Some(*hash),
            pin: Some(Arc::new(self.store.held(hash)?)),
            missing: None,
        })
    }

    fn take_room(&self, bytes: u64) -> Option<Room<'_>> {
        let large = if bytes > INLINE_BYTES_MAX { bytes } else { 0 };
        let before = self.large_bytes.fetch_add(large, Relaxed);
        let room = Room(&self.large_bytes, large);
        (large == 0 || before + large <= LARGE_BYTES_MAX).then_some(room)
    }
}

/// Memory for a large content, given back when dropped.
struct Room<'a>(&'a AtomicU64, u64);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captured")
            .field("hash", &self.hash)
            .field("held", &self.pin.is_some())
            .field("missing", &self.missing)
            .finish()
    }
}

impl Captured {
    fn missing(why: MissingContent) -> Captured {
        Captured {
            missing: Some(why),
            ..Captured::default()
        }
    }

    fn known(hash: Option<Hash>) -> Captured {
        Captured {
            hash,
            ..Captured::default()
        }
    }
}

impl Recorder {
    /// What is kept; `None` when nothing is.
    #[must_use]
    pub fn keeps(&self) -> Option<KeepOptions> {
        self.keeper.as_ref().map(|keeper| keeper.options)
    }

    /// What `change` is about to destroy, kept if no event holds it yet. Its locks are held.
    pub(super) fn keep_destroyed<C: Change>(&self, change: &C) -> Captured {
        let (Some(tracked), Some(destroyed)) = (&self.tracked, change.destroys()) else {
            return Captured::default();
        };
        let known = match &destroyed {
            Destroyed::Of(entry, _) => tracked.state_of(*entry),
            Destroyed::At(dir, name) => tracked.state_at(*dir, name),
        };
        let hash = known.and_then(|state| state.hash);
        let Some(keeper) = &self.keeper else {
            return Captured::known(hash);
        };
        if let Some(held) = hash.and_then(|hash| keeper.held(&hash)) {
            return held;
        }
        if let Some(state) = known {
            let at_a_name = matches!(destroyed, Destroyed::At(..));
            let has_content = matches!(state.kind(), FileType::RegularFile | FileType::Symlink);
            if !has_content || (at_a_name && state.nlink > 1) {
                return Captured::known(hash);
            }
            if matches!(destroyed, Destroyed::Of(..)) && state.size == 0 {
                return Captured::default();
            }
        }
        let kept = keeper.keep_what(&destroyed);
        Captured {
            hash: kept.hash.or(hash),
            ..kept
        }
    }

    /// Completes the event of a change that was performed: the content it left, what it wrote, what moved with it.
    pub(super) fn keep_left<C: Change>(
        &self,
        change: &C,
        done: &C::Done,
        before: &Captured,
        event: &mut Event,
    ) -> Captured {
        if let Some(replaced) = &mut event.replaced {
            replaced.blake3 = before.hash;
        }
        if event.dest_path.is_none() {
            event.prev_blake3 = event.prev_blake3.or(before.hash);
        }
        event.content_missing = before.missing;
        if let (Some(tracked), Some(attr)) = (&self.tracked, change.carries(done)) {
            event.blake3 = tracked.hash_of(attr);
        }
        if let (Some(tracked), Some(attr)) = (&self.tracked, change.swaps(done)) {
            event.prev_blake3 = tracked.hash_of(attr);
        }
        let Some(keeper) = &self.keeper else {
            return Captured::default();
        };
        if keeper.options.every_write
            && let Some(data) = change.data(done)
        {
            let kept = keeper.keep(&data);
            event.data_blake3 = kept.hash;
            event.content_missing = event.content_missing.or(kept.missing);
            return kept;
        }
        let Some((file, attr)) = change.leaves(done) else {
            return Captured::default();
        };
        let ahead = change.ahead().filter(|ahead| self.still(ahead, attr));
        let kept = match ahead {
            Some(ahead) => ahead.captured.clone(),
            None => keeper.keep_open(file, attr),
        };
        event.blake3 = kept.hash;
        event.content_missing = event.content_missing.or(kept.missing);
        kept
    }

    /// The event `seq` names its contents: they stay for as long as it does.
    pub(super) fn name_content(&self, event: &Event, seq: Seq) {
        let Some(keeper) = &self.keeper else { return };
        let replaced = event.replaced.as_ref().and_then(|r| r.blake3);
        let hashes = [event.blake3, event.prev_blake3, event.data_blake3, replaced];
        for hash in hashes.iter().flatten() {
            keeper.store.named(hash, seq);
        }
    }

    /// The catalog knows the content that `change` left.
    pub(super) fn learn_left(&self, left: Option<&Attr>, kept: &Captured) {
        if let (Some(tracked), Some(attr), Some(hash)) = (&self.tracked, left, kept.hash) {
            let key = tracked.catalog.key_of(&attr.identity);
            if let Some(state) = tracked.catalog.state(key)
                && state.is_of(attr)
                && state.difference(attr).is_none()
            {
                tracked.catalog.set_hash(key, &state, hash);
            }
        }
    }

    /// Whether keeping the content of this open file, which is `attr`, takes longer than a kernel-facing thread may.
    #[must_use]
    pub fn is_long_to_keep(&self, attr: &Attr) -> bool {
        self.keeper.is_some() && attr.size > INLINE_BYTES_MAX
    }

    /// Whether keeping what stands at `name` takes longer than a kernel-facing thread may. Only a hint.
    #[must_use]
    pub fn is_long_to_destroy(&self, dir: &dyn Located, name: &OsStr) -> bool {
        let state = || self.tracked.as_ref()?.state_at(dir, name);
        self.keeper.is_some() && state().is_some_and(|state| self.is_unheld_and_large(&state))
    }

    /// Whether keeping the content of `entry` takes longer than a kernel-facing thread may. Only a hint.
    #[must_use]
    pub fn is_long_to_empty(&self, entry: &dyn Located) -> bool {
        let state = || self.tracked.as_ref()?.state_of(entry);
        self.keeper.is_some() && state().is_some_and(|state| self.is_unheld_and_large(&state))
    }

    fn is_unheld_and_large(&self, state: &State) -> bool {
        let held = |hash: &Hash| self.keeper.as_ref().and_then(|k| k.store.held(hash));
        state.kind() == FileType::RegularFile
            && state.size > INLINE_BYTES_MAX
            && state.hash.as_ref().and_then(held).is_none()
    }

    /// Reads and keeps a large content before its entry is locked, so that nobody waits for that but the caller.
    #[must_use]
    pub fn read_ahead(&self, entry: &dyn Located, file: BorrowedFd<'_>) -> Option<Ahead> {
        let (keeper, tracked) = (self.keeper.as_ref()?, self.tracked.as_ref()?);
        let key = tracked.catalog.key_of(&entry.identity());
        let mut ahead = None;
        for _ in 0..READS_AHEAD_MAX {
            let seq = tracked.catalog.state(key).map(|state| state.seq);
            let attr = backing::attr_of(file).ok()?;
            let captured = keeper.keep_or_hash(file, &attr);
            let now = Ahead {
                attr,
                seq,
                captured,
            };
            let stands = backing::attr_of(file).is_ok_and(|after| self.still(&now, &after));
            ahead = Some(now);
            if stands {
                break;
            }
        }
        ahead
    }

    fn still(&self, ahead: &Ahead, attr: &Attr) -> bool {
        let state = self.tracked.as_ref().and_then(|tracked| {
            let key = tracked.catalog.key_of(&attr.identity);
            tracked.catalog.state(key)
        });
        same(&ahead.attr, attr) && state.map(|state| state.seq) == ahead.seq
    }
}

impl Keeper {
    fn keep_what(&self, destroyed: &Destroyed<'_>) -> Captured {
        match destroyed {
            Destroyed::Of(_, file) => match backing::attr_of(*file) {
                Ok(attr) => self.keep_open(*file, &attr),
                Err(_) => Captured::missing(MissingContent::Io),
            },
            Destroyed::At(dir, name) => {
                let entry = dir
                    .descriptor()
                    .and_then(|dir| backing::open_handle(dir.as_fd(), name));
                // What cannot be reached cannot be destroyed either: the change itself will say so.
                let Ok(entry) = entry else {
                    return Captured::default();
                };
                match backing::attr_of(entry.as_fd()) {
                    Ok(attr) if attr.nlink > 1 || attr.is_directory() => Captured::default(),
                    Ok(attr) if !has_content(&attr) => Captured::default(),
                    Ok(attr) => self.keep_open(entry.as_fd(), &attr),
                    Err(_) => Captured::missing(MissingContent::Io),
                }
            }
        }
    }

    /// Keeps the content of a file, or hashes it when it is too large to be kept.
    fn keep_or_hash(&self, file: BorrowedFd<'_>, attr: &Attr) -> Captured {
        if attr.size <= self.options.object_bytes_max {
            return self.keep_open(file, attr);
        }
        let readable = backing::reopen(file, OFlags::RDONLY | OFlags::NONBLOCK);
        let hash = match readable.map(|file| digest_open(file.as_fd(), attr)) {
            Ok(Digest::Hash(hash)) => Some(hash),
            Ok(Digest::None | Digest::Moved) | Err(_) => None,
        };
        Captured {
            hash,
            ..Captured::missing(MissingContent::TooLarge)
        }
    }
}

fn has_content(attr: &Attr) -> bool {
    matches!(attr.kind, FileType::RegularFile | FileType::Symlink)
}

impl Tracked {
    fn state_of(&self, entry: &dyn Located) -> Option<State> {
        let key = self.catalog.key_of(&entry.identity());
        self.catalog.state(key).filter(|state| !state.unsure)
    }

    fn state_at(&self, dir: &dyn Located, name: &OsStr) -> Option<State> {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = self.catalog.key_of(&dir.identity());
        let key = self.catalog.child(dir, name.as_bytes())?;
        self.catalog.state(key).filter(|state| !state.unsure)
    }

    /// The hash of the content of an entry whose name alone has changed.
    fn hash_of(&self, attr: &Attr) -> Option<Hash> {
        let state = self.catalog.state(self.catalog.key_of(&attr.identity))?;
        state
            .hash
            .filter(|_| !state.unsure && state.is_of(attr) && !state.tells(attr))
    }
}

/// It changed while it was read.
pub(super) struct Moved;

/// The content of the entry at `name` in `dir`, just found to be `attr`: kept by `keeper`, or only hashed without one.
pub(super) fn capture(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    attr: &Attr,
    keeper: Option<&Keeper>,
) -> Result<Captured, Moved> {
    let Some(keeper) = keeper.filter(|_| has_content(attr)) else {
        return hashed(digest(dir, name, attr));
    };
    match backing::open_handle(dir, name) {
        Ok(entry) if attr.kind == FileType::Symlink => Ok(keeper.keep_open(entry.as_fd(), attr)),
        Ok(entry) => capture_open(entry.as_fd(), attr, Some(keeper)),
        Err(_) => Err(Moved),
    }
}

/// The same of what `fd` stands for.
pub(super) fn capture_open(
    fd: BorrowedFd<'_>,
    attr: &Attr,
    keeper: Option<&Keeper>,
) -> Result<Captured, Moved> {
    let captured = match keeper {
        Some(keeper) => keeper.keep_or_hash(fd, attr),
        None => match backing::reopen(fd, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => hashed(digest_open(file.as_fd(), attr))?,
            Err(_) => Captured::default(),
        },
    };
    match captured.missing {
        Some(MissingContent::Changed) => Err(Moved),
        _ => Ok(captured),
    }
}

fn hashed(digest: Digest) -> Result<Captured, Moved> {
    match digest {
        Digest::Hash(hash) => Ok(Captured::known(Some(hash))),
        Digest::None => Ok(Captured::default()),
        Digest::Moved => Err(Moved),
    }
}

/// The whole content of the file that `fd` stands for, exactly as it was when its attributes were `attr`.
fn read_whole(fd: BorrowedFd<'_>, attr: &Attr) -> Result<Vec<u8>, MissingContent> {
    let room = usize::try_from(attr.size).map_err(|_| MissingContent::TooLarge)?;
    // One byte more shows a file that has grown.
    let mut bytes = vec![0; room + 1];
    let count = match backing::read_at(fd, 0, &mut bytes) {
        // A descriptor that cannot be read: write-only, or one that only stands for the file.
        Err(backing::Errno::BADF) => {
            let file = backing::reopen(fd, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME)
                .or_else(|_| backing::reopen(fd, OFlags::RDONLY | OFlags::NONBLOCK));
            file.and_then(|file| fill(file.as_fd(), &mut bytes, 0))
        }
        Err(errno) => Err(errno),
        Ok(count) if count == room => Ok(count),
        Ok(count) => fill(fd, &mut bytes, count),
    };
    let count = count.map_err(|_| MissingContent::Io)?;
    let now = backing::attr_of(fd).map_err(|_| MissingContent::Io)?;
    // The number of names and their time may have changed by the very change that is being recorded.
    let stands = now.identity == attr.identity && now.size == attr.size && now.mtime == attr.mtime;
    if count != room || !stands {
        return Err(MissingContent::Changed);
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Reads from `done` on until the buffer is full or the file ends; gives the count.
fn fill(fd: BorrowedFd<'_>, bytes: &mut [u8], mut done: usize) -> Result<usize, backing::Errno> {
    while done < bytes.len() {
        match backing::read_at(fd, done as u64, &mut bytes[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}
