//! The files: `events`, `since/SEQ`, `follow`, `status`, `metrics`, `help`.

use std::time::{Duration, Instant};

use super::super::{ControlError, Entry, Read};
use super::{Bench, WHOLE, caller, drain, parsed, seqs, write_of};
use crate::event::{Op, Seq, Source};
use crate::event_log::Options;

#[test]
fn events_and_since_end_at_the_head_of_the_open() {
    let bench = Bench::new();
    bench.fill("a", 5);
    let (events, since) = (bench.open(Entry::Events), bench.open(Entry::Since(Seq(3))));
    let last = bench.open(Entry::Since(Seq(5)));
    bench.fill("b", 5);
    assert_eq!(seqs(&parsed(&drain(&events, WHOLE))), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(&parsed(&drain(&since, WHOLE))), [4, 5]);
    assert!(last.readable());
    assert_eq!(drain(&last, WHOLE), "");
    assert_eq!(last.read(0).unwrap(), Read::Bytes(Vec::new()));
}

#[test]
fn an_empty_log_is_an_empty_file() {
    let bench = Bench::new();
    assert_eq!(drain(&bench.open(Entry::Events), WHOLE), "");
}

#[test]
fn a_position_past_the_end_is_a_gap_and_not_silence() {
    let bench = Bench::new();
    bench.fill("a", 2);
    for since in [3, u64::MAX] {
        let lines = parsed(&drain(&bench.open(Entry::Since(Seq(since))), WHOLE));
        assert_eq!(lines.len(), 1);
        let gap = &lines[0];
        assert_eq!(gap["event_type"], "gap");
        assert_eq!(gap["reason"], "ahead");
        assert_eq!(
            (gap["from"].as_u64(), gap["to"].as_u64()),
            (Some(3), Some(since))
        );
        assert!(gap.get("seq").is_none());
    }
}

#[test]
fn follow_begins_at_the_open_and_gives_each_line_once() {
    let bench = Bench::new();
    bench.fill("a", 2);
    let follow = bench.open(Entry::Follow);
    let nothing = Read::Park { until: None };
    assert!(!follow.readable());
    assert_eq!(follow.read(WHOLE).unwrap(), nothing);
    for round in 0..3 {
        bench.fill("b", 2);
        assert!(follow.readable());
        let first = 3 + 2 * round;
        assert_eq!(seqs(&parsed(&drain(&follow, WHOLE))), [first, first + 1]);
        assert!(!follow.readable());
        assert_eq!(follow.read(WHOLE).unwrap(), nothing);
    }
}

#[test]
fn a_follower_reads_in_pieces_of_any_size() {
    let bench = Bench::new();
    let (small, large) = (bench.open(Entry::Follow), bench.open(Entry::Follow));
    bench.fill("some/path", 20);
    let whole = drain(&large, WHOLE);
    assert_eq!(drain(&small, 7), whole);
    assert_eq!(seqs(&parsed(&whole)).len(), 20);
}

#[test]
fn retention_shows_as_a_gap_everywhere() {
    let bench = Bench::with(Options {
        segment_bytes: 64 * 1024,
        retain_bytes: 128 * 1024,
        ..Options::default()
    });
    let follow = bench.open(Entry::Follow);
    let deadline = Instant::now() + Duration::from_secs(30);
    let name = "n".repeat(200);
    // A segment is removed by the log's own thread, some time after it was sealed.
    while bench.log.oldest() <= Seq(1) {
        bench.fill(&name, 100);
        assert!(Instant::now() < deadline, "nothing was removed");
    }
    for stream in [bench.open(Entry::Events), follow] {
        let lines = parsed(&drain(&stream, WHOLE));
        assert_eq!(lines[0]["reason"], "retention");
        assert_eq!(lines[0]["from"], 1);
        let begin = lines[0]["to"].as_u64().unwrap() + 1;
        let expected: Vec<u64> = (begin..=lines.len() as u64 + begin - 2).collect();
        assert_eq!(seqs(&lines[1..]), expected);
    }
    let (events, last) = bench.events("{\"events\":{\"since\":0,\"limit\":3}}");
    let begin = events[0]["seq"].as_u64().unwrap();
    assert_eq!(last["gap"]["reason"], "retention");
    assert_eq!(last["gap"]["from"], 1);
    assert_eq!(last["gap"]["to"], begin - 1);
    assert_eq!(last["gap"]["lost"], begin - 1);
    assert_eq!(last["next"], begin + 2);
    let (_, last) = bench.events(&format!(
        "{{\"events\":{{\"since\":{}}}}}",
        bench.log.head()
    ));
    assert_eq!(last["gap"], serde_json::Value::Null);
}

#[test]
fn damage_in_the_middle_shows_as_a_gap_everywhere() {
    let bench = Bench::new();
    bench.fill("a", 10);
    let dir = bench.into_dir();
    let segment = dir.path().join("00000000000000000001.jsonl");
    let mut bytes = std::fs::read(&segment).unwrap();
    for seq in [5, 6, 8] {
        let needle = format!("{{\"seq\":{seq},");
        let at = memchr::memmem::find(&bytes, needle.as_bytes()).unwrap();
        bytes[at + needle.len() + 40] ^= 1;
    }
    std::fs::write(&segment, bytes).unwrap();
    let bench = Bench::at(dir, Options::default());
    let lines = parsed(&drain(&bench.open(Entry::Events), WHOLE));
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["seq"].as_u64(),
                line["from"].as_u64(),
                line["to"].as_u64(),
            )
        })
        .collect();
    let event = |seq| (Some(seq), None, None);
    let gap = |from, to| (None, Some(from), Some(to));
    let expected = [
        event(1),
        event(2),
        event(3),
        event(4),
        gap(5, 6),
        event(7),
        gap(8, 8),
        event(9),
        event(10),
    ];
    assert_eq!(shown, expected);
    assert_eq!(lines[4]["reason"], "damaged");
    let (events, last) = bench.events("{\"events\":{\"path\":\"a\",\"since\":3}}");
    assert_eq!(seqs(&events), [4, 7, 9, 10]);
    let gap = &last["gap"];
    assert_eq!(gap["reason"], "damaged");
    assert_eq!(
        (&gap["from"], &gap["to"], &gap["lost"]),
        (&5.into(), &8.into(), &3.into())
    );
    assert_eq!(last["next"], 10);
}

#[test]
fn status_has_the_fields_of_the_contract() {
    let bench = Bench::new();
    bench.append(&write_of(b"a"));
    bench.health.recorded(Source::Mount);
    bench.health.took(Op::Write, Duration::from_micros(50));
    bench.health.opened();
    let lines = parsed(&drain(&bench.open(Entry::Status), WHOLE));
    assert_eq!(lines.len(), 1);
    let status = &lines[0];
    for key in [
        "store",
        "version",
        "state",
        "head",
        "oldest",
        "durable",
        "primary_events",
        "missed_events",
        "miss_rate_percent",
        "events_by_source",
        "watch",
        "scan",
        "log",
        "content",
        "consumers",
        "open_files",
        "latency_us",
        "uptime_s",
        "storage",
        "mountpoint",
    ] {
        assert!(status.get(key).is_some(), "{key}");
    }
    assert_eq!(status["state"], "ok");
    assert!(status.get("reason").is_none());
    assert_eq!(status["head"], 1);
    assert_eq!(status["oldest"], 1);
    assert_eq!(status["primary_events"], 1);
    assert_eq!(status["events_by_source"]["mount"], 1);
    assert_eq!(status["watch"]["mode"], "off");
    assert_eq!(status["latency_us"]["write"]["count"], 1);
    assert_eq!(status["open_files"], 1);
    assert_eq!(status["storage"], "/the/\"storage\"");
    assert_eq!(parsed(&bench.ask("{\"status\":{}}"))[0]["head"], 1);
}

#[test]
fn metrics_are_told_about_before_they_come() {
    let bench = Bench::new();
    bench.append(&write_of(b"a"));
    bench.health.took(Op::Write, Duration::from_micros(50));
    let page = drain(&bench.open(Entry::Metrics), WHOLE);
    assert!(page.contains("\nhippofs_head_seq 1\n"), "{page}");
    assert!(page.contains("\nhippofs_events_total{source=\"mount\"} 0\n"));
    assert!(page.contains("storage=\"/the/\\\"storage\\\"\""));
    let mut told = Vec::new();
    for line in page.lines() {
        if let Some(about) = line.strip_prefix("# TYPE ") {
            told.push(about.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = name.strip_suffix("_count").unwrap_or(name);
            assert_eq!(told.last().map(String::as_str), Some(family), "{line}");
            assert!(
                line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(),
                "{line}"
            );
        }
    }
    assert_eq!(page.matches("# HELP").count(), told.len());
}

#[test]
fn help_names_every_file_and_nothing_is_written_but_control() {
    let bench = Bench::new();
    let help = drain(&bench.open(Entry::Help), WHOLE);
    assert_eq!(bench.ask("{\"help\":{}}"), help);
    for (name, entry) in Entry::Root.children() {
        assert!(help.contains(&format!("\n  {name}")), "{name}");
        let opened = bench.control.open(entry, caller(None));
        match opened {
            Err(error) => assert!(entry.is_dir() && matches!(error, ControlError::IsDirectory)),
            Ok(stream) => {
                let written = stream.write(b"{\"status\":{}}");
                assert_eq!(written.is_ok(), entry == Entry::Control);
                if entry != Entry::Control {
                    assert!(matches!(written, Err(ControlError::NotWritable)));
                }
            }
        }
    }
}
