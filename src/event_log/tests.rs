//! The log as a whole, on real files and on storage that fails.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::disk::{DirStorage, Storage};
use crate::event::{Event, GapReason, Mark, Seq, Timestamp, line};

/// No keeper round comes between the steps of a test.
pub(super) const QUIET: Duration = Duration::from_secs(3600);

pub(super) fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        sync_interval: QUIET,
        ..Options::default()
    }
}

pub(super) fn dir_storage(path: &Path) -> Box<dyn Storage> {
    let dir: OwnedFd = fs::File::open(path).unwrap().into();
    Box::new(DirStorage::new(dir))
}

fn open_with(path: &Path, options: Options) -> (EventLog, Recovery) {
    EventLog::open(dir_storage(path), options).unwrap()
}

pub(super) fn open(path: &Path) -> (EventLog, Recovery) {
    open_with(path, options())
}

pub(super) fn body_of(text: &str) -> String {
    let mark = Mark {
        text: text.into(),
        data: None,
    };
    let mut body = String::new();
    line::body(&Event::mark(mark, None), &mut body);
    body
}

pub(super) fn append(log: &EventLog, text: &str) -> Result<Seq, LogError> {
    let room = log.reserve(line::line_bytes_max(text.len()), Purpose::Ordinary)?;
    room.append(&body_of(text))
}

/// Positions and texts of every line, each checked, and the gaps between them.
pub(super) fn read_all(
    log: &EventLog,
    after: Seq,
    max_bytes: usize,
) -> (Vec<(Seq, String)>, Vec<Chunk>) {
    let mut reader = log.reader(after, Seq(u64::MAX));
    let mut lines = Vec::new();
    let mut gaps = Vec::new();
    loop {
        match reader.next_chunk(max_bytes).unwrap() {
            Chunk::End => return (lines, gaps),
            gap @ Chunk::Gap { .. } => gaps.push(gap),
            Chunk::Lines(bytes) => {
                assert!(bytes.ends_with(b"\n"));
                for one in bytes.split_inclusive(|b| *b == b'\n') {
                    let seq = line::check(one).unwrap();
                    let value: serde_json::Value = serde_json::from_slice(one).unwrap();
                    let text = value.get("text").or_else(|| value.get("reason")).unwrap();
                    lines.push((seq, text.as_str().unwrap().to_owned()));
                }
                assert_eq!(reader.position(), lines.last().unwrap().0);
            }
        }
    }
}

pub(super) fn texts(log: &EventLog) -> Vec<String> {
    let (lines, gaps) = read_all(log, Seq(0), 64 * 1024);
    assert_eq!(gaps, []);
    for (at, (seq, _)) in lines.iter().enumerate() {
        assert_eq!(seq.0, at as u64 + 1);
    }
    lines.into_iter().map(|(_, text)| text).collect()
}

pub(super) fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

pub(super) fn segments(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    found.sort();
    found
}

#[test]
fn what_is_appended_is_read_and_survives_a_clean_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovery) = open(dir.path());
    assert!(recovery.clean && recovery.gaps.is_empty() && recovery.head == Seq(0));
    assert_eq!((log.head(), log.oldest()), (Seq(0), Seq(1)));
    for n in 1..=10 {
        assert_eq!(append(&log, &n.to_string()).unwrap(), Seq(n));
    }
    assert_eq!(texts(&log), numbered(1..=10));
    assert_eq!(log.durable(), Seq(0));
    assert_eq!(log.sync().unwrap(), Seq(10));
    assert_eq!(log.durable(), Seq(10));
    log.close().unwrap();
    log.close().unwrap();
    assert!(matches!(append(&log, "x"), Err(LogError::Closed)));
    let bytes = fs::read(&segments(dir.path())[0]).unwrap();
    assert!(bytes.ends_with(b"}\n"));
    let (log, recovery) = open(dir.path());
    assert!(recovery.clean && recovery.gaps.is_empty() && recovery.notes.is_empty());
    assert_eq!((recovery.head, log.durable()), (Seq(10), Seq(10)));
    append(&log, "11").unwrap();
    assert_eq!(texts(&log), numbered(1..=11));
}

/// Appends numbered lines with reservations so large that every few of them fill a segment.
pub(super) fn fill(log: &EventLog, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        let room = log.reserve(60_000, Purpose::Ordinary).unwrap();
        room.append(&body_of(&n.to_string())).unwrap();
    }
}

pub(super) fn reasons(recovery: &Recovery) -> Vec<(GapReason, Option<(u64, u64)>)> {
    let gaps = recovery.gaps.iter().map(|e| e.gap.as_ref().unwrap());
    gaps.map(|g| (g.reason, g.range.map(|(f, t)| (f.0, t.0))))
        .collect()
}

#[test]
fn chunks_of_any_size_from_any_position_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 1..=80);
    assert!(log.stats().segments > 3);
    log.sync().unwrap();
    for file in &segments(dir.path())[..2] {
        assert!(fs::read(file).unwrap().ends_with(b"}\n"), "not cut");
    }
    for max_bytes in [0, 1, 200, 5000, 1 << 20] {
        for after in [0, 1, 17, 79, 80, 81, u64::MAX] {
            let (lines, gaps) = read_all(&log, Seq(after), max_bytes);
            let expected: Vec<u64> = (after.saturating_add(1)..=80).collect();
            let seqs: Vec<u64> = lines.iter().map(|l| l.0.0).collect();
            assert_eq!((seqs, gaps), (expected, vec![]));
        }
    }
    let mut reader = log.reader(Seq(3), Seq(5));
    let Chunk::Lines(lines) = reader.next_chunk(1 << 20).unwrap() else {
        panic!("no lines");
    };
    assert_eq!(lines.iter().filter(|b| **b == b'\n').count(), 2);
    assert_eq!(reader.next_chunk(1 << 20).unwrap(), Chunk::End);
}

#[test]
fn retention_by_bytes_and_by_age_keeps_the_newest_and_says_what_is_gone() {
    for (retain_bytes, retain_age) in [(1500, QUIET), (u64::MAX, Duration::ZERO)] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Options {
            retain_bytes,
            retain_age,
            ..options()
        };
        let (log, _) = open_with(dir.path(), limits);
        fill(&log, 1..=60);
        let mut early = log.reader(Seq(0), Seq(60));
        early.next_chunk(1).unwrap();
        let mut late = log.reader(Seq(1), Seq(60));
        assert_eq!(log.shared.retain(), 0, "unsynced segments stay");
        log.sync().unwrap();
        assert!(log.shared.retain() > 1);
        let oldest = log.oldest();
        assert!(oldest > Seq(1) && oldest <= Seq(60));
        assert_eq!(log.stats().segments, segments(dir.path()).len() as u64);
        let gap = |from| Chunk::Gap {
            from: Seq(from),
            to: Seq(oldest.0 - 1),
            reason: GapReason::Retention,
        };
        assert_eq!(late.next_chunk(4096).unwrap(), gap(2));
        assert!(matches!(late.next_chunk(4096).unwrap(), Chunk::Lines(_)));
        let Chunk::Lines(lines) = early.next_chunk(4096).unwrap() else {
            panic!("a reader keeps the file it has open");
        };
        assert_eq!(line::seq_of(&lines), Some(Seq(2)));
        assert_eq!(read_all(&log, Seq(0), 4096).1, [gap(1)]);
        log.close().unwrap();
        let (log, recovery) = open_with(dir.path(), limits);
        assert!(recovery.gaps.is_empty(), "{recovery:?}");
        assert_eq!((log.oldest(), log.head()), (oldest, Seq(60)));
    }
}

#[test]
fn what_the_next_start_needs_stays_up_to_twice_the_limits_and_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Options {
        retain_bytes: 10_000,
        needed_after: Some(Seq(0)),
        ..options()
    };
    let (log, _) = open_with(dir.path(), limits);
    fill(&log, 1..=2);
    log.sync().unwrap();
    assert!(!log.waits_for_start());
    let mut last = 2;
    while log.stats().bytes < 15_000 {
        last += 1;
        fill(&log, last..=last);
    }
    log.sync().unwrap();
    assert_eq!((log.shared.retain(), log.oldest()), (0, Seq(1)));
    assert!(log.waits_for_start());
    log.need_after(Seq(last));
    assert!(!log.waits_for_start());
    assert!(log.shared.retain() > 0);
    log.need_after(log.oldest());
    while log.stats().bytes < 25_000 {
        last += 1;
        fill(&log, last..=last);
    }
    log.sync().unwrap();
    assert!(log.shared.retain() > 0, "there is an end to it");
}

#[test]
fn four_threads_append_while_readers_and_retention_work() {
    const EACH: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let limits = Options {
        retain_bytes: 40_000,
        sync_interval: Duration::from_millis(10),
        ..options()
    };
    let (log, _) = open_with(dir.path(), limits);
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    log.on_append(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                let mut last = Seq(0);
                for n in 0..EACH {
                    let seq = append(&log, &format!("{thread}-{n}")).unwrap();
                    assert!(seq > last);
                    last = seq;
                    if n % 100 == 0 {
                        assert!(log.sync().unwrap() >= seq);
                    }
                }
            });
        }
        for _ in 0..2 {
            let log = log.clone();
            scope.spawn(move || follow(&log, 4 * EACH));
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), 4 * EACH);
    assert_eq!(log.head(), Seq(4 * EACH));
    log.close().unwrap();
    assert_eq!(verify(&*dir_storage(dir.path())).unwrap().problems.len(), 0);
}

/// Follows the log to `last`: every position is passed once, as a line or as one that retention took.
fn follow(log: &EventLog, last: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut position = Seq(0);
    while position < Seq(last) {
        assert!(log.wait_past(position, Some(deadline)) > position);
        let mut reader = log.reader(position, Seq(u64::MAX));
        loop {
            match reader.next_chunk(2000).unwrap() {
                Chunk::End => break,
                Chunk::Gap { from, to, reason } => {
                    assert_eq!((from, reason), (position.next(), GapReason::Retention));
                    position = to;
                }
                Chunk::Lines(lines) => {
                    for one in lines.split_inclusive(|b| *b == b'\n') {
                        assert_eq!(line::check(one), Ok(position.next()));
                        position = position.next();
                    }
                }
            }
        }
        assert_eq!(reader.position(), position);
    }
}

#[test]
fn waiting_ends_with_an_append_a_deadline_or_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    assert_eq!(log.wait_past(Seq(0), Some(Instant::now())), Seq(0));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| log.wait_past(Seq(0), None));
        append(&log, "1").unwrap();
        assert_eq!(waiter.join().unwrap(), Seq(1));
        let waiter = scope.spawn(|| log.wait_past(Seq(1), None));
        log.close().unwrap();
        assert_eq!(waiter.join().unwrap(), Seq(1));
    });
}

#[test]
fn the_keeper_syncs_and_a_time_finds_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let quick = Options {
        sync_interval: Duration::from_millis(10),
        ..options()
    };
    let (log, _) = open_with(dir.path(), quick);
    fill(&log, 1..=30);
    let between = Timestamp::now();
    fill(&log, 31..=60);
    let deadline = Instant::now() + Duration::from_secs(20);
    while log.durable() < Seq(60) {
        assert!(Instant::now() < deadline, "the keeper does not sync");
        std::thread::yield_now();
    }
    assert_eq!(log.first_seq_at(Timestamp(0)), Seq(1));
    let found = log.first_seq_at(between);
    assert!(found > Seq(1) && found <= Seq(31), "{found}");
}

#[test]
fn what_does_not_fit_is_refused_and_reservations_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let too_long = log.reserve(LINE_BYTES_MAX + 1, Purpose::Ordinary);
    assert!(matches!(too_long.err(), Some(LogError::TooLong { .. })));
    for _ in 0..100 {
        drop(log.reserve(50_000, Purpose::Ordinary).unwrap());
    }
    assert_eq!(log.stats().segments, 1);
    let room = log.reserve(500, Purpose::Ordinary).unwrap();
    assert!(matches!(room.append("\"a\":\n1"), Err(LogError::Format(_))));
    // More than a segment of the chosen size holds, and several at once.
    let long = "y".repeat(100_000);
    let one = log.reserve(300_000, Purpose::Ordinary).unwrap();
    let two = log.reserve(300_000, Purpose::Ordinary).unwrap();
    two.append(&body_of(&long)).unwrap();
    one.append(&body_of("short")).unwrap();
    assert_eq!(texts(&log), [long, "short".to_owned()]);
}

#[derive(Clone, Debug)]
enum Step {
    Append { text: String, room: usize },
    Sync,
    Close,
    Crash,
    Read { after: u64, max_bytes: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (".{0,300}", 0..40_000_usize).prop_map(|(text, room)| Step::Append { text, room });
    let read =
        (0..60_u64, 1..3000_usize).prop_map(|(after, max_bytes)| Step::Read { after, max_bytes });
    let step = prop_oneof![
        8 => append,
        1 => Just(Step::Sync),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
        2 => read,
    ];
    prop::collection::vec(step, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_steps_give_what_a_list_gives(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut model: Vec<String> = Vec::new();
        let mut log = open(dir.path()).0;
        for step in steps {
            match step {
                Step::Append { text, room } => {
                    let bytes = line::line_bytes_max(text.len()) + room;
                    let seq = log.reserve(bytes, Purpose::Ordinary).unwrap().append(&body_of(&text)).unwrap();
                    model.push(text);
                    prop_assert_eq!(seq.0, model.len() as u64);
                }
                Step::Sync => prop_assert_eq!(log.sync().unwrap().0, model.len() as u64),
                Step::Close => {
                    log.close().unwrap();
                    let (again, recovery) = open(dir.path());
                    prop_assert!(recovery.clean && recovery.gaps.is_empty());
                    log = again;
                }
                Step::Crash => {
                    drop(log);
                    let (again, recovery) = open(dir.path());
                    prop_assert_eq!(reasons(&recovery), [(GapReason::Crash, None)]);
                    log = again;
                }
                Step::Read { after, max_bytes } => {
                    let (lines, gaps) = read_all(&log, Seq(after), max_bytes);
                    prop_assert_eq!(gaps, []);
                    let texts: Vec<String> = lines.into_iter().map(|l| l.1).collect();
                    let from = model.len().min(usize::try_from(after).unwrap());
                    prop_assert_eq!(&texts[..], &model[from..]);
                }
            }
        }
        prop_assert_eq!(texts(&log), model);
    }
}
