//! WHAT happened: the event, its words and its one line of JSON.
//!
//! Rank 0: no I/O, no locks, and no input that can make it panic.

pub mod line;
pub mod words;

use std::fmt;

pub use words::{EventType, GapReason, MissingContent, Op, Source};

/// Position of an event in the log. Dense and rising: the first event is 1 and there is no hole. 0 stands for
/// "before the first event".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time: nanoseconds since the epoch, printed as seconds with nine decimals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present, by the system's real-time clock; 0 for a clock set before 1970.
    #[must_use]
    pub fn now() -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

/// Who called: as the kernel names the caller, and what was read from `/proc` about it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    /// Thread id of the caller in the daemon's pid namespace; 0 for requests the kernel makes itself.
    pub pid: u32,
    /// User id the call was made with.
    pub uid: u32,
    /// Group id the call was made with.
    pub gid: u32,
    /// Name of the thread (`/proc/TID/comm`), empty when it could not be read.
    pub comm: String,
    /// Value of `HIPPOFS_SESSION` in the caller's environment.
    pub session: Option<String>,
}

/// Bytes of a content hash (blake3).
pub const HASH_BYTES: usize = 32;

/// What an entry that is gone was and who might do what with it, so that it can be put back as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Type, permission, set-id and sticky bits, as stat(2) packs them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a rename or a create destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// Inode number of the destroyed entry.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Hash of its content, where that was known.
    pub blake3: Option<[u8; HASH_BYTES]>,
    /// Its permission bits and owner.
    pub access: Option<Access>,
}

/// One change, before the log has given it a place and a time.
///
/// Fields that do not apply are `None` and absent from the line.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// What kind of change, in the words of Python's watchdog.
    pub event_type: EventType,
    /// What was called; `None` for gaps and marks.
    pub op: Option<Op>,
    /// Who saw it.
    pub source: Source,
    /// The entry, relative to the storage root; any bytes but NUL; `.` is the root itself.
    pub src_path: Option<Vec<u8>>,
    /// Where a move went.
    pub dest_path: Option<Vec<u8>>,
    /// Whether the entry is a directory.
    pub is_directory: bool,
    /// Inode number of the entry.
    pub ino: Option<u64>,
    /// Size in bytes after the operation.
    pub size: Option<u64>,
    /// First byte touched, for write, fallocate and copy.
    pub offset: Option<u64>,
    /// Bytes touched, for write, fallocate and copy.
    pub length: Option<u64>,
    /// Joins the writes of one open to its `closed` event.
    pub handle: Option<u64>,
    /// Hash of the content after, where it is known.
    pub blake3: Option<[u8; HASH_BYTES]>,
    /// Hash of the content before, where it was known.
    pub prev_blake3: Option<[u8; HASH_BYTES]>,
    /// Hash of the bytes of this one write, where they are kept.
    pub data_blake3: Option<[u8; HASH_BYTES]>,
    /// Why content that this event is to name cannot be read back.
    pub content_missing: Option<MissingContent>,
    /// Permission bits and owner of an entry that is gone.
    pub access: Option<Access>,
    /// The event whose content was put back.
    pub restored_from: Option<Seq>,
    /// What was destroyed.
    pub replaced: Option<Replaced>,
    /// What went the other way, of an exchange.
    pub exchanged: Option<Replaced>,
    /// Who did it.
    pub caller: Option<std::sync::Arc<Caller>>,
    /// Whether the kernel, not a write call, sent the bytes of a shared mapping.
    pub via_mmap: bool,
    /// What a gap covers.
    pub gap: Option<Gap>,
    /// What a mark says: its text and, when given, a JSON value as text on one line.
    pub mark: Option<Mark>,
}

/// What may be missing from the log and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The lost positions, first and last, where they are known.
    pub range: Option<(Seq, Seq)>,
    /// One sentence for a person.
    pub detail: String,
}

/// A user's own note in the stream.
#[derive(Clone, PartialEq, Debug)]
pub struct Mark {
    /// The text.
    pub text: String,
    /// Further data, any JSON value.
    pub data: Option<serde_json::Value>,
}

impl Event {
    /// An event with nothing but its kind; the caller fills in what applies.
    #[must_use]
    pub fn new(event_type: EventType, op: Option<Op>, source: Source) -> Event {
        Event {
            event_type,
            op,
            source,
            src_path: None,
            dest_path: None,
            is_directory: false,
            ino: None,
            size: None,
            offset: None,
            length: None,
            handle: None,
            blake3: None,
            prev_blake3: None,
            data_blake3: None,
            content_missing: None,
            access: None,
            restored_from: None,
            replaced: None,
            exchanged: None,
            caller: None,
            via_mmap: false,
            gap: None,
            mark: None,
        }
    }

    /// A gap in the stream, said by the system itself.
    #[must_use]
    pub fn gap(reason: GapReason, range: Option<(Seq, Seq)>, detail: impl Into<String>) -> Event {
        let gap = Gap {
            reason,
            range,
            detail: detail.into(),
        };
        Event {
            gap: Some(gap),
            ..Event::new(EventType::Gap, None, Source::System)
        }
    }

    /// A user's note.
    #[must_use]
    pub fn mark(mark: Mark, caller: Option<std::sync::Arc<Caller>>) -> Event {
        Event {
            mark: Some(mark),
            caller,
            ..Event::new(EventType::Mark, None, Source::System)
        }
    }
}

/// The UUID a document's name carries: the stem of the last component, when it parses as a hyphenated UUID.
#[must_use]
pub fn uuid_of(path: &[u8]) -> Option<uuid::Uuid> {
    const HYPHENATED: usize = 36;
    let name = path.rsplit(|&b| b == b'/').next()?;
    let stem = match memchr::memrchr(b'.', name) {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    };
    if stem.len() != HYPHENATED {
        return None;
    }
    uuid::Uuid::try_parse_ascii(stem).ok()
}
