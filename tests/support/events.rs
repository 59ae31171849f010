//! Events as JSON: read, checked line by line, and told in brief.

use std::path::Path;

use hippofs::event::line;
use serde_json::Value;

/// Every line of a control file or log file: checksums right, positions dense.
#[track_caller]
pub(crate) fn read(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&bytes)
}

/// The same from memory. A gap that the reader was told of, rather than one in the log, has no position.
#[track_caller]
pub(crate) fn parse(bytes: &[u8]) -> Vec<Value> {
    let mut last = None;
    let mut events = Vec::new();
    for text in bytes.split_inclusive(|b| *b == b'\n') {
        assert_eq!(text.last(), Some(&b'\n'), "half a line: {}", lossy(text));
        let event: Value = serde_json::from_slice(text)
            .unwrap_or_else(|e| panic!("not JSON: {e}: {}", lossy(text)));
        if event.get("seq").is_none() {
            assert_eq!(
                event["event_type"],
                "gap",
                "a line without seq: {}",
                lossy(text)
            );
            last = None;
        } else {
            let seq = line::check(text)
                .unwrap_or_else(|e| panic!("{e:?}: {}", lossy(text)))
                .0;
            assert_eq!(event["seq"], seq);
            assert!(
                last.is_none_or(|last| seq == last + 1),
                "{seq} after {last:?}"
            );
            last = Some(seq);
        }
        events.push(event);
    }
    events
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A text field, empty when absent.
pub(crate) fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number field.
#[track_caller]
pub(crate) fn number(event: &Value, key: &str) -> u64 {
    event
        .get(key)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{key} in {event}"))
}

/// `op src[ -> dest][ @offset+length]`; the range for write, fallocate and copy; the type where there is no op.
pub(crate) fn brief(event: &Value) -> String {
    let op = text(event, "op");
    if op.is_empty() {
        return text(event, "event_type").to_owned();
    }
    let mut out = format!("{op} {}", text(event, "src_path"));
    if let Some(dest) = event.get("dest_path").and_then(Value::as_str) {
        out += &format!(" -> {dest}");
    }
    if matches!(op, "write" | "fallocate" | "copy") {
        out += &format!(" @{}+{}", number(event, "offset"), number(event, "length"));
    }
    out
}

/// All in brief.
pub(crate) fn briefs(events: &[Value]) -> Vec<String> {
    events.iter().map(brief).collect()
}

/// How often each op stands there.
pub(crate) fn counts(events: &[Value]) -> std::collections::BTreeMap<String, u64> {
    let mut counts = std::collections::BTreeMap::new();
    for event in events {
        *counts.entry(text(event, "op").to_owned()).or_default() += 1;
    }
    counts
}
