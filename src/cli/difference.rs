//! The difference of two contents for people: unified text; JSON by its values, not its layout; else that they differ.
//! Pure.

use std::fmt::Write as _;

use serde_json::Value;
use similar::TextDiff;

use super::human;

/// Lines shown around a difference.
const CONTEXT_LINES: usize = 3;
/// How deep a JSON text may be nested to be compared by its values: printing it recurses.
const JSON_DEPTH_MAX: usize = 100;
/// Digits of a hash that tell two contents apart.
const HASH_DIGITS: usize = 16;

/// One of two contents.
pub(super) struct Side {
    /// What it is, already safe for a terminal.
    pub(super) label: String,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
}

/// The difference, empty when there is none. `raw` compares JSON as text.
pub(super) fn unified(old: &Side, new: &Side, raw: bool) -> String {
    if old.bytes == new.bytes {
        return String::new();
    }
    let (Some(before), Some(after)) = (text(&old.bytes), text(&new.bytes)) else {
        return format!(
            "--- {}\n+++ {}\nBinary contents differ: {} and {}\n",
            old.label,
            new.label,
            in_short(&old.bytes),
            in_short(&new.bytes)
        );
    };
    let pretty = match raw {
        true => None,
        false => pretty(before).zip(pretty(after)),
    };
    let (before, after) = match &pretty {
        Some((before, after)) => (before.as_str(), after.as_str()),
        None => (before, after),
    };
    if before == after {
        return format!(
            "--- {}\n+++ {}\nThe JSON values are the same; only the layout differs (--raw shows it)\n",
            old.label, new.label
        );
    }
    let diff = TextDiff::from_lines(before, after);
    let mut unified = diff.unified_diff();
    let unified = unified.context_radius(CONTEXT_LINES);
    let text = unified.header(&old.label, &new.label).to_string();
    text.split_inclusive('\n').map(shown).collect()
}

/// A line of a difference as a terminal may show it; tabs stay.
fn shown(line: &str) -> String {
    let (body, end) = match line.strip_suffix('\n') {
        Some(body) => (body, "\n"),
        None => (line, ""),
    };
    let parts: Vec<String> = body.split('\t').map(human::one_line_whole).collect();
    parts.join("\t") + end
}

/// The content as text; `None` when it is binary.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

fn in_short(bytes: &[u8]) -> String {
    let hash = blake3::hash(bytes).to_hex();
    format!("{} ({} bytes)", &hash[..HASH_DIGITS], bytes.len())
}

/// A JSON text laid out in one way, keys in order; `None` when it is no JSON object or array.
fn pretty(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    if !(value.is_object() || value.is_array()) {
        return None;
    }
    let sorted = sorted(value, 0)?;
    let mut out = String::new();
    let _ = writeln!(out, "{}", serde_json::to_string_pretty(&sorted).ok()?);
    Some(out)
}

fn sorted(value: Value, depth: usize) -> Option<Value> {
    if depth > JSON_DEPTH_MAX {
        return None;
    }
    Some(match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            let fields = fields.into_iter();
            let fields: Option<_> = fields
                .map(|(key, value)| Some((key, sorted(value, depth + 1)?)))
                .collect();
            Value::Object(fields?)
        }
        Value::Array(items) => {
            let items = items.into_iter();
            Value::Array(
                items
                    .map(|item| sorted(item, depth + 1))
                    .collect::<Option<_>>()?,
            )
        }
        plain => plain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn diff(old: &[u8], new: &[u8], raw: bool) -> String {
        let side = |label: &str, bytes: &[u8]| Side {
            label: label.into(),
            bytes: bytes.to_vec(),
        };
        unified(&side("a", old), &side("b", new), raw)
    }

    #[test]
    fn text_is_compared_by_lines() {
        assert_eq!(
            diff(b"one\ntwo\n", b"one\n2\n", false),
            "--- a\n+++ b\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
        );
        assert_eq!(diff(b"same", b"same", false), "");
    }

    #[test]
    fn json_is_compared_by_value() {
        let (old, new) = (br#"{"b":1,"a":[1,2]}"#, br#"{"a":[1,3],"b":1}"#);
        let shown = diff(old, new, false);
        assert!(
            shown.contains("-    2\n+    3\n") && !shown.contains("-  \"b\""),
            "{shown}"
        );
        assert!(diff(old, new, true).contains("-{\"b\":1,"));
        let same = diff(br#"{"b":1,"a":2}"#, br#"{"a":2, "b":1}"#, false);
        assert!(same.contains("only the layout differs"), "{same}");
    }

    #[test]
    fn binary_contents_are_named_by_size_and_hash() {
        let shown = diff(b"\0a", b"text", false);
        assert!(
            shown.contains("Binary contents differ") && shown.contains("(2 bytes)"),
            "{shown}"
        );
    }

    #[test]
    fn a_hostile_line_cannot_steer_the_terminal() {
        let shown = diff(b"x\t\x1b]0;t\x07\n", b"y\r\n", false);
        assert!(shown.contains("-x\t\\x1b]0;t\\x07\n+y\\r\n"), "{shown:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_compared(old in prop::collection::vec(any::<u8>(), 0..60), new in prop::collection::vec(any::<u8>(), 0..60), raw: bool) {
            prop_assert_eq!(diff(&old, &new, raw).is_empty(), old == new);
        }

        #[test]
        fn any_text_is_compared(old in "[{}\\[\\]\":,a0 \n]{0,40}", new in "[{}\\[\\]\":,a0 \n]{0,40}") {
            prop_assert_eq!(diff(old.as_bytes(), new.as_bytes(), false).is_empty(), old == new);
        }
    }
}
