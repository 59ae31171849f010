//! Content is kept: what a change destroys before it is performed, what it leaves behind after, each in the store
//! before the event that names it, so that no event names what cannot be had.
//!
//! Keeping never refuses a change. What cannot be kept is said in the event (`content_missing`).

mod change;
mod read;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::backing::{self, Attr, FileType};
use crate::content::{Content, ContentError, Kept};
use crate::event::{MissingContent, Seq};

use super::Located;
use super::catalog::Hash;
use super::digest::{Digest, digest_open};
use read::read_whole;
pub(super) use read::{Moved, capture, capture_open};

/// Largest content in bytes that is kept on the thread that answers the kernel: the documents this is for are below
/// it. Larger content is kept by a thread that may take its time.
pub const INLINE_BYTES_MAX: u64 = 64 * 1024;
/// Most bytes of large contents in memory at once; what comes beyond is said to be missing.
const LARGE_BYTES_MAX: u64 = 256 * 1024 * 1024;

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
        let readable = backing::reopen_quietly(file);
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
