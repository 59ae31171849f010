//! The reply to a `versions` request: one line for each version of a path, or for each entry of a tree.

use serde_json::{Map, Value, json};

use crate::event::{Seq, Timestamp, line::quote};

use super::change::{After, Hash};
use super::content::Known;
use super::history::Step;
use super::{EntryKind, Past, PastError};
use crate::control::glob::PathGlob;

/// What is asked.
#[derive(Clone, Debug)]
pub(in super::super) struct VersionsQuery {
    /// A path, or with `at` a directory or a glob.
    pub(in super::super) path: String,
    /// Whether events without a content are told too.
    pub(in super::super) all: bool,
    /// The moment whose tree is asked for.
    pub(in super::super) at: Option<Moment>,
}

/// A moment in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Moment {
    /// Right after this event.
    Seq(Seq),
    /// After the last event that is not later.
    Time(Timestamp),
}

/// Makes the reply.
pub(in super::super) fn versions(past: &Past, query: &VersionsQuery) -> Result<String, PastError> {
    let mut out = String::new();
    let count = match query.at {
        Some(moment) => {
            let at = past.position_of(moment)?;
            tree(past, &query.path, at, &mut out)?
        }
        None if query.all => {
            let steps = past.history(query.path.as_bytes())?;
            for step in steps.values() {
                push(&mut out, event_line(past, step));
            }
            steps.len()
        }
        None => {
            let versions = past.versions_of(query.path.as_bytes())?;
            for version in &versions {
                let mut line = event_line(past, &version.step);
                line.insert("at".into(), json!(version.at.0));
                line.insert("kept".into(), json!(past.is_kept(version)));
                line.insert("blake3".into(), json!(version.hash.map(hex)));
                push(&mut out, line);
            }
            versions.len()
        }
    };
    let oldest = past.log.oldest();
    let gap =
        (oldest > Seq(1)).then(|| json!({"reason": "retention", "from": 1, "to": oldest.0 - 1}));
    push(
        &mut out,
        json_map(json!({"count": count, "head": past.log.head().0, "gap": gap})),
    );
    Ok(out)
}

fn tree(past: &Past, path: &str, at: Seq, out: &mut String) -> Result<usize, PastError> {
    let tree = past.tree_at(at)?;
    let mut count = 0;
    for (name, what) in tree {
        if !selects(path, &name) {
            continue;
        }
        count += 1;
        let stand = match what.kind {
            EntryKind::Directory => None,
            EntryKind::File | EntryKind::Symlink => Some(past.at(&name, at)?),
        };
        let mut line = Map::new();
        insert_path(&mut line, "path", &name);
        line.insert("type".into(), json!(kind_word(what.kind)));
        match stand.map(|stand| stand.known) {
            Some(Known::Held(hash)) => drop(line.insert("blake3".into(), json!(hex(hash)))),
            Some(Known::Live(now, _)) => insert_path(&mut line, "live", &now),
            Some(Known::Missing(why)) => drop(line.insert("content_missing".into(), json!(why))),
            Some(Known::Bytes(_) | Known::Absent | Known::Directory) | None => {}
        }
        if let Some(access) = what.access {
            line.insert("mode".into(), json!(access.mode));
            line.insert("owner".into(), json!([access.uid, access.gid]));
        }
        push(out, line);
    }
    Ok(count)
}

/// A path as the log writes it: exact in a field of its own when it is not UTF-8.
fn insert_path(line: &mut Map<String, Value>, key: &str, path: &[u8]) {
    line.insert(key.into(), text_of(path));
    if std::str::from_utf8(path).is_err() {
        use base64::Engine as _;
        let exact = base64::engine::general_purpose::STANDARD.encode(path);
        line.insert(format!("{key}_b64"), json!(exact));
    }
}

/// Whether `path` (a file, a directory, a glob, or `.`) stands for `name`.
pub(super) fn selects(path: &str, name: &[u8]) -> bool {
    let exact = path.trim_end_matches('/');
    if exact.is_empty() || exact == "." || exact.as_bytes() == name {
        return true;
    }
    let below = name.strip_prefix(exact.as_bytes());
    below.is_some_and(|rest| rest.first() == Some(&b'/'))
        || (path.contains(['*', '?', '[', '{'])
            && PathGlob::new(path).is_ok_and(|glob| glob.matches(name)))
}

pub(super) fn kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
    }
}

/// The event as it stands in the log, with the name at which the file stood then and whether its content can be read.
fn event_line(past: &Past, step: &Step) -> Map<String, Value> {
    let mut line = step.change.line.as_object().cloned().unwrap_or_default();
    line.remove("crc");
    line.insert("path".into(), text_of(&step.path));
    if let After::Content(hash) = step.change.after(&step.path) {
        let kept = past.content.held(&hash).is_some();
        line.insert("kept".into(), json!(kept));
    }
    line
}

pub(super) fn text_of(path: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(path).into_owned())
}

fn hex(hash: Hash) -> String {
    blake3::Hash::from_bytes(hash).to_hex().to_string()
}

fn json_map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn push(out: &mut String, line: Map<String, Value>) {
    out.push_str(&Value::Object(line).to_string());
    out.push('\n');
}

/// A line that says why the past cannot be told.
pub(in super::super) fn failure(error: &PastError) -> String {
    let mut message = String::new();
    quote(&error.to_string(), &mut message);
    format!(
        "{{\"error\":{{\"code\":\"past\",\"message\":{message},\"hint\":\"`hippofs verify` tells more\"}}}}\n"
    )
}

impl Past {
    /// The position of a moment.
    pub(in super::super) fn position_of(&self, moment: Moment) -> Result<Seq, PastError> {
        let time = match moment {
            Moment::Seq(seq) => return Ok(seq.min(self.log.head())),
            Moment::Time(time) => time,
        };
        // The index is exact to a step; the rest is read.
        let mut at = Seq(self.log.first_seq_at(time).0.saturating_sub(1));
        let mut reader = self.log.reader(at, self.log.head());
        loop {
            match reader.next_chunk(1 << 20)? {
                crate::event_log::Chunk::Lines(lines) => {
                    for line in lines.split_inclusive(|byte| *byte == b'\n') {
                        let said = crate::control::select::split_time(line);
                        let seq = crate::event::line::seq_of(line);
                        match (said, seq) {
                            (Some((said, _)), Some(seq)) if said <= time => at = seq,
                            _ => return Ok(at),
                        }
                    }
                }
                crate::event_log::Chunk::Gap { to, .. } => at = to,
                crate::event_log::Chunk::End => return Ok(at),
            }
        }
    }
}
