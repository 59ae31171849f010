//! The stored contents at the start: which of them the log names, and how they live and go with it.

use std::io;

use memchr::memmem;

use super::store::Store;
use super::{Config, DaemonError};
use crate::content::{Content, Options};
use crate::disk::DirStorage;
use crate::event::{HASH_BYTES, Seq, line};
use crate::event_log::{Chunk, Companion, EventLog};

/// Bytes of the log read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// What stands before every hash of a content in a line, whichever of its fields it is.
const HASH_KEY: &[u8] = b"blake3\":\"";

/// The store of `store`'s contents, which goes with `log` from here on.
///
/// # Errors
/// The store or the log cannot be read.
pub(super) fn open(config: &Config, store: &Store, log: &EventLog) -> Result<Content, DaemonError> {
    let hint = "see the disk and the limit on open files";
    let failed = DaemonError::io("content", hint);
    let dir = store.content_dir.try_clone().map_err(failed)?;
    let options = Options {
        pack_bytes: config.log.segment_bytes,
    };
    let opened = Content::open(Box::new(DirStorage::new(dir)), options);
    let (content, opened) = opened
        .map_err(|error| DaemonError::io("content", hint)(io::Error::other(error.to_string())))?;
    let missing = opened
        .missing
        .iter()
        .filter(|(_, seq)| *seq >= log.oldest());
    for (id, _) in missing {
        log::warn!("content: pack {id} is missing: its versions cannot be read");
    }
    for note in &opened.notes {
        log::warn!("{note}");
    }
    name_all(&content, log, opened.named_up_to);
    log.accompany(Box::new(Beside(content.clone())));
    Ok(content)
}

/// Tells `content` what the events after `after` name. What cannot be read of the log names nothing: those events
/// cannot be read by anyone else either.
fn name_all(content: &Content, log: &EventLog, after: Seq) {
    let mut reader = log.reader(after, log.head());
    loop {
        match reader.next_chunk(CHUNK_BYTES) {
            Ok(Chunk::Lines(lines)) => {
                for line in lines.split(|byte| *byte == b'\n') {
                    name_line(content, line);
                }
            }
            Ok(Chunk::Gap { .. }) => {}
            Ok(Chunk::End) => return,
            Err(error) => {
                log::warn!("content: events cannot be read: {error}");
                return;
            }
        }
    }
}

/// Every hash in one line. A text that only looks like one keeps a content longer and does no other harm.
fn name_line(content: &Content, line: &[u8]) {
    let Some(seq) = line::seq_of(line) else {
        return;
    };
    for at in memmem::find_iter(line, HASH_KEY) {
        let digits = line.get(at + HASH_KEY.len()..).unwrap_or_default();
        if let Some(hash) = hash(digits) {
            content.named(&hash, seq);
        }
    }
}

/// The hash that begins a text.
fn hash(digits: &[u8]) -> Option<[u8; HASH_BYTES]> {
    let hex = digits.get(..2 * HASH_BYTES)?;
    Some(*blake3::Hash::from_hex(hex).ok()?.as_bytes())
}

/// The contents as what is kept beside the log.
struct Beside(Content);

impl Companion for Beside {
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn retain(&self, oldest: Seq, bytes_max: u64) {
        self.0.retain(oldest, bytes_max);
    }
}
