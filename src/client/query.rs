//! A question for events, built field by field. What the daemon checks is not checked here: a value it does not take is
//! a [`super::ClientError::Refused`] with its own words.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::event::{EventType, Op, Seq, Source, Timestamp};

/// The selectors and bounds of one `events` request; all that are given must hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Query(Map<String, Value>);

impl Query {
    /// Every event.
    #[must_use]
    pub fn new() -> Query {
        Query::default()
    }

    /// Any field by its name, as `.hippofs/help` lists them.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Query {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Paths like this glob: `*` stays within a directory, `**` crosses them.
    #[must_use]
    pub fn path(self, glob: &str) -> Query {
        self.field("path", glob)
    }

    /// Documents with this UUID as their name.
    #[must_use]
    pub fn uuid(self, uuid: &str) -> Query {
        self.field("uuid", uuid)
    }

    /// Events of these types.
    #[must_use]
    pub fn event_types(self, types: impl IntoIterator<Item = EventType>) -> Query {
        let words: Vec<_> = types.into_iter().map(EventType::word).collect();
        self.field("event_type", json!(words))
    }

    /// Events of these calls.
    #[must_use]
    pub fn ops(self, ops: impl IntoIterator<Item = Op>) -> Query {
        let words: Vec<_> = ops.into_iter().map(Op::word).collect();
        self.field("op", json!(words))
    }

    /// Events from these sources.
    #[must_use]
    pub fn sources(self, sources: impl IntoIterator<Item = Source>) -> Query {
        let words: Vec<_> = sources.into_iter().map(Source::word).collect();
        self.field("source", json!(words))
    }

    /// Events of this session; `!NAME` leaves one out, `!self` the caller's own.
    #[must_use]
    pub fn session(self, name: &str) -> Query {
        self.field("session", name)
    }

    /// Events of this process.
    #[must_use]
    pub fn pid(self, pid: u32) -> Query {
        self.field("pid", pid)
    }

    /// Events from this time on.
    #[must_use]
    pub fn from_time(self, time: Timestamp) -> Query {
        self.field("from_time", exact(time))
    }

    /// Events up to this time.
    #[must_use]
    pub fn to_time(self, time: Timestamp) -> Query {
        self.field("to_time", exact(time))
    }

    /// Events after this position.
    #[must_use]
    pub fn since(self, seq: Seq) -> Query {
        self.field("since", seq.0)
    }

    /// Events up to this position, inclusive.
    #[must_use]
    pub fn until(self, seq: Seq) -> Query {
        self.field("until", seq.0)
    }

    /// At most this many.
    #[must_use]
    pub fn limit(self, count: u64) -> Query {
        self.field("limit", count)
    }

    /// Only the newest so many.
    #[must_use]
    pub fn last(self, count: u64) -> Query {
        self.field("last", count)
    }

    /// When none matches, wait so long for the first, to the millisecond.
    #[must_use]
    pub fn wait(self, time: Duration) -> Query {
        self.field(
            "wait_ms",
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        )
    }

    /// The net effect on each document instead of the log itself.
    #[must_use]
    pub fn documents(self) -> Query {
        self.field("view", "documents")
    }

    /// The position it begins after, when it has one.
    #[must_use]
    pub fn get_since(&self) -> Option<Seq> {
        self.0.get("since").and_then(Value::as_u64).map(Seq)
    }

    /// The request as it is written to `control`.
    #[must_use]
    pub fn request(&self) -> Value {
        json!({ "events": self.0 })
    }

    /// The fields alone, as a consumer's `filter` takes them.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl From<Map<String, Value>> for Query {
    fn from(fields: Map<String, Value>) -> Query {
        Query(fields)
    }
}

/// A time as text: a JSON number would lose its last digits on the way.
fn exact(time: Timestamp) -> Value {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(time.0));
    moment.map_or(Value::Null, |moment| moment.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_one_request() {
        let query = Query::new()
            .path("a/**")
            .event_types([EventType::Moved])
            .ops([Op::Write, Op::Rename])
            .session("!self")
            .since(Seq(3))
            .from_time(Timestamp(1_700_000_000_123_456_789))
            .wait(Duration::from_millis(1500));
        assert_eq!(
            query.request().to_string(),
            r#"{"events":{"path":"a/**","event_type":["moved"],"op":["write","rename"],"session":"!self","since":3,"from_time":"2023-11-14T22:13:20.123456789Z","wait_ms":1500}}"#
        );
        assert_eq!(query.get_since(), Some(Seq(3)));
    }
}
