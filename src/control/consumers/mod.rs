//! Durable consumers: a place in the log with a name, kept by the mount for a reader that comes and goes.
//!
//! At least once, in order: the cursor moves when a reader says so (`ack`, `cursor`), or past events that the
//! consumer's own filter leaves out, and never by reading alone. It is on disk before the write of an ack returns,
//! and never ahead of what the log itself would keep after a power loss.
//!
//! Two readers of one consumer: each open of `events` or `follow` is a stream of its own from the cursor of that
//! moment on, whole and in order, so both may see the same events, and neither loses any nor gets half of them. An
//! ack never moves the cursor back. Readers that are to share the work use the request `take`, which reads and
//! advances in one step: each event goes to exactly one of them.
//!
//! A consumer holds the log back from retention within `retain_max`; past that its reader is told with a gap. It is
//! never removed but by rmdir: a quiet store ends nobody.
//!
//! Lock order: `changing`, one consumer's state, the table, then the log's own locks.

mod batch;
mod consumer;
mod take;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::event::Seq;
use crate::event_log::EventLog;

use super::error::ControlError;
use super::{Control, Entry, Shared};

pub(super) use batch::Batch;
pub(super) use consumer::Consumer;
pub use consumer::ConsumerFile;
pub(super) use take::{TAKE_LIMIT_MAX, Take, TakeQuery};

/// Longest name of a consumer in bytes: with its suffix it is a file name on every filesystem.
pub(super) const NAME_BYTES_MAX: usize = 64;
/// Most consumers of one mount: `status` names each of them, and every one holds the log back.
pub(super) const CONSUMERS_MAX: usize = 1024;

/// Number of a consumer while the mount is up; never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConsumerId(pub u32);

/// Where consumers are kept. All of these return when it is on disk.
pub trait Shelf: Send + Sync {
    /// Every stored consumer: its name and its text.
    ///
    /// # Errors
    /// The storage refused.
    fn load(&self) -> io::Result<Vec<(String, String)>>;
    /// Stores `text` under `name`: all of it, or what was there before.
    ///
    /// # Errors
    /// The storage refused.
    fn save(&self, name: &str, text: &str) -> io::Result<()>;
    /// Removes what is stored under `name`, if anything is.
    ///
    /// # Errors
    /// The storage refused.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// Why a consumer was not registered or removed.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Not 1 to 64 bytes of `A-Z a-z 0-9 . _ -`, or a dot first.
    #[error("not a name of a consumer")]
    Name,
    /// There is one of that name.
    #[error("there is one of that name")]
    Exists,
    /// There is none of that name.
    #[error("there is none of that name")]
    Missing,
    /// As many as there may be.
    #[error("too many consumers")]
    TooMany,
    /// This place holds no consumers.
    #[error("not a place for consumers")]
    Reserved,
    /// It could not be stored.
    #[error("it could not be stored: {0}")]
    Store(#[from] io::Error),
}

/// All durable consumers of a mount.
pub struct Consumers {
    shelf: Box<dyn Shelf>,
    /// Held over mkdir and rmdir, so that no two of them meet in one name.
    changing: Mutex<()>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_id: BTreeMap<ConsumerId, Arc<Consumer>>,
    last: u32,
}

impl Table {
    fn named(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.by_id.values().find(|known| known.name == name)
    }

    fn insert(&mut self, make: impl FnOnce(ConsumerId) -> Consumer) -> Arc<Consumer> {
        self.last += 1;
        let consumer = Arc::new(make(ConsumerId(self.last)));
        self.by_id.insert(consumer.id, Arc::clone(&consumer));
        consumer
    }

    fn lowest(&self) -> Option<Seq> {
        self.by_id.values().map(|consumer| consumer.cursor()).min()
    }
}

impl Consumers {
    /// The consumers of `shelf`. One whose text is damaged begins again at the first event: it loses nothing.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn load(shelf: Box<dyn Shelf>) -> io::Result<Consumers> {
        let mut table = Table::default();
        for (name, text) in shelf.load()? {
            if is_name(name.as_bytes()) {
                table.insert(|id| Consumer::stored(id, name, &text));
            } else {
                log::warn!("consumers: {name:?} is no name of a consumer and is left alone");
            }
        }
        Ok(Consumers {
            shelf,
            changing: Mutex::new(()),
            table: Mutex::new(table),
        })
    }

    /// What the consumers still need: the events after this; `None` without consumers.
    #[must_use]
    pub fn held_after(&self) -> Option<Seq> {
        self.table.lock().lowest()
    }

    /// The consumer `id`.
    pub(super) fn get(&self, id: ConsumerId) -> Option<Arc<Consumer>> {
        self.table.lock().by_id.get(&id).cloned()
    }

    /// The consumer `name`.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Consumer>> {
        self.table.lock().named(name).cloned()
    }

    /// Registers `name` at the log's head.
    fn add(&self, log: &EventLog, name: &[u8]) -> Result<ConsumerId, ConsumerError> {
        let name = std::str::from_utf8(name)
            .ok()
            .filter(|name| is_name(name.as_bytes()));
        let name = name.ok_or(ConsumerError::Name)?;
        let _changing = self.changing.lock();
        {
            let table = self.table.lock();
            if table.named(name).is_some() {
                return Err(ConsumerError::Exists);
            }
            if table.by_id.len() >= CONSUMERS_MAX {
                return Err(ConsumerError::TooMany);
            }
        }
        let head = log.head();
        // What is stored must not be ahead of what the log keeps over a power loss.
        log.sync()
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.shelf.save(name, &consumer::text_of(head, None))?;
        let mut table = self.table.lock();
        let added = table.insert(|id| Consumer::new(id, name.to_owned(), head));
        log.hold_after(table.lowest());
        Ok(added.id)
    }

    fn remove(&self, log: &EventLog, name: &[u8]) -> Result<(), ConsumerError> {
        let _changing = self.changing.lock();
        let known = std::str::from_utf8(name).ok().and_then(|n| self.named(n));
        let consumer = known.ok_or(ConsumerError::Missing)?;
        consumer.end(&*self.shelf)?;
        let mut table = self.table.lock();
        table.by_id.remove(&consumer.id);
        log.hold_after(table.lowest());
        Ok(())
    }

    /// Carries out a write to `file` of `consumer`.
    pub(super) fn write(
        &self,
        log: &EventLog,
        consumer: &Consumer,
        file: ConsumerFile,
        data: &[u8],
    ) -> Result<(), ControlError> {
        consumer.write(log, &*self.shelf, file, data)?;
        self.hold(log);
        Ok(())
    }

    /// Tells the log what is needed. Under the table's lock, so that an older answer never replaces a newer one.
    fn hold(&self, log: &EventLog) {
        let table = self.table.lock();
        log.hold_after(table.lowest());
    }
}

/// Whether a consumer may have this name.
fn is_name(name: &[u8]) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name[0] != b'.'
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl Control {
    /// Lets `consumers` live in this control directory; once.
    pub fn serve_consumers(&self, consumers: Consumers) {
        let head = self.shared.log.head();
        for consumer in consumers.table.lock().by_id.values() {
            consumer.begin(head);
        }
        consumers.hold(&self.shared.log);
        // A second call would be a mistake of the start order; the first stays.
        let _ = self.shared.consumers.set(consumers);
    }

    pub(super) fn consumer_child(&self, name: &[u8]) -> Option<Entry> {
        let consumer = self.shared.consumers.get()?;
        let known = consumer.named(std::str::from_utf8(name).ok()?)?;
        Some(Entry::Consumer(known.id))
    }

    pub(super) fn consumer_children(&self) -> Vec<(OsString, Entry)> {
        let Some(consumers) = self.shared.consumers.get() else {
            return Vec::new();
        };
        let table = consumers.table.lock();
        let all = table.by_id.values();
        all.map(|consumer| (consumer.name.clone().into(), Entry::Consumer(consumer.id)))
            .collect()
    }

    /// Whether `entry` still stands: that of a removed consumer does not.
    #[must_use]
    pub fn lives(&self, entry: Entry) -> bool {
        let (Entry::Consumer(id) | Entry::ConsumerFile(id, _)) = entry else {
            return true;
        };
        let consumers = self.shared.consumers.get();
        consumers.is_some_and(|all| all.get(id).is_some())
    }

    /// mkdir in `entry`: registers a consumer, which begins after the newest event of this moment.
    ///
    /// # Errors
    /// [`ConsumerError`]; then there is none.
    pub fn register(&self, entry: Entry, name: &[u8]) -> Result<Entry, ConsumerError> {
        match self.shared.consumers.get() {
            Some(consumers) if entry == Entry::ConsumersDir => {
                consumers.add(&self.shared.log, name).map(Entry::Consumer)
            }
            _ => Err(ConsumerError::Reserved),
        }
    }

    /// rmdir in `entry`: removes a consumer and its place.
    ///
    /// # Errors
    /// [`ConsumerError`]; then it is still there.
    pub fn unregister(&self, entry: Entry, name: &[u8]) -> Result<(), ConsumerError> {
        match self.shared.consumers.get() {
            Some(consumers) if entry == Entry::ConsumersDir => {
                consumers.remove(&self.shared.log, name)
            }
            _ => Err(ConsumerError::Reserved),
        }
    }
}

/// One consumer in `status` and `metrics`.
pub(super) struct ConsumerFigures {
    pub(super) name: String,
    pub(super) cursor: Seq,
    /// Events after the cursor.
    pub(super) lag: u64,
}

impl ConsumerFigures {
    /// As `status` shows it.
    pub(super) fn json(&self) -> Value {
        json!({"name": self.name, "cursor": self.cursor.0, "lag": self.lag})
    }
}

/// The figures of all consumers, by name.
pub(super) fn figures(shared: &Shared) -> Vec<ConsumerFigures> {
    let Some(consumers) = shared.consumers.get() else {
        return Vec::new();
    };
    let all: Vec<_> = consumers.table.lock().by_id.values().cloned().collect();
    let head = shared.log.head();
    let mut figures: Vec<_> = all
        .iter()
        .map(|consumer| ConsumerFigures {
            name: consumer.name.clone(),
            cursor: consumer.cursor(),
            lag: head.0.saturating_sub(consumer.cursor().0),
        })
        .collect();
    figures.sort_by(|a, b| a.name.cmp(&b.name));
    figures
}
