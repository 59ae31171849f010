//! `hippofs verify`: is every line whole and is none missing, and is every stored content what its hash says. A mounted log is read through the mount, since its last
//! segment is being written; an unmounted one is read from its files, which also shows damage that readers are spared.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use crate::content;
use crate::daemon::mounts;
use crate::disk::DirStorage;
use crate::event::Seq;
use crate::event::line::{LineError, check, seq_of};
use crate::event_log;

use super::args::VerifyArgs;
use super::client::Root;
use super::error::CliError;
use super::exit::Exit;
use super::human;

/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;
/// Problems shown one by one; a log that has more is beyond reading them.
const PROBLEMS_SHOWN_MAX: usize = 100;

/// What was found, in either way.
#[derive(Debug, Default)]
struct Report {
    events: u64,
    first: Option<Seq>,
    last: Option<Seq>,
    problems: VecDeque<String>,
    problem_count: u64,
    /// Holes that the log itself has said; they are no new damage.
    known: Vec<String>,
    /// Stored contents, where they were looked at.
    objects: Option<u64>,
}

impl Report {
    fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_SHOWN_MAX {
            self.problems.push_back(text);
        }
    }

    /// Problems of contents, of which only the first were told one by one.
    fn content_problems(&mut self, told: impl Iterator<Item = String>, count: u64) {
        let before = self.problem_count;
        told.for_each(|problem| self.problem(format!("content: {problem}")));
        self.problem_count = self.problem_count.max(before + count);
    }
}

pub(super) fn run(args: &VerifyArgs) -> Result<Exit, CliError> {
    let report = match mounted(args)? {
        Some(root) => {
            let mut report = verify_mounted(&root)?;
            ask_for_content(&root, &mut report)?;
            report
        }
        None => {
            let log = log_dir(args)?;
            let mut report = verify_files(&log)?;
            if let Some(state) = log.parent() {
                verify_content(state, &mut report)?;
            }
            report
        }
    };
    print(&report).map_err(CliError::output)?;
    Ok(if report.problem_count == 0 {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// The mount that holds the path, or that serves it as its storage.
fn mounted(args: &VerifyArgs) -> Result<Option<Root>, CliError> {
    if let Some(root) = Root::find(&args.path)? {
        return Ok(Some(root));
    }
    let Ok(storage) = args.path.canonicalize() else {
        return Ok(None);
    };
    let serving = mounts::list().unwrap_or_default().into_iter();
    let mut serving =
        serving.filter(|mount| mount.is_hippofs() && Path::new(&mount.source) == storage);
    match serving.find(|mount| !mount.is_dead()) {
        Some(mount) => Root::find(&mount.mountpoint),
        None => Ok(None),
    }
}

/// The directory of the log's files.
fn log_dir(args: &VerifyArgs) -> Result<PathBuf, CliError> {
    let state = args
        .state_dir
        .clone()
        .unwrap_or_else(|| args.path.join(".hippofs"));
    let log = state.join("log");
    if log.is_dir() {
        return Ok(log);
    }
    let why = format!(
        "neither inside a hippofs mount nor a storage: there is no {}",
        log.display()
    );
    let hint = "give a mounted path or a storage; with --state-dir where its state is";
    Err(CliError::failed(args.path.display().to_string(), why, hint))
}

fn verify_files(log: &Path) -> Result<Report, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::failed(
            log.display().to_string(),
            error.to_string(),
            "be root or the owner; see that its disk is well",
        )
    };
    let dir = open_dir(log).map_err(|error| failed(&error))?;
    let found = event_log::verify(&DirStorage::new(dir)).map_err(|error| failed(&error))?;
    let mut report = Report {
        events: found.events,
        first: found.first,
        last: found.last,
        ..Report::default()
    };
    for problem in found.problems {
        report.problem(problem);
    }
    report.known = found.known;
    Ok(report)
}

/// Lets the daemon check its contents: nobody else gets at them while it is mounted.
fn ask_for_content(root: &Root, report: &mut Report) -> Result<(), CliError> {
    let mut answer = Value::Null;
    root.control()?.ask(&json!({"verify": {}}), |line| {
        answer = serde_json::from_slice(line).unwrap_or_default();
        Ok(())
    })?;
    let Some(objects) = answer["objects"].as_u64() else {
        report.problem(format!("the contents cannot be checked: {answer}"));
        return Ok(());
    };
    report.objects = Some(objects);
    let problems = answer["problems"].as_array().into_iter().flatten();
    report.content_problems(
        problems.map(|problem| problem.as_str().unwrap_or_default().to_owned()),
        answer["problem_count"].as_u64().unwrap_or_default(),
    );
    Ok(())
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Checks every stored content; a state without any is well.
fn verify_content(state: &Path, report: &mut Report) -> Result<(), CliError> {
    let dir = match open_dir(&state.join("content")) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            report.problem(format!("the contents cannot be read: {error}"));
            return Ok(());
        }
    };
    let oldest = report.first.unwrap_or(Seq(1));
    let found = content::verify(&DirStorage::open_readonly(dir), oldest).map_err(|error| {
        let hint = "be root or the owner; see that its disk is well";
        CliError::failed("content", error.to_string(), hint)
    })?;
    report.objects = Some(found.objects);
    report.content_problems(found.problems.into_iter(), found.problem_count);
    Ok(())
}

fn verify_mounted(root: &Root) -> Result<Report, CliError> {
    let path = root.file("events");
    let file = File::open(&path).map_err(CliError::reading(&path))?;
    verify_lines(BufReader::with_capacity(READ_BYTES, file)).map_err(CliError::reading(&path))
}

/// Checks a stream as `.hippofs/events` gives it: lines of the log, and gap lines without a seq where some are gone.
fn verify_lines(mut lines: impl io::BufRead) -> io::Result<Report> {
    let mut report = Report::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(report);
        }
        let after = report.last.map_or(0, |last| last.0);
        match check(&line) {
            Ok(seq) => {
                report.events += 1;
                report.first = report.first.or(Some(seq));
                if seq.0 != after + 1 {
                    report.problem(format!(
                        "after seq {after} comes seq {seq}: some are missing or out of order"
                    ));
                }
                report.last = Some(seq);
            }
            Err(LineError::Checksum) => {
                report.problem(format!("the line after seq {after} fails its checksum"));
                report.last = seq_of(&line).or(report.last);
            }
            Err(LineError::Shape) => match said_gap(&line) {
                Some((from, to, reason)) => {
                    // Events that retention removed are gone by intent.
                    if reason != "retention" {
                        report.problem(format!("seq {from} to {to} cannot be read: {reason}"));
                    }
                    report.last = Some(Seq(to.max(after)));
                }
                None => report.problem(format!("the line after seq {after} is not an event")),
            },
        }
    }
}

/// `from`, `to` and reason of a gap line.
fn said_gap(line: &[u8]) -> Option<(u64, u64, String)> {
    let gap: Value = serde_json::from_slice(line).ok()?;
    let is_gap = gap.get("event_type")? == "gap" && gap.get("seq").is_none();
    let reason = gap.get("reason")?.as_str()?.to_string();
    is_gap.then_some((gap.get("from")?.as_u64()?, gap.get("to")?.as_u64()?, reason))
}

fn print(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for problem in &report.problems {
        writeln!(out, "problem: {}", human::one_line(problem))?;
    }
    for known in report.known.iter().take(PROBLEMS_SHOWN_MAX) {
        writeln!(out, "known: {}", human::one_line(known))?;
    }
    let hidden = report.problem_count - report.problems.len() as u64;
    if hidden > 0 {
        writeln!(out, "problem: and {hidden} more")?;
    }
    let range = match (report.first, report.last) {
        (Some(first), Some(last)) => format!(", seq {first} to {last}"),
        _ => String::new(),
    };
    let verdict = match report.problem_count {
        0 => "no problem".to_string(),
        1 => "1 problem".to_string(),
        count => format!("{count} problems"),
    };
    let objects = match report.objects {
        Some(objects) => format!(", {objects} contents"),
        None => String::new(),
    };
    writeln!(out, "{} events{range}{objects}: {verdict}", report.events)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::line::{body, frame};
    use crate::event::{Event, EventType, Op, Source, Timestamp};

    fn line(seq: u64) -> Vec<u8> {
        let mut text = String::new();
        body(
            &Event::new(EventType::Created, Some(Op::Create), Source::Mount),
            &mut text,
        );
        let mut out = Vec::new();
        frame(Seq(seq), Timestamp(seq), &text, &mut out);
        out
    }

    fn problems(lines: &[Vec<u8>]) -> Vec<String> {
        verify_lines(&*lines.concat()).unwrap().problems.into()
    }

    #[test]
    fn a_whole_log_has_no_problem() {
        let report = verify_lines(&*[line(1), line(2), line(3)].concat()).unwrap();
        assert_eq!(
            (report.events, report.last, report.problem_count),
            (3, Some(Seq(3)), 0)
        );
        let retained = br#"{"event_type":"gap","source":"system","reason":"retention","from":1,"to":6,"detail":"x"}"#;
        assert!(problems(&[[&retained[..], b"\n"].concat(), line(7)]).is_empty());
        assert!(problems(&[]).is_empty());
    }

    #[test]
    fn damage_is_found_where_it_is() {
        let mut flipped = line(2);
        flipped[12] ^= 1;
        assert_eq!(
            problems(&[line(1), flipped, line(3)]),
            ["the line after seq 1 fails its checksum"]
        );
        assert_eq!(problems(&[line(1), line(3)]).len(), 1);
        assert_eq!(problems(&[line(2)]).len(), 1);
        assert_eq!(problems(&[line(1), b"{}\n".to_vec(), line(2)]).len(), 1);
        let hole =
            b"{\"event_type\":\"gap\",\"reason\":\"damaged\",\"from\":2,\"to\":4}\n".to_vec();
        assert_eq!(
            problems(&[line(1), hole, line(5)]),
            ["seq 2 to 4 cannot be read: damaged"]
        );
    }
}
