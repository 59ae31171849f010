//! Which events concern a path, without reading the log: eight bytes for each event and path.
//!
//! Built from the log when it is first asked, and carried on at each question. Paths are known by a hash, so what it
//! gives is to be compared with the event itself. Directories that moved are kept with their names: they concern every
//! path below.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use memchr::memmem;
use serde_json::Value;

use crate::event::line::{path_bytes, seq_of};
use crate::event::{Op, Seq};
use crate::event_log::{Chunk, EventLog, LogError};

/// Events of one block: their offsets in it are 16 bits.
const BLOCK_EVENTS: u64 = 1 << 16;
/// Most names that one path may have had.
const NAMES_MAX: usize = 1024;
/// Bytes of the log read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The events of each path.
#[derive(Default)]
pub(super) struct PathIndex {
    /// Number and sorted entries of each full block, oldest first.
    blocks: VecDeque<(u64, Vec<u64>)>,
    tail: HashMap<u64, Vec<u16>>,
    tail_block: u64,
    head: Seq,
    dirs: HashSet<u64>,
    last_dir: Vec<u8>,
    moves: Vec<DirMove>,
    /// Events that the log has lost, besides the oldest: first and last of each range, rising.
    gaps: Vec<(Seq, Seq)>,
    oldest: Seq,
}

/// A directory that got another name, or two names that were exchanged, of which one was a directory's.
#[derive(Clone, Debug)]
pub(super) struct DirMove {
    pub(super) seq: Seq,
    pub(super) src: Vec<u8>,
    pub(super) dest: Vec<u8>,
    pub(super) is_exchange: bool,
}

impl PathIndex {
    /// Takes in what the log got since.
    pub(super) fn catch_up(&mut self, log: &EventLog) -> Result<(), LogError> {
        let head = log.head();
        let mut reader = log.reader(self.head, head);
        loop {
            match reader.next_chunk(CHUNK_BYTES)? {
                Chunk::Lines(lines) => {
                    for line in lines.split(|byte| *byte == b'\n') {
                        self.add(line);
                    }
                    self.head = reader.position();
                }
                Chunk::Gap { from, to, .. } => {
                    self.lost(from, to);
                    self.head = to;
                }
                Chunk::End => {
                    self.head = self.head.max(head);
                    self.drop_before(log.oldest());
                    return Ok(());
                }
            }
        }
    }

    /// Up to where it knows.
    pub(super) fn head(&self) -> Seq {
        self.head
    }

    fn add(&mut self, line: &[u8]) {
        let Some(seq) = seq_of(line) else { return };
        let block = seq.0 / BLOCK_EVENTS;
        if block != self.tail_block {
            self.seal();
            self.tail_block = block;
        }
        let paths = paths(line);
        for path in paths.iter().flatten() {
            let at = (seq.0 % BLOCK_EVENTS) as u16;
            self.tail.entry(key_of(path)).or_default().push(at);
            self.add_dirs(path);
        }
        if let [Some(src), Some(dest)] = paths {
            let exchange = format!("\"op\":\"{}\"", Op::Exchange.word());
            let is_exchange = memmem::find(line, exchange.as_bytes()).is_some();
            if memmem::find(line, b"\"is_directory\":true").is_some()
                || (is_exchange && takes_a_directory(line))
            {
                self.moves.push(DirMove {
                    seq,
                    src,
                    dest,
                    is_exchange,
                });
            }
        }
    }

    fn add_dirs(&mut self, path: &[u8]) {
        let dir = memchr::memrchr(b'/', path).map_or(&path[..0], |at| &path[..at]);
        if dir == self.last_dir {
            return;
        }
        self.last_dir = dir.to_vec();
        let ends = memchr::memchr_iter(b'/', dir).chain([dir.len()]);
        self.dirs.extend(ends.map(|end| key_of(&dir[..end])));
    }

    fn seal(&mut self) {
        let mut entries: Vec<u64> = Vec::new();
        for (key, offsets) in self.tail.drain() {
            entries.extend(offsets.iter().map(|at| key << 16 | u64::from(*at)));
        }
        if !entries.is_empty() {
            entries.sort_unstable();
            self.blocks.push_back((self.tail_block, entries));
        }
    }

    fn drop_before(&mut self, oldest: Seq) {
        while let Some((block, _)) = self.blocks.front()
            && (block + 1) * BLOCK_EVENTS <= oldest.0
        {
            self.blocks.pop_front();
        }
        self.moves.retain(|moved| moved.seq >= oldest);
        self.gaps.retain(|(_, to)| *to >= oldest);
        self.oldest = oldest;
    }

    /// The events of a range cannot be read.
    pub(super) fn lost(&mut self, from: Seq, to: Seq) {
        if !self.gaps.contains(&(from, to)) {
            self.gaps.push((from, to));
            self.gaps.sort_unstable();
        }
    }

    /// Ranges of events that cannot be read.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (Seq, Seq)> {
        let before = Seq(self.oldest.0.saturating_sub(1));
        let oldest = (before > Seq(0)).then_some((Seq(1), before));
        oldest.into_iter().chain(self.gaps.iter().copied())
    }

    /// Positions of the events that may concern `path`, rising.
    pub(super) fn events_of(&self, path: &[u8]) -> Vec<Seq> {
        let key = key_of(path);
        let mut found = Vec::new();
        for (block, entries) in &self.blocks {
            let from = entries.partition_point(|entry| entry >> 16 < key);
            let of_path = entries[from..]
                .iter()
                .take_while(|entry| *entry >> 16 == key);
            found.extend(of_path.map(|entry| Seq(block * BLOCK_EVENTS + (entry & 0xffff))));
        }
        if let Some(offsets) = self.tail.get(&key) {
            let of = |at: &u16| Seq(self.tail_block * BLOCK_EVENTS + u64::from(*at));
            found.extend(offsets.iter().map(of));
        }
        found
    }

    /// Directories that moved with `path` below them, before or after, rising.
    pub(super) fn moves_of(&self, path: &[u8]) -> Vec<DirMove> {
        let below = |dir: &[u8]| {
            path.strip_prefix(dir)
                .is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        let concern = |moved: &&DirMove| below(&moved.src) || below(&moved.dest);
        self.moves.iter().filter(concern).cloned().collect()
    }

    /// Whether `path` may have events of its own, or below it, or came there with a directory above.
    pub(super) fn knows(&self, path: &[u8]) -> bool {
        let mut names = vec![path.to_vec()];
        // Each move is looked at for each name that an earlier look gave, backwards in time.
        for moved in self.moves.iter().rev() {
            let came = names.iter().filter_map(|name| moved.origin(name));
            let came: Vec<_> = came.collect();
            names.extend(came);
            if names.len() > NAMES_MAX {
                break;
            }
        }
        names.iter().any(|name| self.mentions(name))
    }

    fn mentions(&self, path: &[u8]) -> bool {
        self.has_below(path) || !self.events_of(path).is_empty()
    }

    /// Whether there may be events of paths below `dir`.
    pub(super) fn has_below(&self, dir: &[u8]) -> bool {
        dir.is_empty() || self.dirs.contains(&key_of(dir))
    }
}

/// Whether what an exchange brought from `dest_path` to `src_path` is a directory.
fn takes_a_directory(line: &[u8]) -> bool {
    const TYPE_BITS: u64 = 0o170_000;
    const DIRECTORY_BITS: u64 = 0o040_000;
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    let mode = line["exchanged"]["mode"].as_u64();
    mode.is_some_and(|mode| mode & TYPE_BITS == DIRECTORY_BITS)
}

/// 48 bits that stand for a path.
fn key_of(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path);
    hasher.finish() >> 16
}

/// The paths of a line, exact; none for a line that is no change of an entry.
pub(super) fn paths(line: &[u8]) -> [Option<Vec<u8>>; 2] {
    const MARK: &[u8] = b"\"event_type\":\"mark\"";
    if memmem::find(line.get(..80).unwrap_or(line), MARK).is_some() {
        return [None, None];
    }
    [path(line, "src_path"), path(line, "dest_path")]
}

fn path(line: &[u8], key: &str) -> Option<Vec<u8>> {
    let quoted = format!("\"{key}\":\"");
    let start = memmem::find(line, quoted.as_bytes())? + quoted.len();
    let length = memchr::memchr2(b'"', b'\\', &line[start..])?;
    let end = start + length;
    let twin = format!("\",\"{key}_b64\"");
    if line[end] == b'\\' || line[end..].starts_with(twin.as_bytes()) {
        let line: Value = serde_json::from_slice(line).ok()?;
        return path_bytes(&line, key);
    }
    Some(line[start..end].to_vec())
}
