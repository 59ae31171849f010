//! The text of a JSON document's parts, for what a JSON parser does not keep. No recursion, and no panic on any text.

/// The text of the value of `key` in the text of a JSON object; the last one when the key comes twice, as a JSON
/// parser has it. `json` must be valid JSON; for anything else the answer is any part of it or `None`.
pub(super) fn member<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let bytes = json.as_bytes();
    let mut at = after_blank(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    let mut found = None;
    loop {
        let name_at = after_blank(bytes, at + 1);
        let name_end = after_value(bytes, name_at);
        let colon = after_blank(bytes, name_end);
        if bytes.get(colon) != Some(&b':') {
            return found;
        }
        let value_at = after_blank(bytes, colon + 1);
        let value_end = after_value(bytes, value_at);
        let name: Option<String> = json
            .get(name_at..name_end)
            .and_then(|name| serde_json::from_str(name).ok());
        if name.as_deref() == Some(key) {
            found = json.get(value_at..value_end);
        }
        at = after_blank(bytes, value_end);
        if bytes.get(at) != Some(&b',') {
            return found;
        }
    }
}

/// The deepest nesting of arrays and objects in a JSON text.
pub(super) fn depth(json: &[u8]) -> usize {
    let (mut at, mut depth, mut deepest) = (0, 0_usize, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = after_string(json, at) - 1,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// The first position at or after `at` that is not blank.
fn after_blank(json: &[u8], at: usize) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
        .count()
}

/// The position after the value that begins at `at`.
fn after_value(json: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0_usize);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                at = after_string(json, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The position after the string whose opening quote stands at `at`; always past `at`.
fn after_string(json: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_are_found_as_a_parser_finds_them() {
        let json = r#" { "a" : {"x":"}\"" , "b":[1,{"t":0}], "t" : 1.50 }, "t":2, "t":3 } "#;
        assert_eq!(member(json, "t"), Some("3"));
        let inner = member(json, "a").unwrap();
        assert_eq!(member(inner, "t"), Some("1.50"));
        assert_eq!(member(inner, "b"), Some("[1,{\"t\":0}]"));
        assert_eq!(member(inner, "none"), None);
        assert_eq!(member(r#"{"\u0074":7}"#, "t"), Some("7"));
        assert_eq!(member("{}", "t"), None);
        assert_eq!(depth(br#"{"a":[[]],"b":"[[[[\"[[["}"#), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_panic(text in "[{}\\[\\]\":,\\\\ a0-9]{0,60}|.{0,40}") {
            let _ = member(&text, "a");
            let _ = depth(text.as_bytes());
        }
    }
}
