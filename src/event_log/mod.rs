//! WHERE events are kept: an append-only log of JSON Lines in preallocated segments. Rank 1.
//!
//! ```text
//!  reserve --> append --> publish --> wake          keeper: sync, cut sealed tails, retention, heal
//!     |          |           |
//!     |   one pwrite under   +--> readers copy file ranges up to the published head
//!     |   the serial point
//!  room is preallocated, so an append cannot meet a full disk
//!
//!  log/00000000000000000001.jsonl    sealed: cut to its length, never written again
//!      00000000000000004711.jsonl    active: lines, then zero bytes up to its preallocated end
//!      spare                         the next segment, preallocated and blank
//!      clean                         present while the log is closed and was closed in order
//! ```
//!
//! A segment is named by the first seq it may hold, twenty digits. Its bytes are exactly what readers get; the
//! line format is `event::line`'s alone. What recovery accepts, cuts and keeps is the rule in `recovery`.
//!
//! Lock order: the segments to be removed, then the serial point (`writer::State`), then the map of runs, then a
//! run's index. Nobody waits for storage while holding the map or an index. The flag of the running sync and the
//! wake lock are leaves.
//!
//! What must never happen here: an event is published before its bytes are written; a sealed segment is written;
//! anything is written past a failure that has not been healed.

mod error;
mod fields;
mod group;
mod heal;
mod index;
mod keeper;
mod log;
mod options;
mod primitives;
mod reader;
mod recovery;
mod retention;
mod room;
mod scan;
mod segment;

mod sync;
mod verify;
mod wake;
mod writer;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod interleaving_tests;
#[cfg(test)]
mod tests;

pub use error::{Failure, FailureKind, LogError};
pub use log::{EventLog, LogStats};
pub use options::{
    LINE_BYTES_MAX, Options, RETAIN_MAX_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
};
pub use reader::{Chunk, Reader};
pub use recovery::Recovery;
pub use retention::Companion;
pub use room::{Purpose, Reservation};
pub use verify::{VerifyReport, verify};
