//! Opening a log: what is accepted, what is cut, what is kept as damage. The rule, by name:
//!
//! * **Good** is what `scan` says: whole, checked, in order. Good lines are never touched.
//! * **Torn tail**: after the last good line of the last segment that is not blank, anything that is not zero is an
//!   append that was not finished. It is cut. When whole but bad lines there claim positions, those positions are
//!   not given again: a reader may have seen them.
//! * **Damage**: bad bytes with a good line, or a later segment, after them. They are kept as they are, for whoever
//!   may want to mend them; their positions are a hole.
//! * **Missing segment**: a hole from the last good position to where the next segment begins.
//! * **Blank segment**: a file of zeros is room that was never used; only the last one is kept.
//!
//! Every hole is handed to the caller as a gap event, unless an earlier gap event in the log tells of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::LogError;
use super::scan::{Scan, leading_zeros, scan};
use super::segment::{CLEAN_NAME, Map, Run, SPARE_NAME, Segment, segment_first, segment_name};
use crate::disk::{Storage, StoredFile};
use crate::event::{Event, GapReason, Seq, Timestamp};

/// Bytes read at a time to see whether a file is blank.
const BLANK_CHECK_BYTES: usize = 256 * 1024;

/// What opening found.
#[derive(Clone, Default, Debug)]
pub struct Recovery {
    /// The log was closed in order, or there was none.
    pub clean: bool,
    /// Position of the newest event kept.
    pub head: Seq,
    /// Sentences for a person.
    pub notes: Vec<String>,
    /// Gap events that the caller must record.
    pub gaps: Vec<Event>,
}

/// One segment as found.
pub(super) struct Surveyed {
    pub(super) segment: Arc<Segment>,
    pub(super) scan: Scan,
}

/// A log directory as found; nothing is changed by looking.
pub(super) struct Survey {
    /// Segments with content, and the blank last one where there is one.
    pub(super) found: Vec<Surveyed>,
    /// Blank segments that are not the last.
    pub(super) stray: Vec<String>,
    /// Names that are not the log's.
    pub(super) foreign: Vec<String>,
    pub(super) spare: bool,
    pub(super) clean: bool,
    /// Lost positions, first and last, and whether the log tells of them.
    pub(super) holes: Vec<(Seq, Seq, bool)>,
    pub(super) newest: Timestamp,
}

impl Survey {
    /// The last position that is good or that a segment's name says was given.
    pub(super) fn last(&self) -> Seq {
        let last = |s: &Surveyed| {
            let named = Seq(s.segment.first.0 - 1);
            s.scan.last().map_or(named, |seq| seq.max(named))
        };
        self.found.last().map(last).unwrap_or_default()
    }
}

/// Reads the whole log.
pub(super) fn survey(storage: &dyn Storage) -> Result<Survey, LogError> {
    let mut firsts = Vec::new();
    let mut survey = Survey {
        found: Vec::new(),
        stray: Vec::new(),
        foreign: Vec::new(),
        spare: false,
        clean: false,
        holes: Vec::new(),
        newest: Timestamp::default(),
    };
    for name in storage
        .names()
        .map_err(LogError::io("list of the log directory"))?
    {
        match (name.as_str(), segment_first(&name)) {
            (_, Some(first)) => firsts.push(first),
            (SPARE_NAME, None) => survey.spare = true,
            (CLEAN_NAME, None) => survey.clean = true,
            (_, None) => survey.foreign.push(name),
        }
    }
    firsts.sort_unstable();
    let mut written = Vec::new();
    let mut blank = Vec::new();
    for first in firsts {
        match open_segment(storage, first)? {
            None => {}
            Some(file) if is_blank(&*file).map_err(READ)? => blank.push(first),
            Some(_) => written.push(first),
        }
    }
    for (at, first) in written.iter().enumerate() {
        let floor = survey.last();
        survey.look_at(storage, *first, floor, written.get(at + 1).copied())?;
    }
    let unused = blank.pop_if(|first| survey.found.is_empty() || *first > survey.last());
    survey.stray = blank.into_iter().map(segment_name).collect();
    if let Some(first) = unused {
        let floor = survey.last();
        survey.look_at(storage, first, floor, None)?;
    }
    survey.find_holes();
    Ok(survey)
}

const READ: fn(io::Error) -> LogError = |source| LogError::Io {
    what: "read of a segment",
    source,
};

/// The file, `None` when retention has removed it since it was listed.
fn open_segment(
    storage: &dyn Storage,
    first: Seq,
) -> Result<Option<Arc<dyn StoredFile>>, LogError> {
    match storage.open(&segment_name(first)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("open of a segment")(error)),
    }
}

pub(super) fn is_blank(file: &dyn StoredFile) -> io::Result<bool> {
    let mut buffer = vec![0; BLANK_CHECK_BYTES];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(true);
        }
        if leading_zeros(&buffer[..read]) < read {
            return Ok(false);
        }
        offset += read as u64;
    }
}

impl Survey {
    fn look_at(
        &mut self,
        storage: &dyn Storage,
        first: Seq,
        floor: Seq,
        ceiling: Option<Seq>,
    ) -> Result<(), LogError> {
        let Some(file) = open_segment(storage, first)? else {
            return Ok(());
        };
        let segment = Arc::new(Segment::new(first, 0, Timestamp::default()));
        let scan = scan(&segment, &*file, floor, ceiling).map_err(READ)?;
        self.newest = self.newest.max(scan.newest);
        self.found.push(Surveyed { segment, scan });
        Ok(())
    }

    fn find_holes(&mut self) {
        let said: Vec<(Seq, Seq)> = self
            .found
            .iter()
            .flat_map(|s| s.scan.said.iter().copied())
            .collect();
        let Some(oldest) = self.found.first() else {
            return;
        };
        let mut expected = oldest.segment.first;
        for one in &self.found {
            let firsts_lasts = one.scan.runs.iter().map(|run| (run.first, run.last()));
            let blank = one.scan.runs.is_empty().then(|| {
                let first = one.segment.first.max(expected);
                (first, Seq(first.0 - 1))
            });
            for (first, last) in firsts_lasts.chain(blank) {
                if first > expected {
                    let (from, to) = (expected, Seq(first.0 - 1));
                    let told = said.iter().any(|(f, t)| *f <= from && to <= *t);
                    self.holes.push((from, to, told));
                }
                expected = last.next();
            }
        }
    }
}

/// A log made ready for writing.
pub(super) struct Opened {
    pub(super) map: Map,
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) run: Arc<Run>,
    pub(super) bytes: u64,
    pub(super) head: Seq,
    pub(super) newest: Timestamp,
    pub(super) spare: bool,
    pub(super) recovery: Recovery,
}

/// Applies the rule.
pub(super) fn open(storage: &dyn Storage) -> Result<Opened, LogError> {
    let survey = survey(storage)?;
    let mut recovery = Recovery {
        clean: survey.clean || survey.found.is_empty(),
        ..Recovery::default()
    };
    if survey.clean {
        storage
            .remove(CLEAN_NAME)
            .map_err(LogError::io("removal of the clean marker"))?;
    }
    for name in &survey.stray {
        recovery
            .notes
            .push(format!("{name} is blank and was removed"));
        storage
            .remove(name)
            .map_err(LogError::io("removal of a blank segment"))?;
    }
    let foreign = |name| format!("{name} is not part of the log and was left alone");
    recovery.notes.extend(survey.foreign.iter().map(foreign));
    let mut head = survey.last();
    let first = survey.found.last().map(|s| s.segment.first);
    let file = match first {
        Some(first) => storage.open(&segment_name(first)),
        None => storage.create(&segment_name(Seq(1))),
    }
    .map_err(LogError::io("open of the last segment"))?;
    if let Some(last) = survey.found.last() {
        head = cut_torn_tail(last, &*file, head, &mut recovery)?;
    }
    tell_damage(&survey, &mut recovery);
    if !recovery.clean {
        let detail =
            "the log was not closed in order; operations that were under way may be unrecorded";
        recovery
            .gaps
            .push(Event::gap(GapReason::Crash, None, detail));
    }
    settle(storage, &survey, recovery.clean)?;
    recovery.head = head;
    let mut map = Map::default();
    for one in &survey.found {
        let newest = one.scan.newest.0;
        one.segment.newest.store(newest, Ordering::Release);
        map.segments.push_back(Arc::clone(&one.segment));
        map.runs.extend(one.scan.runs.iter().cloned());
    }
    let (run, bytes) = match survey.found.last() {
        None => (
            map.push_active(&Arc::new(Segment::new(Seq(1), 0, survey.newest))),
            0,
        ),
        Some(last) => (continue_run(&mut map, last, head), last.scan.end),
    };
    run.segment.share(&file);
    Ok(Opened {
        map,
        file,
        run,
        bytes,
        head,
        newest: survey.newest,
        spare: survey.spare,
        recovery,
    })
}

/// The run that the next line belongs to.
fn continue_run(map: &mut Map, last: &Surveyed, head: Seq) -> Arc<Run> {
    if let Some(run) = last.scan.runs.last()
        && run.last() == head
    {
        return Arc::clone(run);
    }
    let segment = Arc::clone(&last.segment);
    let run = Arc::new(Run::empty(segment, head.next(), last.scan.end));
    map.runs.push_back(Arc::clone(&run));
    run
}

/// The torn-tail rule; gives the head.
fn cut_torn_tail(
    last: &Surveyed,
    file: &dyn StoredFile,
    head: Seq,
    recovery: &mut Recovery,
) -> Result<Seq, LogError> {
    let scan = &last.scan;
    if scan.tail_bytes == 0 {
        return Ok(head);
    }
    file.truncate(scan.end)
        .map_err(LogError::io("cut of a torn tail"))?;
    let range = scan.tail_claims.map(|to| (head.next(), to));
    let detail = format!(
        "{}: {} bytes after event {head} were not whole events and were cut",
        last.segment.name, scan.tail_bytes
    );
    recovery.notes.push(detail.clone());
    recovery
        .gaps
        .push(Event::gap(GapReason::Torn, range, detail));
    Ok(scan.tail_claims.map_or(head, |claimed| claimed.max(head)))
}

fn tell_damage(survey: &Survey, recovery: &mut Recovery) {
    for one in &survey.found {
        if one.scan.bad_bytes > 0 {
            let (name, bytes) = (&one.segment.name, one.scan.bad_bytes);
            let note = format!("{name}: {bytes} damaged bytes between events were kept");
            recovery.notes.push(note);
        }
    }
    for (from, to, told) in &survey.holes {
        if *told {
            continue;
        }
        let detail = format!("events {from} to {to} are damaged or missing in the log");
        recovery.notes.push(detail.clone());
        let range = Some((*from, *to));
        recovery
            .gaps
            .push(Event::gap(GapReason::Damaged, range, detail));
    }
}

/// Cuts blank tails of sealed segments, and makes durable what an earlier process may have left unsynced.
fn settle(storage: &dyn Storage, survey: &Survey, clean: bool) -> Result<(), LogError> {
    let sealed = survey.found.len().saturating_sub(1);
    for (at, one) in survey.found.iter().enumerate() {
        let blank_tail =
            at < sealed && one.scan.tail_bytes == 0 && one.scan.file_bytes > one.scan.end;
        if clean && !blank_tail {
            continue;
        }
        let file = one.segment.file(storage).map_err(READ)?;
        if blank_tail && let Err(error) = file.truncate(one.scan.end) {
            log::warn!(
                "event log: {} keeps its blank tail: {error}",
                one.segment.name
            );
        }
        file.sync().map_err(LogError::io("sync of a segment"))?;
    }
    storage
        .sync()
        .map_err(LogError::io("sync of the log directory"))
}
