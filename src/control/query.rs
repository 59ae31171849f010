//! A request's text to a [`Request`]. Pure: no I/O, and no bytes can make it panic; every limit is named here.

use std::time::Duration;

use serde_json::Value;

use crate::event::{EventType, Mark, Op, Seq, Source};

use super::consumers::{NAME_BYTES_MAX, TAKE_LIMIT_MAX, TakeQuery};
use super::error::Reject;
use super::fields::{Fields, invalid, shortened};
use super::glob::PathGlob;
use super::past::{self, RestoreQuery, VersionsQuery};
use super::scan::{depth, member};
use super::select::{Selectors, Session};
use super::times::Moment;
use super::view::Format;

/// Longest request in bytes: what one write(2) surely brings in one piece, and far more than any query needs.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of a request; a mark's data is the only part that may have any.
pub(super) const DEPTH_MAX: usize = 32;
/// Longest long poll in milliseconds: ten minutes. A client that waits longer asks again.
pub(super) const WAIT_MS_MAX: u64 = 600_000;
/// Longest session name in bytes that can be selected.
pub(super) const SESSION_BYTES_MAX: usize = 4096;
/// Longest text of a mark in bytes, so that its line fits every log segment.
pub(super) const MARK_TEXT_BYTES_MAX: usize = 4096;
/// Longest data of a mark in bytes, as written.
pub(super) const MARK_DATA_BYTES_MAX: usize = 16 * 1024;
/// Longest `debounce_ms`: ten minutes, as the longest wait.
pub(super) const DEBOUNCE_MS_MAX: u64 = 600_000;
/// Most events of `last`: they are held in memory while the log is looked through.
pub(super) const LAST_MAX: u64 = 1000;
/// Longest text of a time or a UUID: more than either ever has.
const WORD_BYTES_MAX: usize = 128;

/// Longest path in bytes that can be asked for: the system's own limit.
const PATH_BYTES_MAX: usize = 4096;

const REQUESTS: &str = "write one of {\"events\":{}}, {\"status\":{}}, {\"sync\":{}}, {\"reconcile\":{\"path\":\"...\"}}, {\"versions\":{\"path\":\"...\"}}, {\"restore\":{\"path\":\"...\",\"at\":SEQ}}, {\"verify\":{}}, {\"mark\":{\"text\":\"...\"}}, {\"take\":{\"consumer\":\"NAME\"}}, {\"help\":{}}; .hippofs/help describes them";
const EVENTS_FIELDS: [&str; 18] = [
    "path",
    "uuid",
    "event_type",
    "op",
    "source",
    "session",
    "pid",
    "from_time",
    "to_time",
    "since",
    "until",
    "limit",
    "wait_ms",
    "view",
    "format",
    "debounce_ms",
    "transient",
    "last",
];

/// How many of them are selectors; they come first.
const SELECTOR_FIELDS: usize = 9;

/// What a session asks for.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// Events of the log.
    Events(Box<EventsQuery>),
    /// The counters.
    Status,
    /// Everything so far into the log and onto the disk.
    Sync,
    /// A scan.
    Reconcile {
        /// Relative to the root; empty for all of it.
        path: String,
        /// Whether all content is read.
        full: bool,
    },
    /// What a path was.
    Versions(VersionsQuery),
    /// What was, put back.
    Restore(RestoreQuery),
    /// Every stored content compared with its hash.
    Verify,
    /// A note into the log.
    Mark(Mark),
    /// The description of the control directory.
    Help,
    /// Events taken from a consumer.
    Take(TakeQuery),
}

/// Which events, and how they are to come.
#[derive(Clone, Debug, Default)]
pub(super) struct EventsQuery {
    pub(super) selectors: Selectors,
    /// Events after this one.
    pub(super) since: Seq,
    /// Events up to and with this one.
    pub(super) until: Option<Seq>,
    /// At most so many events.
    pub(super) limit: Option<u64>,
    /// How long to wait for the first.
    pub(super) wait: Option<Duration>,
    /// Only the newest so many.
    pub(super) last: Option<u64>,
    /// Whether documents are asked for, not events.
    pub(super) documents: bool,
    /// How long a document must have been quiet.
    pub(super) debounce: Option<Duration>,
    /// Whether documents that came and went are told, too.
    pub(super) transient: bool,
    /// In whose words.
    pub(super) format: Format,
}

impl Request {
    /// Reads the bytes of one write.
    ///
    /// # Errors
    /// [`Reject`] with what is wrong and what to write instead.
    pub(super) fn parse(bytes: &[u8]) -> Result<Request, Reject> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(too_long());
        }
        let malformed = |message: String| Reject::new("malformed", message, REQUESTS);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(malformed("the request is not UTF-8".into()));
        };
        if depth(bytes) > DEPTH_MAX {
            return Err(malformed(format!(
                "the request is nested deeper than {DEPTH_MAX}"
            )));
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| malformed(format!("the request is not one JSON object: {error}")))?;
        match value.as_object().map(|object| (object.len(), object)) {
            Some((1, object)) => match object.iter().next() {
                Some((name, body)) => request(name, body, member(text, name)),
                None => Err(malformed("the request is empty".into())),
            },
            _ => Err(malformed(
                "the request is not a JSON object with one field, the name of the request".into(),
            )),
        }
    }
}

/// The refusal of a request over [`REQUEST_BYTES_MAX`].
pub(super) fn too_long() -> Reject {
    Reject::new(
        "too_long",
        format!("the request is longer than {REQUEST_BYTES_MAX} bytes"),
        "write one request per write(2); several are several writes, each after its reply was read",
    )
}

/// One request by its name; `text` is the text of `body`.
fn request(name: &str, body: &Value, text: Option<&str>) -> Result<Request, Reject> {
    match name {
        "events" => events(body, text.unwrap_or_default()).map(|q| Request::Events(Box::new(q))),
        "status" => Fields::new("status", body, &[]).map(|_| Request::Status),
        "sync" => Fields::new("sync", body, &[]).map(|_| Request::Sync),
        "versions" => versions(body, text.unwrap_or_default()).map(Request::Versions),
        "restore" => restore(body, text.unwrap_or_default()).map(Request::Restore),
        "verify" => Fields::new("verify", body, &[]).map(|_| Request::Verify),
        "help" => Fields::new("help", body, &[]).map(|_| Request::Help),
        "mark" => mark(body).map(Request::Mark),
        "take" => take(body).map(Request::Take),
        "reconcile" => reconcile(body),
        _ => Err(Reject::new(
            "unknown_request",
            format!("unknown request `{}`", shortened(name)),
            REQUESTS,
        )),
    }
}

fn reconcile(body: &Value) -> Result<Request, Reject> {
    let fields = Fields::new("reconcile", body, &["path", "full"])?;
    let path = fields.text("path", PATH_BYTES_MAX)?.unwrap_or_default();
    if !is_relative(path) {
        return Err(fields.wrong("path", "a path relative to the mount's root, without `..`"));
    }
    let full = match fields.value("full") {
        None => false,
        Some(Value::Bool(full)) => *full,
        Some(_) => return Err(fields.wrong("full", "true or false")),
    };
    Ok(Request::Reconcile {
        path: path.to_owned(),
        full,
    })
}

fn mark(body: &Value) -> Result<Mark, Reject> {
    let fields = Fields::new("mark", body, &["text", "data"])?;
    let Some(text) = fields.text("text", MARK_TEXT_BYTES_MAX)? else {
        return Err(invalid(
            "`mark` has no `text`",
            "write {\"mark\":{\"text\":\"...\"}}",
        ));
    };
    let data = fields.value("data").cloned();
    let data_bytes = data.as_ref().map_or(0, |data| data.to_string().len());
    if data_bytes > MARK_DATA_BYTES_MAX {
        return Err(fields.wrong(
            "data",
            format!("a JSON value of at most {MARK_DATA_BYTES_MAX} bytes"),
        ));
    }
    Ok(Mark {
        text: text.to_owned(),
        data,
    })
}

fn take(body: &Value) -> Result<TakeQuery, Reject> {
    let fields = Fields::new("take", body, &["consumer", "limit", "wait_ms"])?;
    let Some(consumer) = fields.text("consumer", NAME_BYTES_MAX)? else {
        return Err(invalid(
            "`take` has no `consumer`",
            "write {\"take\":{\"consumer\":\"NAME\"}}",
        ));
    };
    let limit = fields.number("limit", TAKE_LIMIT_MAX)?.unwrap_or(1);
    if limit == 0 {
        return Err(fields.wrong(
            "limit",
            format!("a whole number from 1 to {TAKE_LIMIT_MAX}"),
        ));
    }
    Ok(TakeQuery {
        consumer: consumer.to_owned(),
        limit,
        wait: fields
            .number("wait_ms", WAIT_MS_MAX)?
            .map(Duration::from_millis),
    })
}

fn versions(body: &Value, text: &str) -> Result<VersionsQuery, Reject> {
    let fields = Fields::new("versions", body, &["path", "all", "at"])?;
    let query = VersionsQuery {
        path: past_path(&fields)?,
        all: flag(&fields, "all")?,
        at: moment(&fields, text, "at")?,
    };
    if query.all && query.at.is_some() {
        return Err(invalid(
            "`all` and `at` exclude each other",
            "leave one out",
        ));
    }
    Ok(query)
}

fn restore(body: &Value, text: &str) -> Result<RestoreQuery, Reject> {
    let fields = Fields::new("restore", body, &["path", "at", "dry_run", "delete"])?;
    let Some(at) = moment(&fields, text, "at")? else {
        return Err(fields.wrong("at", "a seq, or a time as RFC 3339 text"));
    };
    Ok(RestoreQuery {
        path: past_path(&fields)?,
        at,
        dry_run: flag(&fields, "dry_run")?,
        delete: flag(&fields, "delete")?,
    })
}

fn is_relative(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|name| name != "..")
}

fn past_path(fields: &Fields<'_>) -> Result<String, Reject> {
    let path = fields.text("path", PATH_BYTES_MAX)?;
    let path = path.filter(|path| !path.is_empty() && is_relative(path));
    let wrong = || {
        fields.wrong(
            "path",
            "a path relative to the mount's root, without `..`; `.` is all of it",
        )
    };
    Ok(path.ok_or_else(wrong)?.trim_end_matches('/').to_owned())
}

fn flag(fields: &Fields<'_>, key: &str) -> Result<bool, Reject> {
    match fields.value(key) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(fields.wrong(key, "true or false")),
    }
}

/// A moment: a whole number is a seq, a text a time.
fn moment(fields: &Fields<'_>, text: &str, key: &str) -> Result<Option<past::Moment>, Reject> {
    match fields.value(key) {
        Some(Value::String(_)) => {
            let time = time(fields, text, key)?;
            Ok(time.map(|time| past::Moment::Time(time.last())))
        }
        _ => Ok(fields
            .number(key, u64::MAX)?
            .map(|seq| past::Moment::Seq(Seq(seq)))),
    }
}

/// The selectors of a consumer's filter, one JSON object by itself.
///
/// # Errors
/// [`Reject`] as for a request.
pub(super) fn filter(text: &str) -> Result<Selectors, Reject> {
    let malformed =
        |message: String| Reject::new("malformed", message, "write one JSON object of selectors");
    if depth(text.as_bytes()) > DEPTH_MAX {
        return Err(malformed("the filter is nested too deep".into()));
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| malformed(format!("the filter is not one JSON object: {error}")))?;
    let fields = Fields::new("filter", &value, &EVENTS_FIELDS[..SELECTOR_FIELDS])?;
    selectors(&fields, text)
}

fn events(body: &Value, text: &str) -> Result<EventsQuery, Reject> {
    let fields = Fields::new("events", body, &EVENTS_FIELDS)?;
    let documents = one_of(&fields, "view", &[("raw", false), ("documents", true)])?;
    let documents = documents.unwrap_or_default();
    let debounce = fields.number("debounce_ms", DEBOUNCE_MS_MAX)?;
    let transient = match fields.value("transient") {
        None => None,
        Some(Value::Bool(transient)) => Some(*transient),
        Some(_) => return Err(fields.wrong("transient", "true or false")),
    };
    if !documents && (debounce.is_some() || transient.is_some()) {
        return Err(invalid(
            "`debounce_ms` and `transient` are of the view `documents`",
            "add \"view\":\"documents\"",
        ));
    }
    let last = fields.number("last", LAST_MAX)?;
    if last == Some(0) {
        return Err(fields.wrong("last", format!("a whole number from 1 to {LAST_MAX}")));
    }
    let others = ["limit", "wait_ms"];
    if last.is_some() && (documents || others.iter().any(|key| fields.value(key).is_some())) {
        return Err(invalid(
            "`last` stands without `limit`, `wait_ms` and the view `documents`",
            "leave them out",
        ));
    }
    let limit = fields.number("limit", u64::MAX)?;
    if limit == Some(0) {
        return Err(fields.wrong("limit", "a whole number from 1"));
    }
    Ok(EventsQuery {
        selectors: selectors(&fields, text)?,
        since: Seq(fields.number("since", u64::MAX)?.unwrap_or(0)),
        until: fields.number("until", u64::MAX)?.map(Seq),
        limit,
        wait: fields
            .number("wait_ms", WAIT_MS_MAX)?
            .map(Duration::from_millis),
        last,
        documents,
        debounce: debounce.map(Duration::from_millis),
        transient: transient.unwrap_or(false),
        format: one_of(&fields, "format", &Format::ALL)?.unwrap_or_default(),
    })
}

/// The meaning of a field that is one of some words.
fn one_of<T: Copy>(
    fields: &Fields<'_>,
    key: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, Reject> {
    let Some(text) = fields.text(key, WORD_BYTES_MAX)? else {
        return Ok(None);
    };
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(fields.wrong(key, format!("one of: {}", words.join(", "))))
        }
    }
}

fn selectors(fields: &Fields<'_>, text: &str) -> Result<Selectors, Reject> {
    let path = fields.text("path", PathGlob::BYTES_MAX)?;
    let uuid = fields.text("uuid", WORD_BYTES_MAX)?;
    let uuid = match uuid.map(uuid::Uuid::try_parse) {
        None => None,
        Some(Ok(uuid)) => Some(uuid),
        Some(Err(_)) => return Err(fields.wrong("uuid", "the text of a UUID")),
    };
    let types: Vec<&str> = EventType::ALL.iter().map(|word| word.word()).collect();
    let ops: Vec<&str> = Op::ALL.iter().map(|word| word.word()).collect();
    let sources: Vec<&str> = Source::ALL.iter().map(|word| word.word()).collect();
    let pid = fields.number("pid", u32::MAX.into())?;
    Ok(Selectors {
        path: path.map(PathGlob::new).transpose()?,
        uuid,
        event_types: fields.words("event_type", EventType::parse, &types)?,
        ops: fields.words("op", Op::parse, &ops)?,
        sources: fields.words("source", Source::parse, &sources)?,
        session: fields.text("session", SESSION_BYTES_MAX)?.map(session),
        pid: pid.and_then(|pid| u32::try_from(pid).ok()),
        from_time: time(fields, text, "from_time")?.map(Moment::first),
        to_time: time(fields, text, "to_time")?.map(Moment::last),
    })
}

fn session(text: &str) -> Session {
    match text.strip_prefix('!') {
        Some("self") => Session::NotOwn,
        Some(name) => Session::IsNot(name.to_owned()),
        None => Session::Is(text.to_owned()),
    }
}

/// A time; `text` is the text of the object that has the field.
fn time(fields: &Fields<'_>, text: &str, key: &str) -> Result<Option<Moment>, Reject> {
    let time = match fields.value(key) {
        None => return Ok(None),
        Some(Value::String(time)) => Moment::from_rfc3339(time),
        Some(Value::Number(_)) => member(text, key).and_then(Moment::from_number),
        Some(_) => None,
    };
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(fields.wrong(
            key,
            "a time since 1970: seconds as a number (1700000000.123456789) or RFC 3339 text (\"2026-01-31T12:00:00Z\")",
        )),
    }
}
