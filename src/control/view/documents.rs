//! The net effect of a stretch of the log on each document: one line per final path. Pure: no clock and no I/O.
//!
//! A document is followed through its moves. What it is at the end, against what it was at the beginning:
//!
//! | at the beginning | at the end | line |
//! |---|---|---|
//! | not there | at P | `created` P; `modified` P when what stood at P before was replaced or deleted |
//! | at P | at P | `modified` P |
//! | at S | at P | `moved` from `src_path` S to `dest_path` P; with `src_exists` when another stands at S now |
//! | at P | gone | `deleted` P, unless another stands there now: then that one's line says it |
//! | not there | gone | counted as transient; a line `deleted` with `transient` only when asked for |
//!
//! So a temporary file renamed over a document is one `modified`, and one renamed to a new name one `created`. A moved
//! directory is one `moved`; what was touched below it is told by its new path, and what was not has no line.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::event::line::path_bytes;
use crate::event::{Seq, uuid_of};

use super::path;

/// What documents did between two positions.
#[derive(Default)]
pub(in super::super) struct Documents {
    all: Vec<Document>,
    /// What stands at each path now, of what was touched.
    standing: HashMap<Vec<u8>, usize>,
    /// The documents that were deleted at a path and stood there at the beginning.
    emptied: HashMap<Vec<u8>, usize>,
}

/// One document.
struct Document {
    /// Where it was at the beginning.
    start: Option<Vec<u8>>,
    /// Where it is, or was last.
    path: Vec<u8>,
    gone: bool,
    is_directory: bool,
    first: u64,
    last: u64,
    changes: u64,
    /// Time of its first and last event, nanoseconds since the epoch.
    first_time: u64,
    last_time: u64,
    /// The fields of its last state that are known.
    details: Map<String, Value>,
    /// Whether any of its events was selected.
    wanted: bool,
}

/// What is known of an event beside its fields.
#[derive(Clone, Copy)]
pub(in super::super) struct Seen {
    /// Its time, nanoseconds since the epoch.
    pub(in super::super) time: u64,
    /// Whether the selectors of events take it.
    pub(in super::super) wanted: bool,
}

/// A document's line.
pub(in super::super) struct Effect {
    /// The line as an object.
    pub(in super::super) line: Value,
    /// It came and went in between.
    pub(in super::super) transient: bool,
}

impl Documents {
    /// How many were touched.
    pub(in super::super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether the event would touch documents that none before it touched.
    pub(in super::super) fn is_new(&self, event: &Value) -> bool {
        let known = |key| path_bytes(event, key).is_none_or(|p| self.standing.contains_key(&p));
        !known("src_path") || (text(event, "op") == "exchange" && !known("dest_path"))
    }

    /// Takes the next event. Gaps and marks are of no document.
    pub(in super::super) fn add(&mut self, event: &Value, seen: Seen) {
        let Some(src) = path_bytes(event, "src_path") else {
            return;
        };
        let dest = path_bytes(event, "dest_path");
        match (text(event, "event_type"), dest) {
            ("created", Some(name)) if text(event, "op") == "link" => {
                self.create(name, event, seen)
            }
            ("created", _) => self.create(src, event, seen),
            ("deleted", _) => self.delete(&src, event, seen),
            ("moved", Some(dest)) if text(event, "op") == "exchange" => {
                self.exchange(&src, &dest, event, seen);
            }
            ("moved", Some(dest)) => self.rename(&src, dest, event, seen),
            ("modified" | "closed" | "moved", _) => {
                let at = self.stand(&src, event, seen);
                self.all[at].touch(event, seen);
            }
            _ => {}
        }
    }

    /// First position of the earliest document that `held` says must wait, given its first and its last time.
    pub(in super::super) fn first_held(&self, held: impl Fn(u64, u64) -> bool) -> Option<Seq> {
        let waiting = self.all.iter().filter(|d| held(d.first_time, d.last_time));
        waiting.map(|document| Seq(document.first)).min()
    }

    /// The times of the first and the last event of each document that is told.
    pub(in super::super) fn times(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.all.iter().map(|d| (d.first_time, d.last_time))
    }

    /// The lines, by last position.
    pub(in super::super) fn effects(&self) -> Vec<Effect> {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|at| (self.all[*at].last, self.all[*at].first));
        let told = order.into_iter().filter(|at| self.all[*at].wanted);
        told.filter_map(|at| self.effect(&self.all[at])).collect()
    }

    fn effect(&self, document: &Document) -> Option<Effect> {
        let effect = |event_type: &str, src: &[u8], dest: Option<&[u8]>| {
            document.line(event_type, src, dest)
        };
        let told = |line| {
            Some(Effect {
                line,
                transient: false,
            })
        };
        match (&document.start, document.gone) {
            (None, true) => {
                let mut line = effect("deleted", &document.path, None);
                line["transient"] = true.into();
                Some(Effect {
                    line,
                    transient: true,
                })
            }
            (Some(start), true) => {
                let occupied = self.standing.contains_key(start);
                (!occupied)
                    .then(|| told(effect("deleted", start, None)))
                    .flatten()
            }
            (None, false) => {
                let replaces = self.emptied.contains_key(&document.path);
                let event_type = if replaces { "modified" } else { "created" };
                told(effect(event_type, &document.path, None))
            }
            (Some(start), false) if *start == document.path => {
                told(effect("modified", start, None))
            }
            (Some(start), false) => {
                let mut line = effect("moved", start, Some(&document.path));
                if self.standing.contains_key(start) {
                    line["src_exists"] = true.into();
                }
                told(line)
            }
        }
    }

    /// The document that stands at `path`; when none was touched there, the one that was there all along.
    fn stand(&mut self, path: &[u8], event: &Value, seen: Seen) -> usize {
        if let Some(at) = self.standing.get(path) {
            return *at;
        }
        self.place(Document::new(
            Some(path.to_vec()),
            path.to_vec(),
            event,
            seen,
        ))
    }

    fn place(&mut self, document: Document) -> usize {
        let at = self.all.len();
        self.standing.insert(document.path.clone(), at);
        self.all.push(document);
        at
    }

    fn create(&mut self, path: Vec<u8>, event: &Value, seen: Seen) {
        if let Some(at) = self.standing.get(&path) {
            // Found anew where one is known to stand: its content is what may have changed.
            let at = *at;
            return self.all[at].touch(event, seen);
        }
        let at = self.place(Document::new(None, path, event, seen));
        self.all[at].touch(event, seen);
    }

    fn delete(&mut self, path: &[u8], event: &Value, seen: Seen) {
        let at = self.stand(path, event, seen);
        self.all[at].touch(event, seen);
        self.vacate(at);
    }

    /// The document `at` is no more.
    fn vacate(&mut self, at: usize) {
        let document = &mut self.all[at];
        document.gone = true;
        self.standing.remove(&document.path);
        if let Some(start) = &document.start {
            self.emptied.insert(start.clone(), at);
        }
    }

    fn rename(&mut self, src: &[u8], dest: Vec<u8>, event: &Value, seen: Seen) {
        let moving = self.stand(src, event, seen);
        self.all[moving].touch(event, seen);
        if src == dest.as_slice() {
            return;
        }
        let replaces = event.get("replaced").is_some();
        if replaces || self.standing.contains_key(&dest) {
            let replaced = self.stand(&dest, event, seen);
            self.all[replaced].touch(event, seen);
            self.vacate(replaced);
        }
        self.standing.remove(src);
        self.all[moving].path.clone_from(&dest);
        self.standing.insert(dest.clone(), moving);
        if self.all[moving].is_directory {
            self.carry(&[(src, &dest)]);
        }
    }

    fn exchange(&mut self, src: &[u8], dest: &[u8], event: &Value, seen: Seen) {
        let one = self.stand(src, event, seen);
        let other = self.stand(dest, event, seen);
        self.all[one].touch(event, seen);
        self.all[other].touch(event, seen);
        if src == dest {
            return;
        }
        self.all[one].path = dest.to_vec();
        self.all[other].path = src.to_vec();
        self.standing.insert(dest.to_vec(), one);
        self.standing.insert(src.to_vec(), other);
        // Either may be a directory; a file has nothing below it.
        self.carry(&[(src, dest), (dest, src)]);
    }

    /// What is below moved directories moves with them, and was below them from the beginning if it is so now.
    fn carry(&mut self, moves: &[(&[u8], &[u8])]) {
        for document in &mut self.all {
            let moved = |path: &[u8]| moves.iter().find_map(|(from, to)| below(path, from, to));
            let Some(path) = moved(&document.path) else {
                continue;
            };
            if let Some(start) = document.start.as_deref().and_then(moved) {
                document.start = Some(start);
            }
            document.path = path;
        }
        let standing = self.all.iter().enumerate().filter(|(_, d)| !d.gone);
        self.standing = standing.map(|(at, d)| (d.path.clone(), at)).collect();
        let emptied = self.all.iter().enumerate().filter(|(_, d)| d.gone);
        self.emptied = emptied
            .filter_map(|(at, d)| Some((d.start.clone()?, at)))
            .collect();
    }
}

impl Document {
    fn new(start: Option<Vec<u8>>, path: Vec<u8>, event: &Value, seen: Seen) -> Document {
        let seq = event.get("seq").and_then(Value::as_u64).unwrap_or(0);
        Document {
            start,
            path,
            gone: false,
            is_directory: event.get("is_directory").and_then(Value::as_bool) == Some(true),
            first: seq,
            last: seq,
            changes: 0,
            first_time: seen.time,
            last_time: seen.time,
            details: Map::new(),
            wanted: false,
        }
    }

    fn touch(&mut self, event: &Value, seen: Seen) {
        const DETAILS: [&str; 6] = ["timestamp", "ino", "size", "session", "comm", "pid"];
        self.last = event
            .get("seq")
            .and_then(Value::as_u64)
            .unwrap_or(self.last);
        self.last_time = seen.time;
        self.changes += 1;
        self.wanted |= seen.wanted;
        for key in DETAILS {
            if let Some(value) = event.get(key) {
                self.details.insert(key.into(), value.clone());
            }
        }
        // The hash is of the content as a close left it; a later write makes it unknown, a move does not.
        let keeps = matches!(text(event, "event_type"), "moved" | "deleted")
            || matches!(text(event, "op"), "setattr" | "setxattr" | "removexattr");
        match event.get("blake3") {
            Some(hash) => drop(self.details.insert("blake3".into(), hash.clone())),
            None if keeps => {}
            None => drop(self.details.remove("blake3")),
        }
    }

    fn line(&self, event_type: &str, src: &[u8], dest: Option<&[u8]>) -> Value {
        let mut fields = Map::new();
        fields.insert("event_type".into(), event_type.into());
        path::put(&mut fields, "src_path", src);
        if let Some(dest) = dest {
            path::put(&mut fields, "dest_path", dest);
        }
        fields.insert("is_directory".into(), self.is_directory.into());
        if let Some(uuid) = uuid_of(dest.unwrap_or(src)) {
            fields.insert("uuid".into(), uuid.to_string().into());
        }
        fields.insert("first_seq".into(), self.first.into());
        fields.insert("last_seq".into(), self.last.into());
        fields.insert("changes".into(), self.changes.into());
        fields.extend(self.details.clone());
        Value::Object(fields)
    }
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `path` after the directory above it went from `from` to `to`; `None` when it is not below `from`.
fn below(path: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(from)?;
    rest.starts_with(b"/").then(|| [to, rest].concat())
}
