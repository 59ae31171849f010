//! Durable consumers, and the views of events, on a real log with a shelf in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::*;
use crate::control::{ConsumerError, ConsumerFile, Consumers, ControlError, Shelf};

/// A shelf that can be made to refuse.
#[derive(Clone, Default)]
struct Memory {
    kept: Arc<Mutex<BTreeMap<String, String>>>,
    full: Arc<Mutex<bool>>,
}

impl Shelf for Memory {
    fn load(&self) -> io::Result<Vec<(String, String)>> {
        let kept = self.kept.lock();
        Ok(kept.iter().map(|(n, t)| (n.clone(), t.clone())).collect())
    }
    fn save(&self, name: &str, text: &str) -> io::Result<()> {
        if *self.full.lock() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.kept.lock().insert(name.into(), text.into());
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.kept.lock().remove(name);
        Ok(())
    }
}

fn with_consumers(shelf: &Memory) -> Bench {
    serving(Bench::new(), shelf)
}

fn serving(bench: Bench, shelf: &Memory) -> Bench {
    let consumers = Consumers::load(Box::new(shelf.clone())).unwrap();
    bench.control.serve_consumers(consumers);
    bench
}

fn register(bench: &Bench, name: &str) {
    bench
        .control
        .register(Entry::ConsumersDir, name.as_bytes())
        .unwrap();
}

fn file(bench: &Bench, name: &str, file: ConsumerFile) -> Stream {
    let dir = bench.control.child(Entry::ConsumersDir, name.as_bytes());
    let entry = bench.control.child(dir.unwrap(), file.word().as_bytes());
    bench.open(entry.unwrap())
}

fn read(bench: &Bench, name: &str, what: ConsumerFile) -> String {
    drain(&file(bench, name, what), WHOLE)
}

fn put(bench: &Bench, name: &str, what: ConsumerFile, text: &str) -> Result<usize, ControlError> {
    file(bench, name, what).write(text.as_bytes())
}

fn batch(bench: &Bench, name: &str) -> Vec<u64> {
    seqs(&parsed(&read(bench, name, ConsumerFile::Events)))
}

#[test]
fn reading_moves_nothing_and_an_ack_does() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    bench.fill("a", 2);
    register(&bench, "c");
    assert_eq!(batch(&bench, "c"), [0; 0]);
    bench.fill("a", 3);
    assert_eq!(batch(&bench, "c"), [3, 4, 5]);
    assert_eq!(batch(&bench, "c"), [3, 4, 5]);
    put(&bench, "c", ConsumerFile::Ack, "4\n").unwrap();
    put(&bench, "c", ConsumerFile::Ack, "3").unwrap();
    assert_eq!(read(&bench, "c", ConsumerFile::Cursor), "4\n");
    assert_eq!(read(&bench, "c", ConsumerFile::Lag), "1\n");
    assert_eq!(batch(&bench, "c"), [5]);
    assert!(bench.log.durable() >= Seq(4), "the log reaches the cursor");
    assert!(put(&bench, "c", ConsumerFile::Ack, "6").is_err());
    assert!(put(&bench, "c", ConsumerFile::Ack, "x").is_err());
    put(&bench, "c", ConsumerFile::Cursor, "1").unwrap();
    assert_eq!(batch(&bench, "c"), [2, 3, 4, 5]);
    let status: Value = serde_json::from_str(&drain(&bench.open(Entry::Status), WHOLE)).unwrap();
    assert_eq!(
        status["consumers"],
        serde_json::json!([{"name": "c", "cursor": 1, "lag": 4}])
    );
    let metrics = drain(&bench.open(Entry::Metrics), WHOLE);
    assert!(metrics.contains("hippofs_consumer_lag{consumer=\"c\"} 4\n"));
}

#[test]
fn names_are_checked_and_a_removed_one_stays_away() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    let add = |name: &str| bench.control.register(Entry::ConsumersDir, name.as_bytes());
    for bad in ["", ".a", "a/b", "a b", "é", &"x".repeat(65)] {
        assert!(matches!(add(bad), Err(ConsumerError::Name)), "{bad:?}");
    }
    register(&bench, "a");
    assert!(matches!(add("a"), Err(ConsumerError::Exists)));
    let ack = file(&bench, "a", ConsumerFile::Ack);
    bench.fill("a", 1);
    bench.control.unregister(Entry::ConsumersDir, b"a").unwrap();
    assert!(ack.write(b"1").is_err());
    assert!(shelf.kept.lock().is_empty());
    assert!(matches!(
        bench.control.unregister(Entry::ConsumersDir, b"a"),
        Err(ConsumerError::Missing)
    ));
}

#[test]
fn the_cursor_survives_and_damage_begins_at_the_first_event() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    register(&bench, "kept");
    register(&bench, "damaged");
    bench.fill("a", 4);
    put(&bench, "kept", ConsumerFile::Ack, "3").unwrap();
    put(&bench, "kept", ConsumerFile::Filter, "{\"path\":\n\"a\"}").unwrap();
    shelf.kept.lock().insert("damaged".into(), "{\"form".into());
    let bench = serving(Bench::at(bench.into_dir(), Options::default()), &shelf);
    assert_eq!(batch(&bench, "kept"), [4]);
    assert_eq!(batch(&bench, "damaged"), [1, 2, 3, 4]);
    assert_eq!(
        read(&bench, "kept", ConsumerFile::Filter),
        "{\"path\": \"a\"}\n"
    );
}

#[test]
fn an_ack_that_cannot_be_kept_fails_and_moves_nothing() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    register(&bench, "c");
    bench.fill("a", 1);
    *shelf.full.lock() = true;
    assert!(matches!(
        put(&bench, "c", ConsumerFile::Ack, "1"),
        Err(ControlError::Log(_))
    ));
    assert_eq!(read(&bench, "c", ConsumerFile::Cursor), "0\n");
}

#[test]
fn a_filter_selects_and_what_it_leaves_out_is_passed() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    register(&bench, "c");
    assert!(put(&bench, "c", ConsumerFile::Filter, "{\"limit\":1}").is_err());
    put(&bench, "c", ConsumerFile::Filter, "{\"path\":\"b\"}").unwrap();
    bench.fill("a", 3);
    assert_eq!(batch(&bench, "c"), [0; 0]);
    assert_eq!(read(&bench, "c", ConsumerFile::Cursor), "3\n");
    bench.fill("b", 1);
    bench.fill("a", 1);
    assert_eq!(batch(&bench, "c"), [4]);
    assert_eq!(read(&bench, "c", ConsumerFile::Cursor), "3\n");
    put(&bench, "c", ConsumerFile::Filter, "").unwrap();
    assert_eq!(batch(&bench, "c"), [4, 5]);
}

#[test]
fn a_follower_of_a_consumer_reads_on() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    register(&bench, "c");
    bench.fill("a", 2);
    let follow = file(&bench, "c", ConsumerFile::Follow);
    assert!(follow.readable());
    assert_eq!(seqs(&parsed(&drain(&follow, WHOLE))), [1, 2]);
    assert!(!follow.readable());
    bench.fill("a", 1);
    assert_eq!(seqs(&parsed(&drain(&follow, WHOLE))), [3]);
}

#[test]
fn takers_share_the_events_and_take_none_twice() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    register(&bench, "work");
    bench.fill("a", 200);
    let taken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let reply = bench.ask(r#"{"take":{"consumer":"work","limit":3}}"#);
                    let mut lines = parsed(&reply);
                    lines.pop();
                    if lines.is_empty() {
                        return;
                    }
                    let one = seqs(&lines);
                    assert!(one.windows(2).all(|pair| pair[0] < pair[1]));
                    taken.lock().extend(one);
                }
            });
        }
    });
    let mut taken = taken.into_inner();
    taken.sort_unstable();
    assert_eq!(taken, (1..=200).collect::<Vec<u64>>());
    assert!(shelf.kept.lock()["work"].contains("\"cursor\":200"));
    let none = bench.open(Entry::Control);
    assert!(none.write(br#"{"take":{"consumer":"nobody"}}"#).is_err());
}

#[test]
fn a_take_waits_for_the_first_event() {
    let shelf = Memory::default();
    let bench = with_consumers(&shelf);
    register(&bench, "work");
    let stream = bench.open(Entry::Control);
    stream
        .write(br#"{"take":{"consumer":"work","wait_ms":60000}}"#)
        .unwrap();
    assert!(matches!(
        stream.read(WHOLE),
        Ok(Read::Park { until: Some(_) })
    ));
    bench.fill("a", 1);
    assert_eq!(parsed(&drain(&stream, WHOLE)).len(), 2);
}

#[test]
fn a_consumer_holds_the_log_up_to_its_limit_and_is_told_what_it_lost() {
    let shelf = Memory::default();
    let options = Options {
        segment_bytes: 64 * 1024,
        retain_bytes: 64 * 1024,
        retain_max: 4,
        sync_interval: Duration::from_millis(10),
        ..Options::default()
    };
    let bench = serving(Bench::at(tempfile::tempdir().unwrap(), options), &shelf);
    register(&bench, "c");
    while bench.log.stats().bytes < 200 * 1024 {
        bench.fill("a", 50);
    }
    bench.log.sync().unwrap();
    assert_eq!(batch(&bench, "c")[0], 1, "held");
    let end = Instant::now() + Duration::from_secs(30);
    while bench.log.oldest() == Seq(1) && Instant::now() < end {
        bench.fill("a", 50);
        std::thread::yield_now();
    }
    let first = read(&bench, "c", ConsumerFile::Events);
    let gap: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&gap["event_type"], &gap["reason"]),
        (&"gap".into(), &"retention".into())
    );
    put(&bench, "c", ConsumerFile::Ack, &gap["to"].to_string()).unwrap();
    let head = bench.log.head();
    put(&bench, "c", ConsumerFile::Ack, &head.to_string()).unwrap();
    let released = || bench.log.stats().bytes <= 2 * 64 * 1024;
    while !released() && Instant::now() < end {
        std::thread::yield_now();
    }
    assert!(released(), "what nobody needs goes at the ordinary limit");
}

fn change(event_type: EventType, op: Op, src: &str, dest: Option<&str>) -> Event {
    Event {
        src_path: Some(src.into()),
        dest_path: dest.map(Into::into),
        ..Event::new(event_type, Some(op), Source::Mount)
    }
}

#[test]
fn documents_are_told_stretch_by_stretch() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.append(&change(EventType::Created, Op::Create, "t", None));
        bench.append(&change(EventType::Moved, Op::Rename, "t", Some(name)));
    }
    let ask =
        |more: &str| bench.events(&format!("{{\"events\":{{\"view\":\"documents\"{more}}}}}"));
    let (all, last) = ask("");
    let names: Vec<_> = all
        .iter()
        .map(|line| line["src_path"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(all.iter().all(|line| line["event_type"] == "created"));
    assert_eq!(last["next"], 6);
    let (first, last) = ask(",\"limit\":1");
    assert_eq!((first.len(), &last["next"]), (1, &2.into()));
    let (second, _) = ask(",\"limit\":1,\"since\":2");
    assert_eq!(second[0]["src_path"], "b");
    let (picked, last) = ask(",\"path\":\"c\",\"limit\":1");
    assert_eq!((picked.len(), &last["next"]), (1, &6.into()));
    assert_eq!(ask(",\"path\":\"t\"").0.len(), 0);
    let (held, last) = ask(",\"debounce_ms\":600000");
    assert_eq!((held.len(), &last["next"]), (0, &0.into()));
    bench.append(&change(EventType::Created, Op::Create, "x", None));
    bench.append(&change(EventType::Deleted, Op::Unlink, "x", None));
    assert_eq!(ask(",\"since\":6").0.len(), 0);
    let (transient, _) = ask(",\"since\":6,\"transient\":true");
    assert_eq!(transient[0]["transient"], true);
    let (shown, _) = ask(",\"limit\":1,\"format\":\"watchdog\"");
    assert_eq!(shown[0]["class"], "FileCreatedEvent");
}

#[test]
fn a_document_is_told_when_it_is_quiet() {
    let bench = Bench::new();
    bench.fill("a", 1);
    let stream = bench.open(Entry::Control);
    let request = br#"{"events":{"view":"documents","debounce_ms":50,"wait_ms":60000}}"#;
    stream.write(request).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let bytes = loop {
        match stream.read(WHOLE).unwrap() {
            Read::Bytes(bytes) => break bytes,
            Read::Park { until } => {
                let until = until.expect("a time to look again");
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
            }
        }
        assert!(Instant::now() < end);
    };
    let line: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        (&line["event_type"], &line["changes"]),
        (&"modified".into(), &1.into())
    );
}

#[test]
fn the_newest_events_are_found_alone() {
    let bench = Bench::new();
    bench.fill("a", 3);
    bench.fill("b", 2);
    let (found, last) = bench.events(r#"{"events":{"path":"a","last":1}}"#);
    assert_eq!((seqs(&found), &last["next"]), (vec![3], &5.into()));
    let (found, _) = bench.events(r#"{"events":{"last":3,"format":"native"}}"#);
    assert_eq!(seqs(&found), [3, 4, 5]);
    let refused = bench.open(Entry::Control);
    assert!(
        refused
            .write(br#"{"events":{"last":1,"limit":1}}"#)
            .is_err()
    );
    assert!(refused.write(br#"{"events":{"debounce_ms":1}}"#).is_err());
}
