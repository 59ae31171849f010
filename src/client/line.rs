//! One line of a reply as an object. Nothing is dropped: what has no method here is in [`Line::value`].

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::event::line::path_bytes;
use crate::event::{EventType, Op, Seq, Source};

/// One event, or a gap that stands for events which the log no longer has (without [`Line::seq`]), or a line of
/// another view or format.
#[derive(Clone, PartialEq, Debug)]
pub struct Line(Value);

impl Line {
    /// Reads one line.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn parse(line: &[u8]) -> Result<Line, serde_json::Error> {
        serde_json::from_slice(line).map(Line)
    }

    /// The whole object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Position in the log.
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        self.number("seq").map(Seq)
    }

    /// Where to go on after this line: its position, or the end of the hole that a gap stands for. For a position past
    /// the end of the log (reason "ahead") it is the end of the log.
    #[must_use]
    pub fn position(&self) -> Option<Seq> {
        if let Some(seq) = self.seq() {
            return Some(seq);
        }
        match self.text("reason") {
            Some("ahead") => self.number("from").map(|from| Seq(from.saturating_sub(1))),
            _ => self.number("to").map(Seq),
        }
    }

    /// Seconds since the epoch, to the microsecond.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        self.0.get("timestamp")?.as_f64()
    }

    /// What kind of change; `None` also for a word this version does not know.
    #[must_use]
    pub fn event_type(&self) -> Option<EventType> {
        EventType::parse(self.text("event_type")?)
    }

    /// What was called; `None` also for a word this version does not know.
    #[must_use]
    pub fn op(&self) -> Option<Op> {
        Op::parse(self.text("op")?)
    }

    /// Who saw it.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        Source::parse(self.text("source")?)
    }

    /// The entry, relative to the root of the mount, exact for any bytes; `.` is the root.
    #[must_use]
    pub fn src_path(&self) -> Option<PathBuf> {
        self.path("src_path")
    }

    /// Where a move went.
    #[must_use]
    pub fn dest_path(&self) -> Option<PathBuf> {
        self.path("dest_path")
    }

    /// Whether the entry is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.0.get("is_directory").and_then(Value::as_bool) == Some(true)
    }

    /// Whether something may be missing here.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.event_type() == Some(EventType::Gap)
    }

    /// The session that did it.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.text("session")
    }

    /// A field that is text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// A field that is a whole number, such as `ino`, `size` or `pid`.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        path_bytes(&self.0, key).map(|bytes| OsString::from_vec(bytes).into())
    }
}

impl From<Value> for Line {
    fn from(value: Value) -> Line {
        Line(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_read_exactly() {
        let line = Line::parse(
            br#"{"seq":7,"event_type":"moved","op":"rename","src_path":"?","src_path_b64":"/w==","dest_path":"b","source":"mount"}"#,
        )
        .unwrap();
        assert_eq!(line.position(), Some(Seq(7)));
        assert_eq!(line.op(), Some(Op::Rename));
        let bytes = line.src_path().unwrap().into_os_string().into_vec();
        assert_eq!(bytes, b"\xff");
        assert_eq!(line.dest_path(), Some("b".into()));
        assert!(Line::parse(b"{").is_err());
    }

    #[test]
    fn a_gap_says_where_to_go_on() {
        let gap = |value| Line::from(value).position();
        assert_eq!(
            gap(json!({"reason": "retention", "from": 1, "to": 9})),
            Some(Seq(9))
        );
        assert_eq!(
            gap(json!({"reason": "ahead", "from": 6, "to": 9})),
            Some(Seq(5))
        );
    }
}
