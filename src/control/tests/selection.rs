//! Selection compared with a plain filter over parsed lines, on events made to look like one another.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::super::query::Request;
use super::super::select::{Filter, Verdict};
use crate::event::line::{body, frame};
use crate::event::{Caller, Event, EventType, Mark, Op, Seq, Source, Timestamp};

const NAMES: [&str; 7] = [
    "a",
    "b.json",
    "a\"b",
    "ab",
    "0b5e8f3c-9a34-4c0f-8f39-0c2c9a1d7e55.json",
    "\"op\":\"write\"",
    "é",
];
const SESSIONS: [&str; 4] = ["one", "two", "o\"ne", "x\",\"session\":\"one"];
const GLOBS: [&str; 14] = [
    "**",
    "*",
    "a",
    "a/*",
    "a/**",
    "**/a",
    "a/**/ab",
    "**/*.json",
    "?",
    "a?",
    "*/*",
    "**/é",
    "a*b",
    "zz",
];
const UUID: &str = "0b5e8f3c-9a34-4c0f-8f39-0c2c9a1d7e55";
const TIME_MAX: u64 = 40;

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::collection::vec(select(NAMES.to_vec()), 1..4);
    (names, any::<bool>()).prop_map(|(names, odd)| {
        let mut path = names.join("/").into_bytes();
        if odd {
            path.push(0xff);
        }
        path
    })
}

fn any_caller() -> impl Strategy<Value = Option<Arc<Caller>>> {
    let session = prop::option::of(select(SESSIONS.to_vec()));
    prop::option::of((1_u32..20, session)).prop_map(|caller| {
        caller.map(|(pid, session)| {
            Arc::new(Caller {
                pid,
                uid: pid,
                gid: 1,
                comm: "\"pid\":1,".into(),
                session: session.map(str::to_owned),
            })
        })
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let data = json!({"session": "one", "op": "write", "pid": 1, "uid": 1, "uuid": UUID, "x": {"source": "mount"}});
    let mark = prop_oneof![Just(None), Just(Some(data))].prop_map(|data| Mark {
        text: "\"session\":\"one\"".into(),
        data,
    });
    let change = (
        select(EventType::ALL.to_vec()),
        prop::option::of(select(Op::ALL.to_vec())),
        select(Source::ALL.to_vec()),
        prop::option::of(any_path()),
        prop::option::of(any_path()),
        any_caller(),
    );
    let change = change.prop_map(
        |(event_type, op, source, src_path, dest_path, caller)| Event {
            src_path,
            dest_path,
            caller,
            ..Event::new(event_type, op, source)
        },
    );
    prop_oneof![
        8 => change,
        1 => (mark, any_caller()).prop_map(|(mark, caller)| Event::mark(mark, caller)),
    ]
}

/// Each selector, there or not, as the JSON of a request.
fn any_selectors() -> impl Strategy<Value = Map<String, Value>> {
    fn words(all: Vec<&'static str>) -> impl Strategy<Value = Value> {
        prop::collection::vec(select(all), 1..4).prop_map(Value::from)
    }
    let types = EventType::ALL.iter().map(|word| word.word()).collect();
    let ops = Op::ALL.iter().map(|word| word.word()).collect();
    let sources = Source::ALL.iter().map(|word| word.word()).collect();
    let sessions: Vec<String> = SESSIONS
        .iter()
        .flat_map(|name| [(*name).to_owned(), format!("!{name}")])
        .chain(["!self".to_owned()])
        .collect();
    let one = prop_oneof![
        select(GLOBS.to_vec()).prop_map(|glob| ("path", json!(glob))),
        Just(("uuid", json!(UUID))),
        words(types).prop_map(|list| ("event_type", list)),
        words(ops).prop_map(|list| ("op", list)),
        words(sources).prop_map(|list| ("source", list)),
        select(sessions).prop_map(|name| ("session", json!(name))),
        (1_u32..20).prop_map(|pid| ("pid", json!(pid))),
        (0..TIME_MAX).prop_map(|time| ("from_time", json!(time))),
        (0..TIME_MAX).prop_map(|time| ("to_time", json!(time))),
    ];
    prop::collection::vec(one, 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

/// What a selector means, said plainly; `path` is the exact paths of the event.
fn naive(key: &str, wanted: &Value, line: &Value, event: &Event, own: &str) -> bool {
    match key {
        "path" => {
            let glob: Vec<&[u8]> = wanted
                .as_str()
                .unwrap()
                .as_bytes()
                .split(|b| *b == b'/')
                .collect();
            let paths = [&event.src_path, &event.dest_path];
            paths.into_iter().flatten().any(|path| {
                let path: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
                components_match(&glob, &path, true)
            })
        }
        "event_type" | "op" | "source" => wanted.as_array().unwrap().contains(&line[key]),
        "session" => match wanted.as_str().unwrap() {
            "!self" => line["session"] != own,
            name => match name.strip_prefix('!') {
                Some(name) => line["session"] != name,
                None => line["session"] == name,
            },
        },
        "from_time" => line["timestamp"].as_f64() >= wanted.as_f64(),
        "to_time" => line["timestamp"].as_f64() <= wanted.as_f64(),
        _ => line[key] == *wanted,
    }
}

fn components_match(glob: &[&[u8]], path: &[&[u8]], first: bool) -> bool {
    match glob {
        [] => path.is_empty(),
        [b"**"] => first || !path.is_empty(),
        [b"**", rest @ ..] => {
            (0..=path.len()).any(|skip| components_match(rest, &path[skip..], false))
        }
        [one, rest @ ..] => {
            !path.is_empty()
                && name_matches(one, path[0])
                && components_match(rest, &path[1..], false)
        }
    }
}

fn name_matches(glob: &[u8], name: &[u8]) -> bool {
    match glob {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|skip| name_matches(rest, &name[skip..])),
        [b'?', rest @ ..] => !name.is_empty() && name_matches(rest, &name[1..]),
        [byte, rest @ ..] => name.first() == Some(byte) && name_matches(rest, &name[1..]),
    }
}

fn line_of(event: &Event, second: u64) -> Vec<u8> {
    let mut text = String::new();
    body(event, &mut text);
    let mut line = Vec::new();
    frame(
        Seq(second + 1),
        Timestamp(second * 1_000_000_000),
        &text,
        &mut line,
    );
    line
}

fn filter_of(selectors: &Map<String, Value>, own: &str) -> Filter {
    let request = json!({"events": selectors}).to_string();
    match Request::parse(request.as_bytes()) {
        Ok(Request::Events(query)) => Filter::new(query.selectors, Some(own)).unwrap(),
        other => panic!("{request}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn selection_equals_a_plain_filter(
        events in prop::collection::vec((any_event(), 0..TIME_MAX), 1..20),
        selectors in any_selectors(),
        own in select(SESSIONS.to_vec()),
    ) {
        let filter = filter_of(&selectors, own);
        prop_assert_eq!(filter.takes_all(), selectors.is_empty());
        let all: Vec<u8> = events.iter().flat_map(|(event, second)| line_of(event, *second)).collect();
        let judged: Vec<_> = all.split_inclusive(|b| *b == b'\n').map(|line| (line, filter.judge(line))).collect();
        let told = |(_, verdict): &(&[u8], Verdict)| *verdict != Verdict::Skip;
        let sifted: Vec<_> = filter.sift(&all).filter(told).collect();
        prop_assert_eq!(sifted, judged.into_iter().filter(told).collect::<Vec<_>>(), "{:?}", selectors);
        for (event, second) in &events {
            let line = line_of(event, *second);
            let value: Value = serde_json::from_slice(&line).unwrap();
            let expected = selectors.iter().all(|(k, v)| naive(k, v, &value, event, own));
            let verdict = filter.judge(&line);
            prop_assert_eq!(verdict == Verdict::Take, expected, "{:?} {}", selectors, value);
            let past = selectors.get("to_time").is_some_and(|to| *second > to.as_u64().unwrap());
            prop_assert_eq!(verdict == Verdict::Past, past);
        }
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut selectors = Map::new();
        selectors.insert("from_time".into(), json!(1));
        let mut line = b"{\"seq\":1,\"timestamp\":".to_vec();
        line.extend_from_slice(&bytes);
        let _ = filter_of(&selectors, "").judge(&line);
        let _ = filter_of(&selectors, "").judge(&bytes);
    }
}

#[test]
fn a_moved_file_is_found_by_either_name() {
    let mut event = Event::new(EventType::Moved, Some(Op::Rename), Source::Mount);
    event.src_path = Some(b"tmp/x".to_vec());
    event.dest_path = Some(b"notes/y.json".to_vec());
    let line = line_of(&event, 1);
    let verdict = |glob: &str| {
        let selectors = [("path".to_owned(), json!(glob))].into_iter().collect();
        filter_of(&selectors, "").judge(&line)
    };
    for glob in [
        "tmp/*",
        "**/*.json",
        "notes/**",
        "{tmp,other}/x",
        "tmp/[w-y]",
        "tmp/\\x",
    ] {
        assert_eq!(verdict(glob), Verdict::Take, "{glob}");
    }
    for glob in ["*", "*.json", "tmp", "x", "notes/?"] {
        assert_eq!(verdict(glob), Verdict::Skip, "{glob}");
    }
}

#[test]
fn nanoseconds_select() {
    let mut line = Vec::new();
    frame(
        Seq(1),
        Timestamp(1_700_000_000_123_456_789),
        "\"event_type\":\"gap\"",
        &mut line,
    );
    let verdict = |key: &str, time: &str| {
        let request = format!("{{\"events\":{{\"{key}\":{time}}}}}");
        match Request::parse(request.as_bytes()) {
            Ok(Request::Events(query)) => Filter::new(query.selectors, None).unwrap().judge(&line),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(verdict("from_time", "1700000000.123456789"), Verdict::Take);
    assert_eq!(verdict("from_time", "1700000000.123456790"), Verdict::Skip);
    assert_eq!(verdict("from_time", "1700000000.1234567891"), Verdict::Skip);
    assert_eq!(verdict("to_time", "1700000000.123456789"), Verdict::Take);
    assert_eq!(verdict("to_time", "1700000000.123456788"), Verdict::Past);
    assert_eq!(
        verdict("from_time", "\"2023-11-14T22:13:20.123456789Z\""),
        Verdict::Take
    );
    assert_eq!(
        verdict("from_time", "\"2023-11-14T22:13:20.12345679Z\""),
        Verdict::Skip
    );
}
