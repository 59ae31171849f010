//! Is every object what its hash says. Reads every pack; may run beside a daemon that writes the newest one.

use std::collections::HashSet;

use super::ContentError;
use super::format::{Hash, Header, Kind, pieces, read_names};
use super::pack::{pack_id, pack_name};
use super::recovery::{missing, read_derived, scan};
use super::store::{Content, fill};
use super::sync::NAMES;
use crate::disk::Storage;
use crate::event::Seq;

/// Problems that are told one by one.
const PROBLEMS_MAX: usize = 1000;

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VerifyReport {
    /// Records that are what their hash says.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is not as it should be, the first of them.
    pub problems: Vec<String>,
    /// How many there are.
    pub problem_count: u64,
}

/// What was read so far.
#[derive(Default)]
struct Seen {
    whole: HashSet<Hash>,
    /// The large objects: pack, hash and pieces.
    lists: Vec<(u32, Hash, Vec<Hash>)>,
}

impl VerifyReport {
    fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}

impl Content {
    /// Checks all contents.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn verify(&self, oldest: Seq) -> Result<VerifyReport, ContentError> {
        verify(&*self.shared.storage, oldest)
    }
}

/// Checks all contents in `storage`, which are to be there for the events from `oldest` on.
///
/// # Errors
/// [`ContentError::Io`] when the directory cannot be read; a pack that cannot be read is a problem.
pub fn verify(storage: &dyn Storage, oldest: Seq) -> Result<VerifyReport, ContentError> {
    let what = "list of the packs";
    let names = storage.names().map_err(ContentError::io(what))?;
    let mut ids: Vec<u32> = names.iter().filter_map(|name| pack_id(name)).collect();
    ids.sort_unstable();
    let newest = ids.last().copied();
    let mut report = VerifyReport::default();
    let mut seen = Seen::default();
    let named = read_derived(storage, NAMES).and_then(|bytes| read_names(&bytes));
    for (id, seq) in missing(&named.unwrap_or_default().1, &ids) {
        if seq >= oldest {
            report.problem(format!(
                "pack {id}, which events up to {seq} name, is missing"
            ));
        }
    }
    for id in ids {
        match read(storage, id) {
            Ok(pack) => check(id, &pack, Some(id) == newest, &mut report, &mut seen),
            // Retention may have taken it since the names were read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => report.problem(format!("pack {id} cannot be read: {error}")),
        }
    }
    for (id, hash, wanted) in seen.lists {
        let missing = wanted
            .iter()
            .filter(|piece| !seen.whole.contains(*piece))
            .count();
        if missing > 0 {
            let shown = super::pack::shown(&hash);
            report.problem(format!("pack {id}: {shown} lacks {missing} of its pieces"));
        }
    }
    Ok(report)
}

fn read(storage: &dyn Storage, id: u32) -> std::io::Result<Vec<u8>> {
    let file = storage.open(&pack_name(id))?;
    let mut pack = vec![0; usize::try_from(file.bytes()?).unwrap_or(usize::MAX)];
    let read = fill(&*file, &mut pack, 0)?;
    pack.truncate(read);
    Ok(pack)
}

fn check(id: u32, pack: &[u8], is_newest: bool, report: &mut VerifyReport, seen: &mut Seen) {
    let scanned = scan(pack);
    for entry in &scanned.entries {
        let record = &pack[entry.offset as usize..];
        let Some(header) = Header::read(record) else {
            continue;
        };
        let Some(payload) = header.payload(record) else {
            continue;
        };
        let right = match header.kind {
            Kind::Whole => blake3::hash(payload).as_bytes() == &header.hash,
            Kind::Manifest => match pieces(payload) {
                Some(wanted) => {
                    seen.lists.push((id, header.hash, wanted));
                    true
                }
                None => false,
            },
        };
        if right {
            seen.whole.insert(header.hash);
            report.objects += 1;
            report.bytes += header.record_bytes() as u64;
        } else {
            report.problem(format!(
                "pack {id} at byte {}: other bytes than its hash",
                entry.offset
            ));
        }
    }
    if scanned.damaged > 0 {
        report.problem(format!("pack {id} has {} damaged places", scanned.damaged));
    }
    let rest = pack.get(scanned.end as usize..).unwrap_or_default();
    if !is_newest && rest.iter().any(|byte| *byte != 0) {
        report.problem(format!(
            "pack {id} ends in {} bytes that are no record",
            rest.len()
        ));
    }
}
