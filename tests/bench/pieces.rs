//! The pieces on the way of an event, each alone, so that a regression is seen where it is made: `cargo bench`.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use hippofs::backing;
use hippofs::content::{self, Content};
use hippofs::control::{Control, Entry, Facts, Read};
use hippofs::detect::{self, Detect};
use hippofs::disk::DirStorage;
use hippofs::event::{Caller, Event, EventType, Op, Seq, Source, Timestamp, line};
use hippofs::event_log::{EventLog, Options, Purpose};
use hippofs::health::Health;
use hippofs::recorder::{Catalog, Recorder};
use tempfile::TempDir;

/// A document as the workload has it.
const DOCUMENT_BYTES: usize = 2000;
/// Events of the log that is read.
const LOG_EVENTS: u64 = 100_000;
/// Files of the storage that is scanned.
const FILES: usize = 10_000;
const FILES_PER_DIRECTORY: usize = 100;

fn dir_storage(dir: &Path) -> Box<DirStorage> {
    let dir = File::open(dir).expect("the directory");
    Box::new(DirStorage::new(dir.into()))
}

fn open_log(dir: &Path) -> EventLog {
    let log = EventLog::open(dir_storage(dir), Options::default());
    log.expect("a log").0
}

/// A write as most events are.
fn write_of(number: u64) -> Event {
    Event {
        src_path: Some(
            format!(
                "docs-{}/0b5e8f3c-9a34-4c0f-8f39-0c2c9a1d7e55.json",
                number % 100
            )
            .into_bytes(),
        ),
        ino: Some(10_000_000 + number),
        size: Some(2000),
        offset: Some(0),
        length: Some(2000),
        handle: Some(number),
        caller: Some(Arc::new(Caller {
            pid: 4711,
            uid: 1000,
            gid: 1000,
            comm: "python3".into(),
            session: Some(format!("session-{}", number % 64)),
        })),
        ..Event::new(EventType::Modified, Some(Op::Write), Source::Mount)
    }
}

fn append(log: &EventLog, body: &str) -> Seq {
    let room = log.reserve(body.len() + line::FRAME_BYTES_MAX, Purpose::Ordinary);
    room.and_then(|room| room.append(body)).expect("an append")
}

fn body_of(event: &Event) -> String {
    let mut body = String::new();
    line::body(event, &mut body);
    body
}

/// The line: its body, its frame with the checksum, and the check of a reader.
fn format(criterion: &mut Criterion) {
    let event = write_of(1);
    let body = body_of(&event);
    let mut framed = Vec::new();
    line::frame(Seq(1), Timestamp(1), &body, &mut framed);
    let mut group = criterion.benchmark_group("format");
    group.throughput(Throughput::Bytes(framed.len() as u64));
    group.bench_function("body", |b| b.iter(|| body_of(black_box(&event))));
    group.bench_function("frame", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            line::frame(Seq(1), Timestamp(1), black_box(&body), &mut out);
        });
    });
    group.bench_function("check", |b| b.iter(|| line::check(black_box(&framed))));
    group.finish();
}

/// Room, one write and its publication; and the same made durable.
fn append_one(criterion: &mut Criterion) {
    let dir = TempDir::new().expect("a directory");
    let log = open_log(dir.path());
    let body = body_of(&write_of(1));
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    group.bench_function("line", |b| b.iter(|| append(&log, black_box(&body))));
    group.bench_function("line and sync", |b| {
        b.iter(|| {
            append(&log, black_box(&body));
            log.sync().expect("a sync")
        });
    });
    group.finish();
    log.close().expect("a close");
}

/// The log read to its end, as it is and through selectors; and a start that reads it all.
fn sift(criterion: &mut Criterion) {
    let dir = TempDir::new().expect("a directory");
    let log = open_log(dir.path());
    for number in 0..LOG_EVENTS {
        append(&log, &body_of(&write_of(number)));
    }
    let bytes = log.stats().bytes;
    let control = control_over(&log);
    let mut group = criterion.benchmark_group("sift");
    group.throughput(Throughput::Bytes(bytes)).sample_size(20);
    group.bench_function("as it is", |b| {
        b.iter(|| drain(&control, Entry::Events, None));
    });
    for (name, selector) in [
        ("a path of a hundred", r#""path":"docs-7/**""#),
        ("every path", r#""path":"**/*.json""#),
        ("a session of 64", r#""session":"session-9""#),
        ("every op", r#""op":["write"]"#),
    ] {
        let request = format!(r#"{{"events":{{"since":0,{selector}}}}}"#);
        group.bench_function(name, |b| {
            b.iter(|| drain(&control, Entry::Control, Some(&request)));
        });
    }
    group.finish();
    log.close().expect("a close");
    let mut group = criterion.benchmark_group("recovery");
    group.throughput(Throughput::Bytes(bytes)).sample_size(20);
    group.bench_function("open", |b| {
        b.iter_batched(|| (), |()| open_log(dir.path()), BatchSize::PerIteration);
    });
    group.finish();
}

fn control_over(log: &EventLog) -> Control {
    let recorder = Recorder::new(log.clone(), Arc::new(Health::default()));
    let facts = Facts {
        store: uuid::Uuid::nil(),
        storage: PathBuf::new(),
        mountpoint: PathBuf::new(),
        version: "0",
        sync_interval: Duration::from_secs(1),
        retain_bytes: 1 << 30,
        retain_age: Duration::from_secs(60),
        records: true,
    };
    Control::new(Arc::new(recorder), facts)
}

fn drain(control: &Control, entry: Entry, request: Option<&str>) -> usize {
    let stream = control.open(entry, Arc::new(Caller::default()));
    let stream = stream.expect("a control file");
    if let Some(request) = request {
        stream.write(request.as_bytes()).expect("a request");
    }
    let mut bytes = 0;
    loop {
        match stream.read(1 << 20).expect("a read") {
            Read::Bytes(read) if read.is_empty() => return bytes,
            Read::Bytes(read) => bytes += read.len(),
            Read::Park { .. } => panic!("a wait"),
        }
    }
}

/// Contents: the hash alone, and kept in the store.
fn hash(criterion: &mut Criterion) {
    let dir = TempDir::new().expect("a directory");
    let options = content::Options {
        pack_bytes: content::PACK_BYTES_DEFAULT,
    };
    let opened = Content::open(dir_storage(dir.path()), options);
    let (store, _) = opened.expect("a store");
    let mut document = vec![7; DOCUMENT_BYTES];
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Bytes(DOCUMENT_BYTES as u64));
    group.bench_function("blake3", |b| b.iter(|| blake3::hash(black_box(&document))));
    let mut number = 0_u64;
    group.bench_function("keep new", |b| {
        b.iter(|| {
            number += 1;
            document[..8].copy_from_slice(&number.to_le_bytes());
            store.keep(&document).expect("room").named(Seq(number));
        });
    });
    group.bench_function("keep again", |b| {
        b.iter(|| store.keep(&document).expect("room").named(Seq(number)));
    });
    group.finish();
}

/// What every look at an entry asks of the catalog, and a scan of everything with nothing changed.
fn catalog_and_scan(criterion: &mut Criterion) {
    let (storage, state) = (TempDir::new(), TempDir::new());
    let (storage, state) = (storage.expect("a directory"), state.expect("a directory"));
    for number in 0..FILES {
        let dir = storage
            .path()
            .join(format!("{}", number / FILES_PER_DIRECTORY));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join(format!("{number}.json")), "{}").expect("a file");
    }
    let root: OwnedFd = File::open(storage.path()).expect("the storage").into();
    let attr = backing::attr_of(root.as_fd()).expect("the storage");
    let catalog = Arc::new(Catalog::new(&attr, b".hippofs", None));
    let log = open_log(state.path());
    let health = Arc::new(Health::default());
    let kept = Arc::new(root.try_clone().expect("a descriptor"));
    let recorder = Recorder::with_catalog(log, health, Arc::clone(&catalog), kept);
    let options = detect::Options {
        watch: detect::Watch::Off,
        ..detect::Options::default()
    };
    let state_dir: OwnedFd = File::open(state.path()).expect("the state").into();
    let detect = Detect::start(Arc::new(recorder), root.as_fd(), state_dir, options);
    let detect = detect.expect("detection");
    detect.reconcile(b"", false).expect("a scan");
    let dir = catalog.child(catalog.root(), b"7").expect("a directory");
    let file = catalog.child(dir, b"742.json").expect("a file");
    let mut group = criterion.benchmark_group("catalog");
    group.bench_function("child", |b| {
        b.iter(|| catalog.child(dir, black_box(b"742.json")));
    });
    group.bench_function("state", |b| b.iter(|| catalog.state(black_box(file))));
    group.bench_function("path", |b| b.iter(|| catalog.path(black_box(file))));
    group.finish();
    let mut group = criterion.benchmark_group("scan");
    group
        .throughput(Throughput::Elements(FILES as u64))
        .sample_size(20);
    group.bench_function("nothing changed", |b| {
        b.iter(|| detect.reconcile(b"", false).expect("a scan"));
    });
    group.finish();
    detect.stop();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for piece in [format, append_one, sift, hash, catalog_and_scan] {
        piece(&mut criterion);
    }
    criterion.final_summary();
}
