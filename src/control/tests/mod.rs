//! The control directory on a real log in a temporary directory, driven as a kernel adapter drives it.

mod consumers;
mod replies;
mod requests;
mod selection;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Control, Entry, Facts, Read, Shared, Stream};
use crate::disk::DirStorage;
use crate::event::line::{FRAME_BYTES_MAX, body};
use crate::event::{Caller, Event, EventType, Op, Seq, Source};
use crate::event_log::{EventLog, Options, Purpose};
use crate::health::Health;

/// A read that nobody splits.
const WHOLE: usize = 1 << 20;

/// A control directory and the log under it.
struct Bench {
    control: Control,
    log: EventLog,
    health: Arc<Health>,
    dir: Option<tempfile::TempDir>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.log.close().unwrap();
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Options::default())
    }

    fn with(options: Options) -> Bench {
        Bench::at(tempfile::tempdir().unwrap(), options)
    }

    /// On the log in `dir`.
    fn at(dir: tempfile::TempDir, options: Options) -> Bench {
        let file = std::fs::File::open(dir.path()).unwrap();
        let storage = DirStorage::new(file.into());
        let (log, _) = EventLog::open(Box::new(storage), options).unwrap();
        let health = Arc::new(Health::default());
        let marks = log.clone();
        let shared = Shared {
            log: log.clone(),
            health: Arc::clone(&health),
            mark: Box::new(move |mark, caller| Ok(append(&marks, &Event::mark(mark, caller)))),
            facts: Facts {
                store: uuid::Uuid::nil(),
                storage: "/the/\"storage\"".into(),
                mountpoint: "/the/mount".into(),
                version: "1.2.3",
                sync_interval: Duration::from_secs(1),
                retain_bytes: 1 << 30,
                retain_age: Duration::from_secs(60),
                records: true,
            },
            consumers: std::sync::OnceLock::new(),
            detection: std::sync::OnceLock::new(),
            content: std::sync::OnceLock::new(),
            past: std::sync::OnceLock::new(),
        };
        Bench {
            control: Control {
                shared: Arc::new(shared),
            },
            log,
            health,
            dir: Some(dir),
        }
    }

    /// Closes the log and gives its directory.
    fn into_dir(mut self) -> tempfile::TempDir {
        self.dir.take().unwrap()
    }

    fn append(&self, event: &Event) -> Seq {
        append(&self.log, event)
    }

    /// Appends `count` writes to `name`.
    fn fill(&self, name: &str, count: usize) {
        for _ in 0..count {
            self.append(&write_of(name.as_bytes()));
        }
    }

    fn open(&self, entry: Entry) -> Stream {
        self.control
            .open(entry, caller(Some("me")))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The reply to a request that is accepted.
    fn ask(&self, request: &str) -> String {
        let stream = self.open(Entry::Control);
        assert_eq!(stream.write(request.as_bytes()).unwrap(), request.len());
        drain(&stream, WHOLE)
    }

    /// The events of a reply and its last line.
    fn events(&self, request: &str) -> (Vec<Value>, Value) {
        let mut lines = parsed(&self.ask(request));
        let last = lines.pop().unwrap();
        (lines, last)
    }
}

fn append(log: &EventLog, event: &Event) -> Seq {
    let mut text = String::new();
    body(event, &mut text);
    let reservation = log
        .reserve(FRAME_BYTES_MAX + text.len(), Purpose::Ordinary)
        .unwrap();
    reservation.append(&text).unwrap()
}

fn caller(session: Option<&str>) -> Arc<Caller> {
    Arc::new(Caller {
        pid: 7,
        uid: 1,
        gid: 2,
        comm: "test".into(),
        session: session.map(str::to_owned),
    })
}

fn write_of(path: &[u8]) -> Event {
    Event {
        src_path: Some(path.to_vec()),
        caller: Some(caller(Some("me"))),
        ..Event::new(EventType::Modified, Some(Op::Write), Source::Mount)
    }
}

/// Reads to the end of what is there.
fn drain(stream: &Stream, max_bytes: usize) -> String {
    let mut all = Vec::new();
    loop {
        match stream.read(max_bytes).unwrap() {
            Read::Bytes(bytes) if bytes.is_empty() => break,
            Read::Bytes(bytes) => {
                assert!(bytes.len() <= max_bytes);
                all.extend_from_slice(&bytes);
            }
            Read::Park { .. } => break,
        }
    }
    String::from_utf8(all).unwrap()
}

fn parsed(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn seqs(lines: &[Value]) -> Vec<u64> {
    lines
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect()
}
