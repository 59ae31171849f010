//! Replies to `events`, `mark` and `sync`: bounds, paging, waiting.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Entry, Read};
use super::{Bench, WHOLE, caller, drain, parsed, seqs, write_of};

#[test]
fn bounds_are_exclusive_and_inclusive() {
    let bench = Bench::new();
    bench.fill("a", 10);
    for (query, expected, next) in [
        (json!({}), 1..11, 10),
        (json!({"since": 3}), 4..11, 10),
        (json!({"since": 3, "until": 5}), 4..6, 5),
        (json!({"since": 3, "until": 99}), 4..11, 10),
        (json!({"since": 3, "limit": 2}), 4..6, 5),
        (json!({"limit": 10}), 1..11, 10),
        (json!({"since": 10}), 0..0, 10),
        (json!({"since": 7, "until": 2}), 0..0, 7),
        (json!({"until": 0}), 0..0, 0),
        (json!({"path": "nothing"}), 0..0, 10),
        (json!({"since": null, "path": null}), 1..11, 10),
        (json!({"to_time": 0}), 0..0, 10),
        (json!({"from_time": 0}), 1..11, 10),
    ] {
        let (events, last) = bench.events(&json!({"events": query}).to_string());
        assert_eq!(seqs(&events), expected.collect::<Vec<u64>>(), "{query}");
        assert_eq!(
            last,
            json!({"next": next, "head": 10, "gap": null}),
            "{query}"
        );
    }
}

#[test]
fn since_past_the_end_is_sent_back_to_the_head() {
    let bench = Bench::new();
    bench.fill("a", 2);
    for since in [3, u64::MAX] {
        let request = json!({"events": {"since": since, "wait_ms": 600_000}}).to_string();
        let (events, last) = bench.events(&request);
        assert!(events.is_empty());
        assert_eq!((&last["next"], &last["head"]), (&json!(2), &json!(2)));
        assert_eq!(last["gap"]["reason"], "ahead");
        assert_eq!(
            (&last["gap"]["from"], &last["gap"]["to"]),
            (&json!(3), &json!(since))
        );
    }
}

#[test]
fn times_select_between_events() {
    let bench = Bench::new();
    bench.fill("a", 6);
    let (all, _) = bench.events("{\"events\":{}}");
    // The lines' own text, because a double does not hold nanoseconds.
    let text = drain(&bench.open(Entry::Events), WHOLE);
    let times: Vec<&str> = text
        .lines()
        .map(|line| {
            line.split("\"timestamp\":")
                .nth(1)
                .unwrap()
                .split(',')
                .next()
                .unwrap()
        })
        .collect();
    for from in 0..all.len() {
        for to in 0..all.len() {
            let request = format!(
                "{{\"events\":{{\"from_time\":{},\"to_time\":{}}}}}",
                times[from], times[to]
            );
            let expected: Vec<u64> = (0..all.len())
                .filter(|at| times[*at] >= times[from] && times[*at] <= times[to])
                .map(|at| at as u64 + 1)
                .collect();
            assert_eq!(seqs(&bench.events(&request).0), expected, "{request}");
        }
    }
}

#[test]
fn a_long_poll_waits_for_a_match_and_not_for_anything() {
    let bench = Bench::new();
    bench.fill("a", 3);
    let stream = bench.open(Entry::Control);
    stream
        .write(b"{\"events\":{\"path\":\"b\",\"wait_ms\":600000}}")
        .unwrap();
    assert!(!stream.readable());
    let parked = stream.read(WHOLE).unwrap();
    let Read::Park { until: Some(until) } = parked else {
        panic!("{parked:?}");
    };
    assert!(until > Instant::now());
    assert_eq!(stream.due(), Some(until));
    bench.fill("a", 3);
    assert!(!stream.readable());
    assert_eq!(stream.read(WHOLE).unwrap(), parked);
    bench.fill("b", 2);
    assert!(stream.readable());
    // Asking whether there is something takes nothing away.
    assert!(stream.readable());
    assert_eq!(stream.due(), None);
    let lines = parsed(&drain(&stream, WHOLE));
    assert_eq!(seqs(&lines[..2]), [7, 8]);
    assert_eq!(lines[2], json!({"next": 8, "head": 8, "gap": null}));
    // The reply is at its end, and another request may come.
    assert_eq!(drain(&stream, WHOLE), "");
    stream.write(b"{\"events\":{\"since\":7}}").unwrap();
    assert_eq!(parsed(&drain(&stream, WHOLE)).len(), 2);
}

#[test]
fn a_long_poll_ends_empty_when_nothing_can_match_any_more() {
    let bench = Bench::new();
    bench.fill("a", 3);
    let stream = bench.open(Entry::Control);
    for query in [
        json!({"path": "b", "wait_ms": 0}),
        json!({"path": "b", "wait_ms": 600_000, "until": 3}),
        json!({"path": "b", "wait_ms": 600_000, "to_time": 0}),
    ] {
        stream
            .write(json!({"events": query}).to_string().as_bytes())
            .unwrap();
        let lines = parsed(&drain(&stream, WHOLE));
        assert_eq!(
            lines,
            [json!({"next": 3, "head": 3, "gap": null})],
            "{query}"
        );
    }
    // And after its time: polled, because the clock is the only thing that brings it about.
    stream
        .write(b"{\"events\":{\"path\":\"b\",\"wait_ms\":1}}")
        .unwrap();
    let reply = loop {
        match stream.read(WHOLE).unwrap() {
            Read::Park { until } => assert!(until.is_some()),
            Read::Bytes(bytes) => break bytes,
        }
    };
    assert!(reply.starts_with(b"{\"next\":3,"));
}

#[test]
fn a_new_request_takes_the_place_of_an_unread_reply() {
    let bench = Bench::new();
    bench.fill("a", 1000);
    let stream = bench.open(Entry::Control);
    stream.write(b"{\"events\":{}}").unwrap();
    assert!(matches!(stream.read(10).unwrap(), Read::Bytes(bytes) if bytes.len() == 10));
    stream.write(b"{\"sync\":{}}").unwrap();
    assert_eq!(drain(&stream, 10), "{\"head\":1000,\"durable\":1000}\n");
}

#[test]
fn a_mark_stands_in_the_log_with_its_author() {
    let bench = Bench::new();
    let reply = bench.ask("{\"mark\":{\"text\":\"release\",\"data\":{\"n\":[1,null]}}}");
    assert_eq!(reply, "{\"seq\":1}\n");
    let (events, _) = bench.events("{\"events\":{\"event_type\":[\"mark\"],\"session\":\"me\"}}");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["text"], "release");
    assert_eq!(events[0]["data"], json!({"n": [1, null]}));
    assert_eq!(events[0]["pid"], 7);
    assert!(
        bench
            .events("{\"events\":{\"session\":\"!self\"}}")
            .0
            .is_empty()
    );
}

#[test]
fn a_query_over_much_log_that_selects_little_comes_to_its_end() {
    let bench = Bench::new();
    // More than one step looks through.
    let name = "n".repeat(4000);
    bench.fill(&name, 1300);
    bench.fill("needle", 1);
    let (events, last) = bench.events("{\"events\":{\"path\":\"needle\"}}");
    assert_eq!(seqs(&events), [1301]);
    assert_eq!(last["next"], 1301);
    let stream = bench.open(Entry::Control);
    stream
        .write(b"{\"events\":{\"path\":\"none\",\"wait_ms\":600000}}")
        .unwrap();
    assert!(
        stream.readable(),
        "a step that is not at the end says that there may be more"
    );
    assert!(matches!(stream.read(WHOLE).unwrap(), Read::Park { .. }));
    assert!(!stream.readable());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn paging_gives_each_event_once_in_pieces_of_any_size(
        names in prop::collection::vec(prop::sample::select(vec!["a", "b", "c/d"]), 0..60),
        limit in 1_u64..9,
        pieces in prop::collection::vec(1_usize..3000, 1..5),
        late in 0_usize..5,
    ) {
        let bench = Bench::new();
        for name in &names {
            bench.append(&write_of(name.as_bytes()));
        }
        let stream = bench.control.open(Entry::Control, caller(None)).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let (mut since, mut seen, mut round) = (0, Vec::new(), 0);
        loop {
            let request = json!({"events": {"path": "a", "since": since, "limit": limit}}).to_string();
            stream.write(request.as_bytes()).unwrap();
            let mut lines = parsed(&drain(&stream, pieces[round % pieces.len()]));
            let last = lines.pop().unwrap();
            prop_assert!(lines.len() as u64 <= limit);
            seen.extend(seqs(&lines));
            since = last["next"].as_u64().unwrap();
            round += 1;
            if round == 1 {
                bench.fill("a", late);
            } else if last["next"] == last["head"] {
                break;
            }
        }
        let text = drain(&bench.open(Entry::Events), pieces[0]);
        let all: Vec<Value> = parsed(&text);
        prop_assert_eq!(all.len(), names.len() + late);
        let expected: Vec<u64> = seqs(&all.into_iter().filter(|e| e["src_path"] == "a").collect::<Vec<_>>());
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(&text, &drain(&bench.open(Entry::Events), WHOLE));
    }
}
