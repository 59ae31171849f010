//! The catalog on disk: one file, `catalog`, in the state directory, replaced as a whole. It is only ever a faster
//! start: missing, damaged or of another log, it is left aside and the catalog begins with the root alone.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::backing::{Attr, Identity};
use crate::disk::{Storage, StoredFile, write_all_at};
use crate::event::Seq;
use crate::event_log::EventLog;

use super::entry::{Dir, Entry};
use super::format::{self, BLOCK_BYTES, BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, Header, Record};
use super::replay::replay;
use super::{Catalog, GHOST_FROM};

/// The checkpoint.
const FILE: &str = "catalog";
/// One that is being written.
const NEW_FILE: &str = "catalog.new";
/// Entries encoded before a table's lock is given up: a tenth of a millisecond.
const BATCH: usize = 256;

/// A catalog to begin with.
pub struct Start {
    /// The catalog.
    pub catalog: Catalog,
    /// Whether it came from a checkpoint and the log after it: then what differs from the disk happened behind the
    /// mount, while a cold one learns what it finds.
    pub warm: bool,
    /// Why a checkpoint that is there could not be used: what changed behind the mount before this start is taken as
    /// having been so.
    pub left_aside: Option<String>,
    /// What a person should know of the start.
    pub notes: Vec<String>,
}

impl Catalog {
    /// The catalog of the storage whose root is `root`: from the checkpoint in `files` and the events after it in
    /// `log`, or cold. Never in it: `reserved`, a name in the root, and the state directory `state`, wherever it is.
    #[must_use]
    pub fn open(
        root: &Attr,
        reserved: &[u8],
        state: Option<Identity>,
        files: &dyn Storage,
        log: &EventLog,
    ) -> Start {
        let catalog = Catalog::new(root, reserved, state);
        let loaded = load(&catalog, files).and_then(|seq| replay(&catalog, seq, log));
        match loaded {
            Ok(events) => Start {
                catalog,
                warm: true,
                left_aside: None,
                notes: Vec::from_iter((events > 0).then(|| {
                    format!("the catalog was brought up to date with {events} events of the log")
                })),
            },
            Err(reason) => Start {
                catalog: Catalog::new(root, reserved, state),
                warm: false,
                notes: Vec::new(),
                left_aside: reason,
            },
        }
    }

    /// The event that the checkpoint in `files` is of; `None` when there is none that can be read.
    #[must_use]
    pub fn saved_at(files: &dyn Storage) -> Option<Seq> {
        let file = files.open(FILE).ok()?;
        let mut head = [0; format::HEADER_BYTES];
        Stream { file, offset: 0 }.read_exact(&mut head).ok()?;
        Header::decode(&head).ok().map(|header| header.seq)
    }

    /// Saves it in `files` as the state after event `seq`: all of it or nothing. Changes may go on meanwhile; their
    /// events come after `seq`, and what a directory's move leaves torn is reported as `Interrupted`. `settle` is
    /// called when everything that is saved stands there, and before it counts.
    pub(in crate::recorder) fn save(
        &self,
        files: &dyn Storage,
        seq: Seq,
        settle: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let saved = self.save_as_new(files, seq, settle);
        if saved.is_err() {
            // A disk that filled under it needs the room; one that stays is overwritten by the next.
            let _ = files.remove(NEW_FILE);
        }
        saved
    }

    fn save_as_new(
        &self,
        files: &dyn Storage,
        seq: Seq,
        settle: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let moves = self.dir_moves();
        let header = Header {
            seq,
            root: self.root,
        };
        let mut writer = Writer {
            listed: self.listed_dirs(),
            block: Vec::new(),
            records: 0,
            file: files.create(NEW_FILE)?,
            bytes: 0,
        };
        writer.write(&header.encode())?;
        self.each_record(true, &mut writer)?;
        self.each_record(false, &mut writer)?;
        writer.flush_block()?;
        writer.write(&format::encode_end(writer.records))?;
        writer.file.sync()?;
        settle()?;
        if self.dir_moves() != moves {
            return Err(io::ErrorKind::Interrupted.into());
        }
        files.rename(NEW_FILE, FILE)?;
        files.sync()
    }

    /// Directories of which every name is known now. Taken before anything else, so that a directory is never kept as
    /// listed without the names that were learnt last.
    fn listed_dirs(&self) -> HashSet<u64> {
        let mut listed = HashSet::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let dirs = shard
                .iter()
                .filter(|(_, entry)| entry.dir.as_ref().is_some_and(|dir| dir.listed));
            listed.extend(dirs.map(|(key, _)| *key));
        }
        listed
    }

    fn each_record(&self, directories: bool, writer: &mut Writer) -> io::Result<()> {
        for shard in &self.shards {
            let keys: Vec<u64> = shard.lock().keys().copied().collect();
            for batch in keys.chunks(BATCH) {
                let table = shard.lock();
                for key in batch {
                    if let Some(entry) = table.get(key)
                        && entry.dir.is_some() == directories
                    {
                        writer.add(*key, entry, self.dev);
                    }
                }
                drop(table);
                if writer.block.len() >= BLOCK_BYTES {
                    writer.flush_block()?;
                }
            }
        }
        Ok(())
    }

    /// Takes one entry of a checkpoint in, without its names.
    fn take_in(&self, record: &Record) {
        if record.key >= GHOST_FROM {
            // A number that stands for an entry already is not given out again.
            self.ghosts
                .fetch_max((record.key - GHOST_FROM).saturating_add(1), Relaxed);
        }
        let mut entry = Box::new(Entry::new(&record.state));
        if record.state.is_directory() && !record.foreign {
            entry.dir = Some(Box::new(Dir {
                listed: record.listed,
                ..Dir::default()
            }));
        }
        self.shard(record.key).lock().insert(record.key, entry);
    }

    /// Gives an entry of a checkpoint its names.
    fn take_links(&self, record: &Record) {
        let mut placed = false;
        for (dir, name) in &record.links {
            if record.foreign {
                // Which device it is on is not known any more: it is learnt anew.
                self.set_listed(*dir, false);
                continue;
            }
            placed |= self.place_loaded(record.key, *dir, name);
        }
        if !placed && record.key != self.root {
            self.shard(record.key).lock().remove(&record.key);
        }
    }
}

struct Writer {
    listed: HashSet<u64>,
    block: Vec<u8>,
    records: u64,
    file: Arc<dyn StoredFile>,
    /// Length of what is written.
    bytes: u64,
}

impl Writer {
    fn add(&mut self, key: u64, entry: &Entry, dev: u64) {
        let state = entry.state();
        let record = Record {
            key,
            state,
            listed: self.listed.contains(&key),
            foreign: state.identity.dev != dev,
            links: entry.links.iter().map(|(d, n)| (d, n.to_vec())).collect(),
        };
        format::encode_record(&record, &mut self.block);
        self.records += 1;
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.write(&format::block_head(&self.block))?;
            let block = std::mem::take(&mut self.block);
            self.write(&block)?;
            self.block = block;
            self.block.clear();
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.bytes + bytes.len() as u64;
        self.file.allocate(end)?;
        write_all_at(&*self.file, bytes, self.bytes)?;
        self.bytes = end;
        Ok(())
    }
}

/// Reads the checkpoint into an empty catalog and gives its position; the error is what to say of it, if anything.
fn load(catalog: &Catalog, files: &dyn Storage) -> Result<Seq, Option<String>> {
    let file = match files.open(FILE) {
        Ok(file) => BufReader::with_capacity(BLOCK_BYTES, Stream { file, offset: 0 }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(None),
        Err(error) => return Err(Some(format!("the catalog cannot be read: {error}"))),
    };
    read(catalog, file).map_err(|why| Some(format!("the catalog is left aside: {why}")))
}

/// A file from its beginning to its end.
struct Stream {
    file: Arc<dyn StoredFile>,
    offset: u64,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

fn read(catalog: &Catalog, mut file: impl Read) -> Result<Seq, &'static str> {
    const DAMAGED: &str = "it is damaged";
    let mut head = [0; format::HEADER_BYTES];
    file.read_exact(&mut head).map_err(|_| DAMAGED)?;
    let header = Header::decode(&head).map_err(|_| DAMAGED)?;
    if header.root != catalog.root {
        return Err("it is of another directory");
    }
    let mut records = 0;
    let mut block = Vec::new();
    // Directories come first: with all of them known, everything else finds its place at once.
    let mut dirs = Some(Vec::new());
    loop {
        let mut head = [0; BLOCK_HEAD_BYTES];
        file.read_exact(&mut head[..4]).map_err(|_| DAMAGED)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length == 0 {
            break;
        }
        if length > BLOCK_BYTES_MAX {
            return Err(DAMAGED);
        }
        file.read_exact(&mut head[4..]).map_err(|_| DAMAGED)?;
        block.resize(length, 0);
        file.read_exact(&mut block).map_err(|_| DAMAGED)?;
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        format::check_block(&block, crc).map_err(|_| DAMAGED)?;
        let taken = format::decode_records(&block, catalog.dev, |record| {
            let is_dir = record.state.is_directory() && !record.foreign;
            catalog.take_in(&record);
            match &mut dirs {
                Some(waiting) if is_dir => waiting.push(record),
                _ => {
                    place_dirs(catalog, dirs.take());
                    catalog.take_links(&record);
                }
            }
        });
        records += taken.map_err(|_| DAMAGED)?;
    }
    place_dirs(catalog, dirs);
    let mut end = [0; format::END_BYTES];
    file.read_exact(&mut end).map_err(|_| DAMAGED)?;
    let told = format::decode_end(&end).map_err(|_| DAMAGED)?;
    if told == records {
        Ok(header.seq)
    } else {
        Err(DAMAGED)
    }
}

/// Gives directories their names, and forgets those that the root does not lead to.
fn place_dirs(catalog: &Catalog, dirs: Option<Vec<Record>>) {
    let Some(dirs) = dirs else { return };
    for record in &dirs {
        catalog.take_links(record);
    }
    let mut reached = HashSet::from([catalog.root]);
    let mut open = vec![catalog.root];
    while let Some(dir) = open.pop() {
        let below = catalog.names(dir).into_iter().map(|(_, key)| key);
        open.extend(below.filter(|key| reached.insert(*key)));
    }
    for record in dirs.iter().filter(|record| !reached.contains(&record.key)) {
        catalog.shard(record.key).lock().remove(&record.key);
    }
}
