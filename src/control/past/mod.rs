//! What was: the contents and the tree as of an event, read back from the log and the stored contents.
//!
//! The log says what happened to each name; [`content`](self) of a name at a moment is found by walking its events back to
//! one that says it, or forward to one that says what it destroyed. Nothing here changes anything but [`restore`], which
//! asks the owner of the storage to.

mod answer;
mod change;
mod content;
mod history;
mod index;
mod names;
mod restore;
mod tree;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::content::{Content, ContentError};
use crate::event::{Access, Caller, Seq};
use crate::event_log::{EventLog, LogError};

pub(super) use answer::{Moment, VersionsQuery, failure, versions};
pub(super) use names::Names;
pub use names::VersionId;
pub(super) use restore::{RestoreQuery, Said, Work, begin as begin_restore};

use index::PathIndex;

/// The storage as it is now, and the way to change it. A trait, because what owns the storage is of a higher rank.
pub trait Present: Send + Sync {
    /// The content of the file or the target of the symbolic link at `path`, when no event after `not_after` has touched it; `None` when
    /// there is none, or one has.
    ///
    /// # Errors
    /// It cannot be read.
    fn live(&self, path: &[u8], not_after: Seq) -> io::Result<Option<Vec<u8>>>;
    /// Every entry of the storage, directories before what is in them.
    fn entries(&self) -> Vec<PresentEntry>;
    /// Bytes that the storage has room for.
    fn room(&self) -> u64;
    /// Puts an earlier version back, all of it at once.
    ///
    /// # Errors
    /// What the storage or the log said; then nothing has changed.
    fn put_back(&self, path: &[u8], what: &Returned<'_>, caller: &Arc<Caller>) -> io::Result<()>;
    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// What the storage or the log said.
    fn take_away(&self, path: &[u8], caller: &Arc<Caller>) -> io::Result<()>;
}

/// An entry that stands in the storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PresentEntry {
    /// Relative to the root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content.
    pub size: u64,
    /// The event that last touched it; 0 for one that stood there before the log.
    pub seq: Seq,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A regular file, or something that has no content and is not put back.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its content is its target.
    Symlink,
}

/// What is put back.
pub struct Returned<'a> {
    /// What it was.
    pub kind: EntryKind,
    /// Its content.
    pub content: &'a [u8],
    /// Permission bits and owner, where they are known.
    pub access: Option<Access>,
    /// The event as of which it was so.
    pub at: Seq,
}

/// Why the past cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum PastError {
    #[error("event log: {0}")]
    Log(#[from] LogError),
    #[error("content: {0}")]
    Content(#[from] ContentError),
    #[error("the storage cannot be read: {0}")]
    Present(#[from] io::Error),
    #[error("the log does not reach back so far, or has lost events since")]
    Lost,
    #[error("it was renamed more often than is followed")]
    TooDeep,
}

/// The past of one storage.
pub(super) struct Past {
    log: EventLog,
    content: Content,
    present: Arc<dyn Present>,
    index: Mutex<PathIndex>,
    pub(super) names: Names,
    /// Held by the one restore that is under way.
    restoring: Mutex<()>,
}

impl Past {
    pub(super) fn new(log: EventLog, content: Content, present: Arc<dyn Present>) -> Past {
        Past {
            log,
            content,
            present,
            index: Mutex::default(),
            names: Names::default(),
            restoring: Mutex::default(),
        }
    }
}

/// `path` below the directory `from` as it is below `to`; `None` when it is not below it.
fn moved_along(path: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(from)?;
    (rest.first() == Some(&b'/')).then(|| [to, rest].concat())
}
