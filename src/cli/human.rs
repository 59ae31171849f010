//! Lines for people. Names and texts come from anyone who may write into a mount, so whatever could steer a terminal
//! or fake a line is shown as an escape.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use crate::event::line::path_bytes;

/// What stands where a field does not apply.
const NONE: &str = "-";

/// `bytes` with everything a terminal would act on as `\xNN` or `\u{N}`, and the backslash doubled.
#[must_use]
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(c, &mut out);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A message made of our own words and of names: steering characters are escaped, backslashes stay.
#[must_use]
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        if c == '\\' {
            out.push(c)
        } else {
            push_escaped(c, &mut out)
        }
    }
    out
}

/// As [`one_line`], with the blanks at its end.
#[must_use]
pub(super) fn one_line_whole(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\\' {
            out.push(c)
        } else {
            push_escaped(c, &mut out)
        }
    }
    out
}

fn push_escaped(c: char, out: &mut String) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        c if c.is_ascii_control() => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c if c.is_control() || reorders(c) => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Characters that reorder, break or hide text: marks of direction, separators, zero width.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}')
}

/// `SEQ  LOCAL-TIME  TYPE/OP  PATH [-> DEST]  SIZE  COMM[PID]  SESSION`, for a parsed line of the log.
#[must_use]
pub(super) fn event_line(event: &Value, zone: &TimeZone) -> String {
    let text = |key: &str| {
        event
            .get(key)
            .and_then(Value::as_str)
            .map(|text| escape(text.as_bytes()))
    };
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    let path = |key: &str| path_bytes(event, key).map(|bytes| escape(&bytes));

    let seq = number("seq").map_or_else(|| NONE.into(), |seq| seq.to_string());
    let time = event
        .get("timestamp")
        .and_then(Value::as_f64)
        .and_then(|s| local_time(s, zone));
    let mut kind = text("event_type").unwrap_or_else(|| NONE.into());
    if let Some(op) = text("op") {
        let _ = write!(kind, "/{op}");
    }
    let mut line = format!(
        "{seq:>8}  {:<23}  {kind:<16}",
        time.unwrap_or_else(|| NONE.into())
    );
    match (path("src_path"), path("dest_path")) {
        (Some(src), Some(dest)) => {
            let _ = write!(line, "  {src} -> {dest}");
        }
        (Some(src), None) => {
            let _ = write!(line, "  {src}");
        }
        (None, _) => line.push_str(&remark(event, &text)),
    }
    if let Some(bytes) = number("size") {
        let _ = write!(line, "  {}", size(bytes));
    }
    if let Some(pid) = number("pid") {
        let _ = write!(line, "  {}[{pid}]", text("comm").unwrap_or_default());
    }
    if let Some(session) = text("session") {
        let _ = write!(line, "  {session}");
    }
    line
}

/// `SEQ  LOCAL-TIME  TYPE/OP  SIZE  HASH  KEPT  PATH  COMM[PID]  SESSION`, for a line of the reply to `versions`.
#[must_use]
pub(super) fn version_line(version: &Value, zone: &TimeZone) -> String {
    const HASH_DIGITS: usize = 10;
    let text = |key: &str| {
        let text = version.get(key).and_then(Value::as_str);
        text.map(|text| escape(text.as_bytes()))
    };
    let number = |key: &str| version.get(key).and_then(Value::as_u64);
    let none = || NONE.to_owned();
    let seq = number("seq").map_or_else(none, |seq| seq.to_string());
    let time = version.get("timestamp").and_then(Value::as_f64);
    let time = time.and_then(|s| local_time(s, zone)).unwrap_or_else(none);
    let kind = [text("event_type"), text("op")].map(|word| word.unwrap_or_else(none));
    let hash = text("blake3").map(|hash| hash.chars().take(HASH_DIGITS).collect::<String>());
    let kept = match version.get("kept").and_then(Value::as_bool) {
        Some(true) => "kept".to_owned(),
        Some(false) => match text("content_missing") {
            Some(why) => format!("not held ({why})"),
            None => "not held".to_owned(),
        },
        None => none(),
    };
    let path = |key: &str| path_bytes(version, key).map(|bytes| escape(&bytes));
    let mut line = format!(
        "{seq:>8}  {time:<23}  {:<16}  {:>7}  {:<HASH_DIGITS$}  {kept:<4}  ",
        kind.join("/"),
        number("size").map_or_else(none, size),
        hash.unwrap_or_else(none),
    );
    match (path("src_path"), path("dest_path")) {
        (Some(src), Some(dest)) => {
            let _ = write!(line, "{src} -> {dest}");
        }
        _ => line.push_str(&path("path").unwrap_or_else(none)),
    }
    if let Some(pid) = number("pid") {
        let _ = write!(line, "  {}[{pid}]", text("comm").unwrap_or_default());
    }
    if let Some(session) = text("session") {
        let _ = write!(line, "  {session}");
    }
    line
}

/// What a gap or a mark says.
fn remark(event: &Value, text: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    if let Some(reason) = text("reason") {
        let _ = write!(out, "  {reason}");
    }
    if let (Some(from), Some(to)) = (event.get("from"), event.get("to")) {
        let _ = write!(out, "  {from} to {to}");
    }
    for key in ["detail", "text"] {
        if let Some(said) = text(key) {
            let _ = write!(out, "  {said}");
        }
    }
    out
}

/// Bytes to three figures, in powers of 1024.
#[must_use]
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    // 2^10 to 2^63: the exponent picks one of the six units.
    let exponent = (bytes.ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (10 * exponent);
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[exponent - 1])
}

/// Seconds since the epoch as local date and time with milliseconds.
pub(super) fn local_time(seconds: f64, zone: &TimeZone) -> Option<String> {
    // Microseconds of any time a log can hold are exact in a float; a wild one saturates and is then refused.
    let moment = jiff::Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()?;
    Some(
        moment
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S%.3f")
            .to_string(),
    )
}

/// A JSON object as `name  value` lines, nested names joined with dots.
#[must_use]
pub(super) fn table(object: &Value) -> String {
    let mut rows = Vec::new();
    flatten(String::new(), object, &mut rows);
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("{name:<width$}  {value}\n"))
        .collect()
}

fn flatten(name: String, value: &Value, rows: &mut Vec<(String, String)>) {
    let join = |key: &str| {
        if name.is_empty() {
            escape(key.as_bytes())
        } else {
            format!("{name}.{}", escape(key.as_bytes()))
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                flatten(join(key), value, rows);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, value) in items.iter().enumerate() {
                flatten(join(&at.to_string()), value, rows);
            }
        }
        Value::Object(_) | Value::Array(_) | Value::Null => rows.push((name, NONE.into())),
        Value::String(text) => rows.push((name, escape(text.as_bytes()))),
        Value::Bool(_) | Value::Number(_) => rows.push((name, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_line_shows_who_did_what_where_and_when() {
        let event = json!({"seq": 7, "timestamp": 1_700_000_000.123_456, "event_type": "moved", "op": "rename",
            "src_path": "a.tmp", "dest_path": "a", "size": 2048, "pid": 12, "comm": "python3", "session": "s1"});
        assert_eq!(
            event_line(&event, &TimeZone::UTC),
            "       7  2023-11-14 22:13:20.123  moved/rename      a.tmp -> a  2.0K  python3[12]  s1"
        );
        let gap = json!({"event_type": "gap", "reason": "retention", "from": 1, "to": 9});
        assert_eq!(
            event_line(&gap, &TimeZone::UTC).trim(),
            "-  -                        gap               retention  1 to 9".trim()
        );
    }

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal() {
        let event = json!({"seq": 1, "timestamp": 0.0, "event_type": "created", "op": "create",
            "src_path": "\u{1b}]0;x\u{7}\n\u{202e}\\", "comm": "\r\u{9b}2J", "pid": 1, "session": "\u{7f}"});
        let line = event_line(&event, &TimeZone::UTC);
        assert!(line.contains(r"\x1b]0;x\x07\n\u{202e}\\"), "{line}");
        assert!(line.contains(r"\r\u{9b}2J[1]  \x7f"), "{line}");
        let twin = json!({"src_path": "?", "src_path_b64": "/wo="});
        assert!(event_line(&twin, &TimeZone::UTC).contains(r"\xff\n"));
    }

    #[test]
    fn a_version_shows_whether_it_can_be_read() {
        let version = json!({"seq": 4, "timestamp": 1_700_000_000.0, "path": "a\n", "event_type": "closed", "op": "close",
            "size": 12, "blake3": "af1349b9f5f9a1a6", "kept": true, "pid": 3, "comm": "sh"});
        assert_eq!(
            version_line(&version, &TimeZone::UTC),
            "       4  2023-11-14 22:13:20.000  closed/close          12B  af1349b9f5  kept  a\\n  sh[3]"
        );
        let lost = json!({"kept": false, "content_missing": "removed"});
        assert!(version_line(&lost, &TimeZone::UTC).contains("not held (removed)"));
    }

    #[test]
    fn sizes_have_three_figures() {
        assert_eq!(
            [0, 1023, 1024, 1536, 1 << 20, u64::MAX].map(size),
            ["0B", "1023B", "1.0K", "1.5K", "1.0M", "15.9E"]
        );
    }

    #[test]
    fn a_table_names_every_leaf() {
        let status = json!({"state": "ok", "log": {"segments": 2}, "consumers": [], "latency_us": {"write": {"p50": 3}}});
        assert_eq!(
            table(&status),
            "state                 ok\nlog.segments          2\nconsumers             -\nlatency_us.write.p50  3\n"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_steers_survives(bytes in prop::collection::vec(any::<u8>(), 0..64), seconds in any::<f64>()) {
            let safe = |text: &str| !text.chars().any(|c| c.is_control() || reorders(c));
            prop_assert!(safe(&escape(&bytes)));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert!(safe(&one_line(&text)));
            let event = json!({"timestamp": seconds, "src_path": text.clone(), "op": text.clone(), "detail": text});
            prop_assert!(safe(&event_line(&event, &TimeZone::UTC)));
        }
    }
}
