//! The tree `versions/` as the kernel knows it: a number for each name it has looked up and not forgotten.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeSet, HashMap};

use memchr::memmem;
use parking_lot::Mutex;

use crate::control::tree::Entry;
use crate::event::Seq;
use crate::event_log::Chunk;

use super::content::Known;
use super::index::paths;
use super::{Past, PastError};

/// Digits of the largest position.
const SEQ_DIGITS_MAX: usize = 20;
/// Bytes of the log read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A name below `versions/`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VersionId(pub u32);

/// What a name stands for: a path, or with a position the content it had then.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in super::super) struct Place {
    pub(in super::super) path: Vec<u8>,
    pub(in super::super) at: Option<Seq>,
}

/// The names that the kernel knows.
#[derive(Default)]
pub(in super::super) struct Names(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_id: HashMap<u32, (Place, u64)>,
    ids: HashMap<Place, u32>,
    last: u32,
}

impl Names {
    /// The number of a place, looked up once more.
    fn look_up(&self, place: Place) -> VersionId {
        let mut table = self.0.lock();
        if let Some(id) = table.ids.get(&place).copied() {
            if let Some((_, lookups)) = table.by_id.get_mut(&id) {
                *lookups += 1;
            }
            return VersionId(id);
        }
        loop {
            table.last = table.last.wrapping_add(1);
            let id = table.last;
            if let Slot::Vacant(slot) = table.by_id.entry(id) {
                slot.insert((place.clone(), 1));
                table.ids.insert(place, id);
                return VersionId(id);
            }
        }
    }

    /// The kernel forgets `count` of its lookups.
    pub(in super::super) fn forget(&self, id: VersionId, count: u64) {
        let mut table = self.0.lock();
        if let Some((_, lookups)) = table.by_id.get_mut(&id.0) {
            *lookups = lookups.saturating_sub(count);
            if *lookups == 0
                && let Some((place, _)) = table.by_id.remove(&id.0)
            {
                table.ids.remove(&place);
            }
        }
    }

    /// What a number stands for.
    pub(in super::super) fn place(&self, id: VersionId) -> Option<Place> {
        self.0
            .lock()
            .by_id
            .get(&id.0)
            .map(|(place, _)| place.clone())
    }
}

impl Past {
    /// The path that a directory of `versions/` stands for; empty for `versions/` itself.
    pub(in super::super) fn directory(&self, entry: Entry) -> Option<Vec<u8>> {
        match entry {
            Entry::VersionsDir => Some(Vec::new()),
            Entry::VersionDir(id) => self.names.place(id).map(|place| place.path),
            _ => None,
        }
    }

    /// The content that a file of `versions/` stands for.
    pub(in super::super) fn read_version(
        &self,
        id: VersionId,
    ) -> Result<Option<Vec<u8>>, PastError> {
        match self.names.place(id) {
            Some(place) => self.read(&place),
            None => Ok(None),
        }
    }

    /// The entry `name` below `dir` (empty for `versions/` itself): a path that has a past, or a position at which the
    /// content of `dir` is known.
    pub(in super::super) fn child(
        &self,
        dir: &[u8],
        name: &[u8],
    ) -> Result<Option<(VersionId, bool)>, PastError> {
        let mut path = dir.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let mut index = self.index.lock();
        index.catch_up(&self.log)?;
        let known = index.knows(&path);
        drop(index);
        if known {
            let id = self.names.look_up(Place { path, at: None });
            return Ok(Some((id, true)));
        }
        let Some(at) = position(name).filter(|_| !dir.is_empty()) else {
            return Ok(None);
        };
        let known = self.at(dir, at)?.known;
        if matches!(known, Known::Absent | Known::Directory | Known::Missing(_)) {
            return Ok(None);
        }
        let place = Place {
            path: dir.to_vec(),
            at: Some(at),
        };
        Ok(Some((self.names.look_up(place), false)))
    }

    /// The names below `dir` that have a past, and the positions at which the content of `dir` is kept.
    pub(in super::super) fn children(&self, dir: &[u8]) -> Result<Vec<(Vec<u8>, bool)>, PastError> {
        let mut names = BTreeSet::new();
        let mut index = self.index.lock();
        index.catch_up(&self.log)?;
        // Most paths are those of files, below which there is nothing.
        let has_below = index.has_below(dir);
        drop(index);
        let from = if has_below { Seq(0) } else { self.log.head() };
        let mut reader = self.log.reader(from, self.log.head());
        // A text that cannot be in a line about anything below `dir` is passed over without a look at its fields.
        let plain = dir
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(b));
        let sieve = (plain && !dir.is_empty()).then(|| memmem::Finder::new(dir));
        loop {
            match reader.next_chunk(CHUNK_BYTES)? {
                Chunk::Lines(lines) => {
                    for line in lines.split(|byte| *byte == b'\n') {
                        if sieve
                            .as_ref()
                            .is_none_or(|sieve| sieve.find(line).is_some())
                        {
                            let below = paths(line).into_iter().flatten();
                            names.extend(below.filter_map(|path| name_below(dir, &path)));
                        }
                    }
                }
                Chunk::Gap { .. } => {}
                Chunk::End => break,
            }
        }
        let mut children: Vec<_> = names.into_iter().map(|name| (name, true)).collect();
        if !dir.is_empty() {
            let mut versions = self.versions_of(dir)?;
            versions.retain(|version| self.is_kept(version));
            versions.dedup_by_key(|version| version.at);
            children.extend(
                versions
                    .iter()
                    .map(|v| (v.at.to_string().into_bytes(), false)),
            );
        }
        Ok(children)
    }

    /// The content that a place stands for.
    fn read(&self, place: &Place) -> Result<Option<Vec<u8>>, PastError> {
        let Some(at) = place.at else { return Ok(None) };
        let stand = self.at(&place.path, at)?;
        self.bytes(&stand.known)
    }
}

/// The first name of `path` below `dir`.
fn name_below(dir: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let rest = if dir.is_empty() {
        path
    } else {
        path.strip_prefix(dir)?.strip_prefix(b"/")?
    };
    let name = rest.split(|byte| *byte == b'/').next()?;
    (!name.is_empty() && name != b".").then(|| name.to_vec())
}

/// The position that a name says: decimal digits and nothing else.
fn position(name: &[u8]) -> Option<Seq> {
    let digits = (1..=SEQ_DIGITS_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(name).ok().filter(|_| digits)?;
    text.parse().ok().map(Seq)
}
