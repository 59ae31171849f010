//! What one event did to the content at a name. Pure.

use serde_json::Value;

use crate::event::line::path_bytes;
use crate::event::{Access, EventType, HASH_BYTES, Op, Seq};

/// A content hash (blake3).
pub(super) type Hash = [u8; HASH_BYTES];

/// One event, as far as contents go.
pub(super) struct Change {
    pub(super) seq: Seq,
    pub(super) event_type: EventType,
    pub(super) op: Op,
    pub(super) src: Vec<u8>,
    pub(super) dest: Option<Vec<u8>>,
    pub(super) is_directory: bool,
    pub(super) line: Value,
}

/// What stands at a name right after an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum After {
    /// Nothing.
    Absent,
    /// A file of no bytes.
    Empty,
    /// A directory.
    Directory,
    /// This content.
    Content(Hash),
    /// What stood at this name before.
    From(Vec<u8>),
    /// What stood there before.
    Same,
    /// Something else than before; what, the event does not say.
    Wrote,
}

/// What stood at a name right before an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Before {
    /// Nothing; what stands there after came from this name.
    Came(Option<Vec<u8>>),
    /// A directory.
    Directory,
    /// This content.
    Content(Hash),
    /// What stands at this name after.
    Went(Vec<u8>),
    /// What stands there after.
    Same,
    /// Something else than after; what, the event does not say.
    Unknown,
}

impl Change {
    /// Reads a line; `None` for what is no change of an entry.
    pub(super) fn parse(line: &[u8]) -> Option<Change> {
        let line: Value = serde_json::from_slice(line).ok()?;
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        Some(Change {
            seq: Seq(line.get("seq")?.as_u64()?),
            event_type: EventType::parse(text("event_type")?)?,
            op: Op::parse(text("op")?)?,
            src: path_bytes(&line, "src_path")?,
            dest: path_bytes(&line, "dest_path"),
            is_directory: line.get("is_directory").and_then(Value::as_bool)?,
            line,
        })
    }

    pub(super) fn concerns(&self, path: &[u8]) -> bool {
        self.src == path || self.dest.as_deref() == Some(path)
    }

    pub(super) fn hash(&self, key: &str) -> Option<Hash> {
        hash(self.line.get(key)?)
    }

    fn replaced(&self) -> Option<Option<Hash>> {
        let replaced = self.line.get("replaced")?;
        Some(replaced.get("blake3").and_then(hash))
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.line.get(key).and_then(Value::as_u64)
    }

    /// Why the content it names is not kept.
    pub(super) fn missing(&self) -> Option<&str> {
        self.line.get("content_missing").and_then(Value::as_str)
    }

    /// Permission bits, type and owner of what it took away.
    pub(super) fn access(&self) -> Option<Access> {
        access(&self.line).or_else(|| access(self.line.get("replaced")?))
    }

    /// What stands at `path` after it.
    pub(super) fn after(&self, path: &[u8]) -> After {
        let content = |key: &str| self.hash(key).map(After::Content);
        let is_dest = self.dest.as_deref() == Some(path);
        match (self.event_type, self.op) {
            (EventType::Deleted, _) => After::Absent,
            (EventType::Moved, Op::Exchange) => {
                let (key, other) = if is_dest {
                    ("blake3", &self.src)
                } else {
                    ("prev_blake3", self.dest.as_ref().unwrap_or(&self.src))
                };
                content(key).unwrap_or_else(|| After::From(other.clone()))
            }
            (EventType::Moved, _) if is_dest => {
                content("blake3").unwrap_or_else(|| After::From(self.src.clone()))
            }
            (EventType::Moved, _) => After::Absent,
            (EventType::Created, _) if self.is_directory => After::Directory,
            (EventType::Created, Op::Create | Op::Mknod) => After::Empty,
            (_, Op::Truncate) if self.number("size") == Some(0) => After::Empty,
            (_, Op::Close | Op::Fsync) => content("blake3").unwrap_or(After::Same),
            (_, Op::Setattr | Op::Setxattr | Op::Removexattr) => After::Same,
            _ if self.is_directory => After::Same,
            _ => content("blake3").unwrap_or(After::Wrote),
        }
    }

    /// What stood at `path` before it.
    pub(super) fn before(&self, path: &[u8]) -> Before {
        let content = |key: &str| self.hash(key).map(Before::Content);
        let is_dest = self.dest.as_deref() == Some(path);
        match (self.event_type, self.op) {
            (EventType::Deleted, _) if self.is_directory => Before::Directory,
            (EventType::Moved, Op::Exchange) => {
                let (key, other) = if is_dest {
                    ("prev_blake3", &self.src)
                } else {
                    ("blake3", self.dest.as_ref().unwrap_or(&self.src))
                };
                content(key).unwrap_or_else(|| Before::Went(other.clone()))
            }
            (EventType::Moved, _) if is_dest => match self.replaced() {
                None => Before::Came(Some(self.src.clone())),
                Some(hash) => hash.map_or(Before::Unknown, Before::Content),
            },
            (EventType::Moved, _) => content("blake3").unwrap_or_else(|| {
                Before::Went(self.dest.clone().unwrap_or_else(|| self.src.clone()))
            }),
            (EventType::Created, _) => Before::Came(None),
            (_, Op::Close | Op::Fsync) => content("blake3").unwrap_or(Before::Same),
            (_, Op::Setattr | Op::Setxattr | Op::Removexattr) => Before::Same,
            _ if self.is_directory => Before::Same,
            _ => content("prev_blake3").unwrap_or(Before::Unknown),
        }
    }
}

fn hash(value: &Value) -> Option<Hash> {
    Some(*blake3::Hash::from_hex(value.as_str()?).ok()?.as_bytes())
}

fn access(of: &Value) -> Option<Access> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let owner = of.get("owner")?;
    Some(Access {
        mode: number(of.get("mode")?)?,
        uid: number(owner.get(0)?)?,
        gid: number(owner.get(1)?)?,
    })
}
