//! A long log without the work it tells of: for measuring queries and starts.

use std::fs::File;
use std::io;
use std::sync::Arc;

use hippofs::disk::DirStorage;
use hippofs::event::{Caller, Event, EventType, Op, Source, line};
use hippofs::event_log::{EventLog, Options, Purpose};
use uuid::Uuid;

/// Events of one document.
const LIFE: [(EventType, Op); 7] = [
    (EventType::Created, Op::Create),
    (EventType::Modified, Op::Write),
    (EventType::Closed, Op::Close),
    (EventType::Moved, Op::Rename),
    (EventType::Modified, Op::Write),
    (EventType::Closed, Op::Close),
    (EventType::Deleted, Op::Unlink),
];
/// Directories the documents are spread over.
const DIRECTORIES: usize = 100;

/// Appends the lives of documents, `events` events together, to the log in `dir`.
///
/// # Errors
/// The log cannot be opened or written.
pub(super) fn make(dir: &str, events: usize) -> io::Result<()> {
    let storage = Box::new(DirStorage::new(File::open(dir)?.into()));
    let (log, _) = EventLog::open(storage, Options::default()).map_err(io::Error::other)?;
    let mut body = String::new();
    for document in 0..events.div_ceil(LIFE.len()) {
        let name = Uuid::new_v4();
        let folder = format!("docs-{}", document % DIRECTORIES);
        let temporary = format!("{folder}/.{name}.tmp").into_bytes();
        let path = format!("{folder}/{name}.json").into_bytes();
        let caller = Arc::new(Caller {
            pid: 1000 + (document % 64) as u32,
            comm: "python3".into(),
            session: Some(format!("session-{}", document % 64)),
            ..Caller::default()
        });
        for (step, (event_type, op)) in LIFE.into_iter().enumerate() {
            let mut event = Event::new(event_type, Some(op), Source::Mount);
            event.src_path = Some(if step < 4 {
                temporary.clone()
            } else {
                path.clone()
            });
            event.dest_path = (op == Op::Rename).then(|| path.clone());
            event.ino = Some(1_000_000 + document as u64);
            event.size = Some(2000);
            event.handle = (op != Op::Rename && op != Op::Unlink).then_some(document as u64);
            (event.offset, event.length) = match op {
                Op::Write => (Some(0), Some(2000)),
                _ => (None, None),
            };
            event.blake3 = (op == Op::Close).then_some([document as u8; 32]);
            event.caller = Some(Arc::clone(&caller));
            body.clear();
            line::body(&event, &mut body);
            let room = log.reserve(body.len() + line::FRAME_BYTES_MAX, Purpose::Ordinary);
            let appended = room.and_then(|room| room.append(&body));
            appended.map_err(io::Error::other)?;
        }
    }
    println!("events {}\nbytes {}", log.head(), log.stats().bytes);
    log.close().map_err(io::Error::other)
}
