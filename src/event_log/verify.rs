//! Looks at a log without changing anything: for an owner who wants to know whether it is whole.

use super::error::LogError;
use super::recovery::{Survey, survey};
use crate::disk::Storage;
use crate::event::Seq;

/// Times a log is read again when its tail is not whole: a daemon may just be appending.
const TRIES_MAX: u32 = 3;

/// What was found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// Segments.
    pub segments: u64,
    /// Good events.
    pub events: u64,
    /// Position of the first good event; `None` when there is none.
    pub first: Option<Seq>,
    /// Position of the last good event.
    pub last: Option<Seq>,
    /// What is wrong, one sentence each; empty when the log is whole.
    pub problems: Vec<String>,
    /// Losses that the log itself tells of in gap events.
    pub known: Vec<String>,
}

/// Reads the whole log and checks every line. A daemon may be appending meanwhile.
///
/// # Errors
/// [`LogError::Io`] when a storage call fails.
pub fn verify(storage: &dyn Storage) -> Result<VerifyReport, LogError> {
    let mut found = survey(storage)?;
    for _ in 1..TRIES_MAX {
        let torn = found.found.last().is_some_and(|s| s.scan.tail_bytes > 0);
        if !torn {
            break;
        }
        found = survey(storage)?;
    }
    Ok(report(&found))
}

fn report(survey: &Survey) -> VerifyReport {
    let runs = || survey.found.iter().flat_map(|s| &s.scan.runs);
    let mut report = VerifyReport {
        segments: survey.found.len() as u64,
        events: survey.found.iter().map(|s| s.scan.events).sum(),
        first: runs().next().map(|run| run.first),
        last: runs().last().map(|run| run.last()),
        ..VerifyReport::default()
    };
    for one in &survey.found {
        let name = &one.segment.name;
        let (bad, tail) = (one.scan.bad_bytes, one.scan.tail_bytes);
        if tail > 0 {
            let problem = format!("{name}: {tail} bytes at its end are not whole events");
            report.problems.push(problem);
        }
        if bad > 0 {
            let problem = format!("{name}: {bad} damaged bytes between events");
            report.problems.push(problem);
        }
    }
    for (from, to, told) in &survey.holes {
        let text = format!("events {from} to {to} are damaged or missing");
        if *told {
            report.known.push(text);
        } else {
            report.problems.push(text);
        }
    }
    let foreign = |name| format!("{name} is not part of the log");
    report.problems.extend(survey.foreign.iter().map(foreign));
    report
}
