//! What a start makes of the files.
//!
//! The rule: every record that is whole, by its checksum, is held, wherever it stands; bytes that are none are passed
//! over up to the next one that is. So a torn end is cut, a flipped bit costs its own object, and nothing is ever
//! refused. An index that is whole and of a pack of just that length stands for it; the hash is compared at each
//! reading in any case. What `names` does not know is told by the log.

use std::sync::Arc;

use super::ContentError;
use super::active::Open;
use super::format::{self, Header, IndexEntry};
use super::pack::{Pack, Packs, index_name, pack_id};
use super::store::fill;
use super::sync::NAMES;
use super::table::{Table, key_of};
use crate::disk::{Storage, StoredFile};
use crate::event::Seq;

/// Largest index or `names` that is read: more than a million objects in one pack.
const DERIVED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a start found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    /// Up to this event it is known what the packs are named by; later ones are to be told.
    pub named_up_to: Seq,
    /// Packs that are not there any more, and the last event known to name something in each: retention took those
    /// whose event is gone too.
    pub missing: Vec<(u32, Seq)>,
    /// What is worth a person's while.
    pub notes: Vec<String>,
}

/// Fills `packs` and `table`; also gives the packs that may not be durable yet.
pub(super) fn open(
    storage: &dyn Storage,
    packs: &Packs,
    table: &Table,
) -> Result<(Opened, Vec<Open>), ContentError> {
    let names = storage
        .names()
        .map_err(ContentError::io("list of the packs"))?;
    let mut ids: Vec<u32> = names.iter().filter_map(|name| pack_id(name)).collect();
    ids.sort_unstable();
    let mut opened = Opened::default();
    let known = read_derived(storage, NAMES).and_then(|bytes| format::read_names(&bytes));
    let (seq, named) = known.unwrap_or_default();
    opened.named_up_to = seq;
    for (id, seq) in missing(&named, &ids) {
        // It keeps its number for as long as events name it, so that a check goes on to tell of it.
        packs.add(Arc::new(Pack::new(id, 0, seq)));
        opened.missing.push((id, seq));
    }
    let newest = ids.last().copied();
    let mut unsynced = Vec::new();
    for id in ids {
        let named = named.iter().find(|(known, _)| *known == u64::from(id));
        let named = named.map_or(Seq(0), |(_, seq)| *seq);
        match load(storage, id, Some(id) == newest) {
            // A daemon that ended before it kept anything.
            Ok(loaded) if loaded.entries.is_empty() => {
                let _ = storage.remove(&super::pack::pack_name(id));
            }
            Ok(loaded) => {
                let pack = Arc::new(Pack::new(id, loaded.bytes, named));
                packs.add(Arc::clone(&pack));
                for entry in &loaded.entries {
                    table.put(id, entry);
                }
                opened.notes.extend(loaded.damage);
                let file = loaded.unsynced;
                unsynced.extend(file.map(|file| Open::found(pack, file, loaded.entries)));
            }
            Err(error) => {
                // It keeps its number, and its bytes for whoever can still read them.
                packs.add(Arc::new(Pack::new(id, 0, named)));
                opened
                    .notes
                    .push(format!("content: pack {id} cannot be read: {error}"));
            }
        }
    }
    Ok((opened, unsynced))
}

/// The packs that were `named` up to an event, and are not among the sorted `ids`.
pub(super) fn missing(named: &[(u64, Seq)], ids: &[u32]) -> Vec<(u32, Seq)> {
    let known = named
        .iter()
        .filter_map(|(id, seq)| Some((u32::try_from(*id).ok()?, *seq)));
    known
        .filter(|(id, _)| ids.binary_search(id).is_err())
        .collect()
}

struct Loaded {
    bytes: u64,
    entries: Vec<IndexEntry>,
    damage: Option<String>,
    /// The file of a pack without an index: its daemon ended before all of it was durable.
    unsynced: Option<Arc<dyn StoredFile>>,
}

fn load(storage: &dyn Storage, id: u32, is_newest: bool) -> std::io::Result<Loaded> {
    let file = storage.open(&super::pack::pack_name(id))?;
    let bytes = file.bytes()?;
    let index = read_derived(storage, &index_name(id));
    if let Some(entries) = index.and_then(|index| format::read_index(&index, bytes)) {
        return Ok(Loaded {
            bytes,
            entries,
            damage: None,
            unsynced: None,
        });
    }
    let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let read = fill(&*file, &mut content, 0)?;
    content.truncate(read);
    let scanned = scan(&content);
    // Behind the last record is the room that a daemon had taken before it died, which is given back, or damage,
    // which is left to whoever can still make something of it.
    let blank = content[scanned.end as usize..]
        .iter()
        .all(|byte| *byte == 0);
    let damage = (scanned.damaged > 0 && !is_newest)
        .then(|| format!("content: pack {id} has {} damaged places", scanned.damaged));
    Ok(Loaded {
        bytes: if blank { scanned.end } else { bytes },
        entries: scanned.entries,
        damage,
        unsynced: Some(file),
    })
}

/// What a pack holds.
pub(super) struct Scanned {
    pub(super) entries: Vec<IndexEntry>,
    /// End of its last whole record.
    pub(super) end: u64,
    /// Stretches before that which are no whole records.
    pub(super) damaged: u64,
}

/// Finds every whole record.
pub(super) fn scan(pack: &[u8]) -> Scanned {
    let mut scanned = Scanned {
        entries: Vec::new(),
        end: 0,
        damaged: 0,
    };
    let mut at = 0;
    while let Some(found) = format::next_magic(pack, at) {
        let record = &pack[found..];
        let header = Header::read(record).filter(|h| h.payload(record).is_some());
        let (Some(header), Ok(offset)) = (header, u32::try_from(found)) else {
            at = found + 1;
            continue;
        };
        if found as u64 > scanned.end {
            scanned.damaged += 1;
        }
        scanned.entries.push(IndexEntry {
            key: key_of(&header.hash),
            offset,
            payload_bytes: header.payload_bytes,
            kind: header.kind,
        });
        at = found + header.record_bytes();
        scanned.end = at as u64;
    }
    scanned
}

/// A derived file, if it is there and of a likely size.
pub(super) fn read_derived(storage: &dyn Storage, name: &str) -> Option<Vec<u8>> {
    let file = storage.open(name).ok()?;
    let bytes = file.bytes().ok().filter(|b| *b <= DERIVED_BYTES_MAX)?;
    let mut content = vec![0; usize::try_from(bytes).ok()?];
    let read = fill(&*file, &mut content, 0).ok()?;
    content.truncate(read);
    Some(content)
}
