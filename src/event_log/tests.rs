//! The log as a whole, on real files and on storage that fails.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
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

fn open(path: &Path) -> (EventLog, Recovery) {
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

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn segments(path: &Path) -> Vec<std::path::PathBuf> {
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
