//! The words of others: Python's watchdog, the kernel's inotify, CloudEvents 1.0. Pure.
//!
//! | event | watchdog | inotify |
//! |---|---|---|
//! | `created` | `FileCreatedEvent`, `DirCreatedEvent` | `IN_CREATE` |
//! | `modified` | `FileModifiedEvent`, `DirModifiedEvent` | `IN_MODIFY`, or `IN_ATTRIB` for attributes |
//! | `closed` | `FileClosedEvent` | `IN_CLOSE_WRITE` |
//! | `moved` | `FileMovedEvent`, `DirMovedEvent` | `IN_MOVED_FROM` and `IN_MOVED_TO` with one cookie |
//! | `exchange` | two moved events | two such pairs |
//! | `deleted` | `FileDeletedEvent`, `DirDeletedEvent` | `IN_DELETE` |
//! | `gap` | as it is: watchdog has no word for it | `IN_Q_OVERFLOW` |
//! | `mark` | left out: a note is no change | left out |
//!
//! A link(2) names the existing file first and the new name second; what is created is the new name. Every line has
//! the `seq` of its event beside what the other project defines, so that a reader knows where it is.

use serde_json::{Map, Value, json};

use crate::event::line::path_bytes;

use super::path;

/// Prefix of the types of CloudEvents; a reverse domain name, as that specification asks for.
const CLOUDEVENTS_TYPE: &str = "org.hippofs.";

/// In whose words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in super::super) enum Format {
    /// The lines of the log.
    #[default]
    Native,
    /// Class name and attributes of Python's watchdog.
    Watchdog,
    /// Mask names and cookie of inotify(7).
    Inotify,
    /// CloudEvents 1.0 in its JSON format.
    CloudEvents,
}

impl Format {
    /// All, by their words.
    pub(in super::super) const ALL: [(&str, Format); 4] = [
        ("native", Format::Native),
        ("watchdog", Format::Watchdog),
        ("inotify", Format::Inotify),
        ("cloudevents", Format::CloudEvents),
    ];

    /// Whole native lines in these words, whole lines again. `store` is the identity of the log.
    pub(in super::super) fn lines(self, native: Vec<u8>, store: uuid::Uuid) -> Vec<u8> {
        if self == Format::Native {
            return native;
        }
        let mut out = Vec::with_capacity(native.len());
        for line in native.split_inclusive(|b| *b == b'\n') {
            let Ok(event) = serde_json::from_slice::<Value>(line) else {
                // Never seen: what stands in the log is JSON. Passed on rather than lost.
                out.extend_from_slice(line);
                continue;
            };
            for shown in self.event(&event, store) {
                out.extend_from_slice(shown.to_string().as_bytes());
                out.push(b'\n');
            }
        }
        out
    }

    /// One event in these words: none, one or several objects.
    pub(in super::super) fn event(self, event: &Value, store: uuid::Uuid) -> Vec<Value> {
        match self {
            Format::Native => vec![event.clone()],
            Format::Watchdog => watchdog(event),
            Format::Inotify => inotify(event),
            Format::CloudEvents => vec![cloudevent(event, store)],
        }
    }
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_directory(event: &Value) -> bool {
    event.get("is_directory").and_then(Value::as_bool) == Some(true)
}

/// Where an event's entry is: the new name of a link, else `src_path`.
fn place(event: &Value) -> Vec<u8> {
    let new_name = (text(event, "op") == "link")
        .then(|| path_bytes(event, "dest_path"))
        .flatten();
    new_name
        .or_else(|| path_bytes(event, "src_path"))
        .unwrap_or_default()
}

/// The moves an event is: from where to where.
fn moves(event: &Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    let from = path_bytes(event, "src_path").unwrap_or_default();
    let to = path_bytes(event, "dest_path").unwrap_or_default();
    if text(event, "op") == "exchange" {
        vec![(from.clone(), to.clone()), (to, from)]
    } else {
        vec![(from, to)]
    }
}

/// The position of an event, or of a document's last one.
fn seq(event: &Value) -> Option<u64> {
    let of = |key| event.get(key).and_then(Value::as_u64);
    of("seq").or_else(|| of("last_seq"))
}

/// As the event classes of watchdog 6 have it: their fields with their defaults, and the name of the class.
fn watchdog(event: &Value) -> Vec<Value> {
    let event_type = text(event, "event_type");
    let change = match event_type {
        "created" => "Created",
        "modified" => "Modified",
        "deleted" => "Deleted",
        "moved" => "Moved",
        "closed" => "Closed",
        "mark" => return Vec::new(),
        _ => return vec![event.clone()],
    };
    let directory = is_directory(event);
    let kind = if directory { "Dir" } else { "File" };
    let paths = if event_type == "moved" {
        moves(event)
    } else {
        vec![(place(event), Vec::new())]
    };
    let object = |(from, to): (Vec<u8>, Vec<u8>)| {
        let mut fields = Map::new();
        fields.insert("class".into(), format!("{kind}{change}Event").into());
        path::put(&mut fields, "src_path", &from);
        path::put(&mut fields, "dest_path", &to);
        fields.insert("event_type".into(), event_type.into());
        fields.insert("is_directory".into(), directory.into());
        // An event here was seen or proven, never presumed from others.
        fields.insert("is_synthetic".into(), false.into());
        fields.insert("seq".into(), json!(seq(event)));
        Value::Object(fields)
    };
    paths.into_iter().map(object).collect()
}

/// As a watch on every directory would have it: `path` is the watched directory, `name` the entry in it.
fn inotify(event: &Value) -> Vec<Value> {
    let one = |mask| vec![inotify_event(event, mask, 0, &place(event))];
    match text(event, "event_type") {
        "created" => one("IN_CREATE"),
        "deleted" => one("IN_DELETE"),
        "closed" => one("IN_CLOSE_WRITE"),
        "modified" => match text(event, "op") {
            "setattr" | "setxattr" | "removexattr" => one("IN_ATTRIB"),
            _ => one("IN_MODIFY"),
        },
        "moved" => {
            let mut all = Vec::new();
            for (turn, (from, to)) in moves(event).into_iter().enumerate() {
                let cookie = cookie(seq(event).unwrap_or(0), turn as u64);
                all.push(inotify_event(event, "IN_MOVED_FROM", cookie, &from));
                all.push(inotify_event(event, "IN_MOVED_TO", cookie, &to));
            }
            all
        }
        "mark" => Vec::new(),
        _ => vec![
            json!({"wd": -1, "mask": ["IN_Q_OVERFLOW"], "cookie": 0, "path": "", "name": "", "seq": seq(event)}),
        ],
    }
}

fn inotify_event(event: &Value, mask: &str, cookie: u32, at: &[u8]) -> Value {
    let mut masks = vec![mask];
    if is_directory(event) {
        masks.push("IN_ISDIR");
    }
    let (dir, name) = path::split(at);
    let mut fields = Map::new();
    fields.insert("mask".into(), json!(masks));
    fields.insert("cookie".into(), cookie.into());
    path::put(&mut fields, "path", dir);
    path::put(&mut fields, "name", name);
    fields.insert("seq".into(), json!(seq(event)));
    Value::Object(fields)
}

/// Joins the two halves of a move: 32 bits, not 0, other for every move in some two milliards.
fn cookie(seq: u64, turn: u64) -> u32 {
    const COOKIES: u64 = u32::MAX as u64;
    let number = seq.wrapping_mul(2).wrapping_add(turn) % COOKIES;
    u32::try_from(number).unwrap_or(0).saturating_add(1)
}

/// As CloudEvents 1.0 and its JSON event format have it; the event itself is the data.
fn cloudevent(event: &Value, store: uuid::Uuid) -> Value {
    let mut fields = Map::new();
    fields.insert("specversion".into(), "1.0".into());
    fields.insert("id".into(), id(event).into());
    fields.insert("source".into(), format!("urn:uuid:{store}").into());
    let event_type = format!("{CLOUDEVENTS_TYPE}{}", text(event, "event_type"));
    fields.insert("type".into(), event_type.into());
    let place = place(event);
    if !place.is_empty() {
        let subject = String::from_utf8_lossy(&place).into_owned();
        fields.insert("subject".into(), subject.into());
    }
    if let Some(time) = time(event) {
        fields.insert("time".into(), time.into());
    }
    fields.insert("datacontenttype".into(), "application/json".into());
    fields.insert("data".into(), event.clone());
    Value::Object(fields)
}

/// Unique within the store: the position of an event; a document's range and path; a gap's range.
fn id(event: &Value) -> String {
    let number = |key| event.get(key).and_then(Value::as_u64);
    if let Some(seq) = number("seq") {
        return seq.to_string();
    }
    if let (Some(first), Some(last)) = (number("first_seq"), number("last_seq")) {
        let exact = text(event, "src_path_b64");
        return format!("{first}-{last}/{}{exact}", text(event, "src_path"));
    }
    let (from, to) = (number("from").unwrap_or(0), number("to").unwrap_or(0));
    format!("gap/{from}-{to}")
}

/// The event's time as RFC 3339 in UTC. A number's last digits are lost to a JSON parser: to the microsecond.
fn time(event: &Value) -> Option<String> {
    let seconds = event.get("timestamp")?.as_f64()?;
    let micros = (seconds * 1e6).round();
    if !(0.0..=1e17).contains(&micros) {
        return None;
    }
    let moment = jiff::Timestamp::from_microsecond(micros as i64).ok()?;
    Some(moment.to_string())
}
