//! `hippofs report`: a period of the log as one HTML page.
//!
//! One pass over the events ([`tally`], [`timeline`]), drawn as SVG ([`svg`]) in a page ([`page`]) that is written whole
//! or not at all ([`output`]). The period ends at the newest event when the work begins, so that it ends.

mod output;
mod page;
mod svg;
mod tally;
mod timeline;

use std::io::{IsTerminal as _, stderr};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::args::ReportArgs;
use super::client::Root;
use super::error::CliError;
use super::events::exact;
use super::exit::Exit;
use super::human;
use crate::event::Timestamp;
use output::Output;
use page::Page;
use tally::Tally;

pub(super) fn run(args: &ReportArgs) -> Result<Exit, CliError> {
    let root = Root::of(&args.path)?;
    let output = Output::at(&args.output)?;
    let status = root.status()?;
    let head = status["head"].as_u64().unwrap_or_default();
    check(args, head)?;
    let zone = TimeZone::system();
    let tally = count(args, &root, head)?;
    let page = Page {
        tally: &tally,
        status: &status,
        period: &period(args, &zone),
        made: seconds(Timestamp::now()),
        zone: &zone,
    };
    output.write(page.html().as_bytes())?;
    Ok(Exit::Success)
}

fn seconds(time: Timestamp) -> f64 {
    (time.0 / 1000) as f64 / 1e6
}

/// Whether there can be such a period.
fn check(args: &ReportArgs, head: u64) -> Result<(), CliError> {
    if let Some(since) = args.since
        && since > head
    {
        let why = format!("{since} lies past the newest event, {head}");
        return Err(CliError::failed("--since", why, "give an earlier one"));
    }
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from.0 >= to.0
    {
        let why = "the period ends before it begins";
        return Err(CliError::failed("--from", why, "give an earlier time"));
    }
    Ok(())
}

fn count(args: &ReportArgs, root: &Root, head: u64) -> Result<Tally, CliError> {
    const PROGRESS_EVERY: u64 = 10_000;
    let mut query = Map::new();
    let mut put = |key: &str, value: Value| query.insert(key.into(), value);
    put("until", head.into());
    if let Some(since) = args.since {
        put("since", since.into());
    }
    if let Some(from) = args.from {
        put("from_time", exact(from));
    }
    if let Some(to) = args.to {
        put("to_time", exact(to));
    }
    let mut tally = Tally::new();
    let progress = stderr().is_terminal();
    let mut lines = 0_u64;
    let end = root.control()?.events(&query, |line| {
        tally.line(line);
        lines += 1;
        if progress && lines.is_multiple_of(PROGRESS_EVERY) {
            eprint!("\r{lines} events");
        }
        Ok(())
    })?;
    if progress && lines >= PROGRESS_EVERY {
        eprintln!();
    }
    let gap = &end["gap"];
    if let (Some(from), Some(to)) = (gap["from"].as_u64(), gap["to"].as_u64()) {
        let said = |key: &str| gap[key].as_str().unwrap_or("?");
        tally.missing(from, to, &format!("{}: {}", said("reason"), said("detail")));
    }
    // The timeline is of the period that was asked for, and nothing has happened yet after now.
    if let Some(from) = args.from {
        tally.timeline.cover(from.0 / 1_000_000);
        let to = args
            .to
            .map_or(Timestamp::now().0, |to| to.0.min(Timestamp::now().0));
        tally.timeline.cover(to.max(from.0) / 1_000_000);
    }
    Ok(tally)
}

/// What was asked for, in words.
fn period(args: &ReportArgs, zone: &TimeZone) -> String {
    let time =
        |time: Timestamp| human::local_time(seconds(time), zone).unwrap_or_else(|| "?".into());
    let mut parts = Vec::new();
    parts.extend(args.since.map(|since| format!("after event {since}")));
    parts.extend(args.from.map(|from| format!("from {}", time(from))));
    parts.extend(args.to.map(|to| format!("up to {}", time(to))));
    if parts.is_empty() {
        return "Everything the log holds".into();
    }
    format!("Events {}", parts.join(", "))
}
