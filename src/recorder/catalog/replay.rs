//! The events after a checkpoint, told to the catalog. They name entries and sizes, not owners or exact times, so
//! what they touch is unsure until the disk has been looked at. Telling the same event twice does no harm: the
//! checkpoint may have been taken while it happened.

use serde_json::Value;

use crate::backing::FileType;
use crate::event::{EventType, Op, Seq, Timestamp, line};
use crate::event_log::{Chunk, EventLog};

use super::{Catalog, State};

/// Bytes of the log read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Tells `catalog`, as of event `after`, every later event of `log`; gives their number, or why it cannot be done.
pub(super) fn replay(catalog: &Catalog, after: Seq, log: &EventLog) -> Result<u64, Option<String>> {
    let head = log.head();
    if after > head {
        return Err(Some(format!(
            "the catalog is left aside: it is of event {after} and the log ends at {head}"
        )));
    }
    let mut reader = log.reader(after, head);
    let mut events = 0;
    loop {
        match reader.next_chunk(CHUNK_BYTES) {
            Ok(Chunk::Lines(lines)) => {
                for line in lines.split(|byte| *byte == b'\n') {
                    if let Some(told) = Told::parse(line) {
                        told.apply(catalog);
                        events += 1;
                    }
                }
            }
            Ok(Chunk::Gap { from, to, .. }) => {
                return Err(Some(format!(
                    "the catalog is left aside: events {from} to {to} after it are gone"
                )));
            }
            Ok(Chunk::End) => return Ok(events),
            Err(error) => {
                return Err(Some(format!("the catalog is left aside: {error}")));
            }
        }
    }
}

/// What an event says of an entry.
struct Told {
    event_type: EventType,
    op: Option<Op>,
    src: Vec<u8>,
    dest: Option<Vec<u8>>,
    is_directory: bool,
    ino: u64,
    size: u64,
    replaced: Option<u64>,
    at: (Seq, Timestamp),
}

impl Told {
    fn parse(line: &[u8]) -> Option<Told> {
        let seq = line::check(line).ok()?;
        let event: Value = serde_json::from_slice(line).ok()?;
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        let seconds = event.get("timestamp")?.as_f64()?;
        // A float holds the present to a quarter of a microsecond; rounding up keeps it after what it tells of.
        let time = Timestamp((seconds * 1e9) as u64 + 1_000);
        let replaced = event.get("replaced").and_then(|r| r.get("ino"));
        Some(Told {
            event_type: EventType::parse(text("event_type")?)?,
            op: text("op").and_then(Op::parse),
            src: line::path_bytes(&event, "src_path")?,
            dest: line::path_bytes(&event, "dest_path"),
            is_directory: event.get("is_directory").and_then(Value::as_bool)?,
            ino: event.get("ino")?.as_u64()?,
            size: event.get("size").and_then(Value::as_u64).unwrap_or(0),
            replaced: replaced.and_then(Value::as_u64),
            at: (seq, time),
        })
    }

    fn apply(&self, catalog: &Catalog) {
        match self.event_type {
            EventType::Created => self.created(catalog, &self.src),
            // Nothing was changed by it.
            EventType::Modified if self.op == Some(Op::Fsync) => {}
            EventType::Modified => self.modified(catalog),
            EventType::Deleted => self.deleted(catalog),
            EventType::Moved => self.moved(catalog),
            EventType::Closed | EventType::Gap | EventType::Mark => {}
        }
        if let Some(replaced) = self.replaced.filter(|ino| *ino != self.ino) {
            // With other names left, losing one changed its time.
            self.touch(catalog, replaced, None);
        }
    }

    fn created(&self, catalog: &Catalog, path: &[u8]) {
        let Some((dir, name)) = place(catalog, path) else {
            return;
        };
        let known = catalog.state(self.ino).is_some_and(|known| {
            known.is_directory() == self.is_directory && catalog.child(dir, name) == Some(self.ino)
        });
        if known {
            self.touch(catalog, self.ino, Some(self.size));
            self.list(catalog, self.ino);
            return;
        }
        let kind = match self.op {
            _ if self.is_directory => FileType::Directory,
            Some(Op::Symlink) => FileType::Symlink,
            _ => FileType::RegularFile,
        };
        let mut state = State::told(catalog.dev(), self.ino, kind, self.size, self.at);
        let made = matches!(
            self.op,
            Some(Op::Create | Op::Mknod | Op::Mkdir | Op::Symlink)
        );
        // What was not made just now may be an entry that is known by another name.
        if let Some(known) = catalog.state(self.ino).filter(|_| !made)
            && known.is_directory() == self.is_directory
        {
            state.identity = known.identity;
        }
        let key = catalog.put(dir, name, &state);
        self.list(catalog, key);
    }

    /// A directory that appeared was made empty, or found with all that was in it, and what came later is told too:
    /// also when the checkpoint knows it, which was then taken while it was filled.
    fn list(&self, catalog: &Catalog, key: u64) {
        if self.is_directory {
            catalog.set_listed(key, true);
        }
    }

    fn modified(&self, catalog: &Catalog) {
        let here = self.at(catalog, &self.src);
        if self.replaced.is_some() && here != Some(self.ino) {
            self.created(catalog, &self.src);
        } else if catalog.state(self.ino).is_some() {
            self.touch(catalog, self.ino, Some(self.size));
        }
    }

    fn deleted(&self, catalog: &Catalog) {
        let Some((dir, name)) = place(catalog, &self.src) else {
            return;
        };
        let key = catalog.child(dir, name);
        let known = key.and_then(|key| catalog.state(key));
        if known.is_some_and(|state| state.identity.ino == self.ino) {
            catalog.remove(dir, name);
        }
        self.touch(catalog, self.ino, None);
    }

    fn moved(&self, catalog: &Catalog) {
        let Some(dest) = &self.dest else { return };
        let (here, there) = (self.at(catalog, &self.src), self.at(catalog, dest));
        let places = (place(catalog, &self.src), place(catalog, dest));
        match places {
            (Some(from), Some(to)) if here == Some(self.ino) => {
                if self.op == Some(Op::Exchange) {
                    catalog.swap(from, to);
                    if let Some(other) = there {
                        self.touch(catalog, other, None);
                    }
                } else if there != here {
                    catalog.rename(self.ino, from, to);
                }
                self.touch(catalog, self.ino, Some(self.size));
            }
            (_, Some(_)) if there == Some(self.ino) => {
                self.touch(catalog, self.ino, Some(self.size));
                if let Some(other) = here.filter(|_| self.op == Some(Op::Exchange)) {
                    self.touch(catalog, other, None);
                }
            }
            _ if self.is_directory => {}
            _ => self.created(catalog, dest),
        }
    }

    /// What stands at `path`.
    fn at(&self, catalog: &Catalog, path: &[u8]) -> Option<u64> {
        let (dir, name) = place(catalog, path)?;
        catalog.child(dir, name)
    }

    /// The event touched `key`: what was known of its attributes is to be read anew.
    fn touch(&self, catalog: &Catalog, key: u64, size: Option<u64>) {
        let Some(known) = catalog.state(key) else {
            return;
        };
        let kind = known.kind();
        let size = size.unwrap_or(known.size);
        let told = State::told(catalog.dev(), key, kind, size, self.at);
        catalog.set(&State {
            identity: known.identity,
            nlink: known.nlink,
            ..told
        });
    }
}

/// The directory that `path` leads to, as far as it is known, and the last name.
fn place<'a>(catalog: &Catalog, path: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let (dirs, name) = match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[][..], path),
    };
    let mut dir = catalog.root();
    for component in dirs.split(|byte| *byte == b'/').filter(|c| !c.is_empty()) {
        dir = catalog.child(dir, component)?;
    }
    Some((dir, name))
}
