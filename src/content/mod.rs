//! Every version of every file: objects addressed by their blake3 hash, in packs beside the log. Rank 1.
//!
//! ```text
//!  keep --> held already? --> pin, done          retention: packs that no kept event names go, oldest first
//!    |
//!    +--> one write at the end of the active pack --> in the table --> readers
//!
//!  content/00000000000000000007.pack     records, one after the other; the newest pack is preallocated
//!          00000000000000000007.index    where each is; derived, of sealed packs
//!          names                         up to which event it is known what each pack is named by; derived
//! ```
//!
//! An object up to [`CHUNK_BYTES`] is one record. A larger one is cut into pieces of that size, each a record of its own,
//! and a manifest that lists them: a large file edited in place costs what changed, on any filesystem. (A reflink
//! would share blocks with the present file only, on some filesystems, and cost a file for each version.)
//!
//! The record format is `format`'s alone; what a start accepts, cuts and leaves aside is the rule in `recovery`. An
//! object is in the table only when its record has been written, so whoever is told that it is held can read it,
//! also after a kill of the process; after [`Content::sync`], after a power loss too.
//!
//! Lock order: the sync, then the active pack, then the map of packs, then one shard of the table. Files are written
//! under the first two only.
//!
//! What must never happen here: wrong bytes are given out; a pack goes while an event that is kept, or is just being
//! written, names something in it; a sealed pack is written.

mod active;
mod format;
mod pack;
mod recovery;
mod retention;
mod store;
mod sync;
mod table;
mod verify;

#[cfg(test)]
mod tests;

use std::io;

pub use active::{PACK_BYTES_DEFAULT, PACK_BYTES_MAX, PACK_BYTES_MIN};
pub use format::Hash;
pub use recovery::Opened;
pub use store::{CHUNK_BYTES, Content, ContentStats, Kept, OBJECT_BYTES_MAX, Options};
pub use verify::{VerifyReport, verify};

/// Why content is not kept or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// There is no room.
    #[error("no space left for contents")]
    Full,
    /// A call on a file failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Above [`OBJECT_BYTES_MAX`].
    #[error("larger than {OBJECT_BYTES_MAX} bytes")]
    TooLarge,
    /// The record is there and is not what was written.
    #[error("damaged: {detail}")]
    Damaged {
        /// Which record, and how.
        detail: String,
    },
    /// After [`Content::close`].
    #[error("the contents are closed")]
    Closed,
}

impl ContentError {
    /// Says what was being done when the system refused.
    fn io(what: &'static str) -> impl Fn(io::Error) -> ContentError {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ContentError::Full,
            _ => ContentError::Io { what, source },
        }
    }
}
