//! Requests that are none: each is refused in words, and none brings the program down.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::glob::PathGlob;
use super::super::query::{
    DEPTH_MAX, MARK_DATA_BYTES_MAX, MARK_TEXT_BYTES_MAX, REQUEST_BYTES_MAX, Request, WAIT_MS_MAX,
};
use super::super::{ControlError, Entry};
use super::{Bench, WHOLE, drain, parsed};

/// The code with which a request is refused.
fn code(request: &str) -> &'static str {
    match Request::parse(request.as_bytes()) {
        Ok(request) => panic!("accepted: {request:?}"),
        Err(reject) => {
            let lines = parsed(&reject.line());
            assert_eq!(lines.len(), 1);
            let error = &lines[0]["error"];
            assert_eq!(error["code"], reject.code);
            assert!(!error["message"].as_str().unwrap().is_empty(), "{request}");
            assert!(!error["hint"].as_str().unwrap().is_empty(), "{request}");
            reject.code
        }
    }
}

#[test]
fn what_is_no_request_is_refused_by_kind() {
    for (expected, requests) in [
        (
            "malformed",
            &[
                "",
                "x",
                "{",
                "[]",
                "{}",
                "null",
                "{\"status\":{}}{}",
                "{\"status\":{},\"help\":{}}",
            ][..],
        ),
        ("unknown_request", &["{\"nothing\":{}}", "{\"\":{}}"]),
        (
            "unknown_field",
            &[
                "{\"status\":{\"a\":1}}",
                "{\"events\":{\"Path\":\"a\"}}",
                "{\"mark\":{\"text\":\"a\",\"b\":null}}",
            ],
        ),
        (
            "invalid_value",
            &[
                "{\"status\":null}",
                "{\"reconcile\":{\"path\":\"/a\"}}",
                "{\"reconcile\":{\"path\":\"a/../..\"}}",
                "{\"reconcile\":{\"full\":1}}",
                "{\"events\":[]}",
                "{\"mark\":{}}",
                "{\"mark\":{\"text\":1}}",
                "{\"events\":{\"since\":-1}}",
                "{\"events\":{\"since\":1.0}}",
                "{\"events\":{\"since\":\"1\"}}",
                "{\"events\":{\"since\":18446744073709551616}}",
                "{\"events\":{\"limit\":0}}",
                "{\"events\":{\"op\":\"write\"}}",
                "{\"events\":{\"op\":[]}}",
                "{\"events\":{\"op\":[\"Write\"]}}",
                "{\"events\":{\"event_type\":[1]}}",
                "{\"events\":{\"uuid\":\"x\"}}",
                "{\"events\":{\"pid\":4294967296}}",
                "{\"events\":{\"session\":1}}",
                "{\"events\":{\"path\":\"/a\"}}",
                "{\"events\":{\"path\":\"[\"}}",
                "{\"events\":{\"from_time\":-1}}",
                "{\"events\":{\"to_time\":\"tomorrow\"}}",
                "{\"events\":{\"view\":\"cooked\"}}",
                "{\"versions\":{}}",
                "{\"versions\":{\"path\":\"/a\"}}",
                "{\"versions\":{\"path\":\"a\",\"at\":-1}}",
                "{\"restore\":{\"path\":\"a\"}}",
                "{\"restore\":{\"at\":1}}",
                "{\"restore\":{\"path\":\"../a\",\"at\":1}}",
                "{\"restore\":{\"path\":\"a\",\"at\":\"then\"}}",
                "{\"restore\":{\"path\":\"a\",\"at\":1,\"dry_run\":1}}",
            ],
        ),
    ] {
        for request in requests {
            assert_eq!(code(request), expected, "{request}");
        }
    }
}

#[test]
fn limits_hold_and_what_is_just_within_them_is_accepted() {
    let accepted = |request: String| Request::parse(request.as_bytes()).is_ok();
    let glob = |bytes: usize| format!("{{\"events\":{{\"path\":\"{}\"}}}}", "a".repeat(bytes));
    assert!(accepted(glob(PathGlob::BYTES_MAX)));
    assert_eq!(code(&glob(PathGlob::BYTES_MAX + 1)), "invalid_value");
    let braces = |count: usize| {
        format!(
            "{{\"events\":{{\"path\":\"{}\"}}}}",
            "{a,".repeat(count) + &"}".repeat(count)
        )
    };
    assert!(accepted(braces(PathGlob::ALTERNATES_MAX)));
    assert_eq!(code(&braces(PathGlob::ALTERNATES_MAX + 1)), "invalid_value");
    let wait = |ms: u64| format!("{{\"events\":{{\"wait_ms\":{ms}}}}}");
    assert!(accepted(wait(WAIT_MS_MAX)));
    assert_eq!(code(&wait(WAIT_MS_MAX + 1)), "invalid_value");
    let mark = |bytes: usize| format!("{{\"mark\":{{\"text\":\"{}\"}}}}", "a".repeat(bytes));
    assert!(accepted(mark(MARK_TEXT_BYTES_MAX)));
    assert_eq!(code(&mark(MARK_TEXT_BYTES_MAX + 1)), "invalid_value");
    let data = |bytes: usize| {
        let text = "a".repeat(bytes - 2);
        format!("{{\"mark\":{{\"text\":\"\",\"data\":\"{text}\"}}}}")
    };
    assert!(accepted(data(MARK_DATA_BYTES_MAX)));
    assert_eq!(code(&data(MARK_DATA_BYTES_MAX + 1)), "invalid_value");
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
        format!("{{\"mark\":{{\"text\":\"\",\"data\":{open}{close}}}}}")
    };
    assert!(accepted(deep(DEPTH_MAX)));
    assert_eq!(code(&deep(DEPTH_MAX + 1)), "malformed");
    assert_eq!(code(&deep(REQUEST_BYTES_MAX / 4)), "malformed");
    let long = |bytes: usize| format!("{{\"status\":{{}}{}}}", " ".repeat(bytes - 13));
    assert!(accepted(long(REQUEST_BYTES_MAX)));
    assert_eq!(code(&long(REQUEST_BYTES_MAX + 1)), "too_long");
}

#[test]
fn a_refused_write_leaves_its_reason_to_be_read() {
    let bench = Bench::new();
    let stream = bench.open(Entry::Control);
    assert_eq!(drain(&stream, WHOLE), "");
    assert!(matches!(
        stream.write(b"{\"nothing\":{}}"),
        Err(ControlError::Invalid(_))
    ));
    assert!(drain(&stream, WHOLE).contains("unknown_request"));
    assert_eq!(drain(&stream, WHOLE), "");
    let long = vec![b' '; REQUEST_BYTES_MAX + 1];
    assert!(matches!(stream.write(&long), Err(ControlError::TooLong)));
    assert!(drain(&stream, WHOLE).contains("too_long"));
    // And the next request is answered.
    stream.write(b"{\"sync\":{}}\n").unwrap();
    assert!(drain(&stream, WHOLE).starts_with("{\"head\":0,"));
}

#[test]
fn own_session_must_be_known_to_be_left_out() {
    let bench = Bench::new();
    let nobody = bench.control.open(Entry::Control, super::caller(None));
    let Ok(stream) = nobody else {
        panic!("not opened")
    };
    let request = b"{\"events\":{\"session\":\"!self\"}}";
    assert!(matches!(
        stream.write(request),
        Err(ControlError::Invalid(_))
    ));
    let reply = drain(&stream, WHOLE);
    assert!(reply.contains("no_session") && reply.contains("HIPPOFS_SESSION"));
}

#[test]
fn globs_that_grow_are_refused_and_not_fatal() {
    for glob in [
        "[!/]".repeat(1000),
        "é".repeat(2000),
        "[é-ü]".repeat(500),
        "?".repeat(4096),
        "**/".repeat(1300),
        "{*,*}".repeat(64),
        "{".repeat(64),
        "a{b,{c,{d,e}}}".into(),
        "\\".into(),
    ] {
        let _ = PathGlob::new(&glob);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[*?{}\\[\\]!,/\\\\a-c.0-9:TZ-]{0,12}|.{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["raw", "native", "!self", "write", "created", "mount"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    let known = vec![
        "events",
        "status",
        "sync",
        "mark",
        "help",
        "restore",
        "reconcile",
        "full",
        "path",
        "uuid",
        "op",
        "source",
        "event_type",
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
        "text",
        "data",
    ];
    prop_oneof![
        9 => prop::sample::select(known).prop_map(str::to_owned),
        1 => ".{0,6}",
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::parse(&bytes);
    }

    #[test]
    fn any_text_is_answered(text in "[{}\\[\\]\":,a-z0-9 \\\\]{0,80}") {
        let _ = Request::parse(text.as_bytes());
    }

    #[test]
    fn any_json_is_answered(name in any_name(), value in any_json()) {
        let _ = Request::parse(value.to_string().as_bytes());
        let _ = Request::parse(json!({name: value}).to_string().as_bytes());
    }

    #[test]
    fn any_selectors_are_answered(fields in prop::collection::vec((any_name(), any_json()), 0..4)) {
        let fields: serde_json::Map<String, Value> = fields.into_iter().collect();
        let _ = Request::parse(json!({"events": fields}).to_string().as_bytes());
    }
}
