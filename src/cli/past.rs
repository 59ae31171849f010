//! `hippofs log`, `show`, `diff` and `restore`: the past of files, by the requests `versions` and `restore` and the files
//! below `.hippofs/versions/`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::{DiffArgs, LogArgs, RestoreArgs, ShowArgs};
use super::client::Root;
use super::error::CliError;
use super::events::exact;
use super::exit::Exit;
use super::values::Place;
use super::{difference, elsewhere, human};

/// Largest content that is compared: both sides and their differences are held in memory.
const DIFF_BYTES_MAX: u64 = 64 << 20;

/// A place in a live mount.
pub(super) struct Document {
    given: PathBuf,
    pub(super) root: Root,
    /// Below the mount's root.
    pub(super) path: PathBuf,
}

impl Document {
    fn of(given: &Path) -> Result<Document, CliError> {
        let (root, path) = Root::of_entry(given)?;
        Ok(Document {
            given: given.to_path_buf(),
            root,
            path,
        })
    }

    pub(super) fn name(&self) -> String {
        let name = self.path.to_string_lossy();
        if name.is_empty() {
            ".".into()
        } else {
            name.into_owned()
        }
    }

    /// Asks and gives each line of the reply but its last, which is returned.
    pub(super) fn ask(
        &self,
        request: &Value,
        mut each: impl FnMut(&Value) -> Result<(), CliError>,
    ) -> Result<Value, CliError> {
        let mut last = Value::Null;
        self.root.control()?.ask(request, |line| {
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            let before = std::mem::replace(&mut last, line);
            if before.is_null() {
                Ok(())
            } else {
                each(&before)
            }
        })?;
        match last.get("error") {
            None if last.is_null() => {
                Err(self.failed("the reply ended too early", "see the daemon's messages"))
            }
            None => Ok(last),
            Some(error) => Err(self.failed(
                error["message"].as_str().unwrap_or("?"),
                error["hint"].as_str().unwrap_or("?"),
            )),
        }
    }

    fn failed(&self, why: &str, hint: &str) -> CliError {
        CliError::failed(self.given.display().to_string(), why, hint)
    }

    /// The position of a place in time.
    fn position(&self, place: Place) -> Result<u64, CliError> {
        let Place::Time(time) = place else {
            let Place::Seq(seq) = place else {
                unreachable!("a place is one of two")
            };
            return Ok(seq);
        };
        let mut at = 0;
        let query = json!({"events": {"to_time": exact(time), "last": 1}});
        self.root.control()?.ask(&query, |line| {
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            at = line["seq"].as_u64().unwrap_or(at);
            Ok(())
        })?;
        Ok(at)
    }

    /// Opens the content as of `place`.
    fn open(&self, place: Place) -> Result<(u64, File), CliError> {
        let seq = self.position(place)?;
        let file = self
            .root
            .file("versions")
            .join(&self.path)
            .join(seq.to_string());
        match File::open(&file) {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => Ok((seq, file)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CliError::reading(&file)(error))
            }
            Ok(_) | Err(_) => {
                let hint = format!("see `hippofs log {}`", self.given.display());
                let why = format!("there is no content of it as of event {seq}");
                Err(self.failed(&why, &hint))
            }
        }
    }
}

pub(super) fn log(args: &LogArgs) -> Result<Exit, CliError> {
    let document = Document::of(&args.path)?;
    let mut lines = Vec::new();
    let query = json!({"versions": {"path": document.name(), "all": args.all}});
    let last = document.ask(&query, |line| {
        lines.push(line.clone());
        Ok(())
    })?;
    if lines.is_empty() && last["gap"].is_null() && !args.path.exists() {
        let hint = "see the spelling, or `hippofs events` for what happened to others";
        return Err(document.failed("the log knows no such file", hint));
    }
    let zone = TimeZone::system();
    let mut out = io::BufWriter::new(io::stdout());
    // Newest first, as people look for what was last.
    for line in lines.iter().rev().take(args.limit.unwrap_or(usize::MAX)) {
        let text = if args.json {
            line.to_string()
        } else {
            human::version_line(line, &zone)
        };
        writeln!(out, "{text}").map_err(CliError::output)?;
    }
    if !last["gap"].is_null() && !args.json {
        writeln!(out, "(older events are no longer in the log)").map_err(CliError::output)?;
    }
    out.flush().map_err(CliError::output)?;
    Ok(Exit::Success)
}

pub(super) fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let (_, mut file) = Document::of(&args.path)?.open(args.at)?;
    let mut stdout = io::stdout();
    io::copy(&mut file, &mut stdout)
        .and_then(|_| stdout.flush())
        .map_err(CliError::output)?;
    Ok(Exit::Success)
}

pub(super) fn diff(args: &DiffArgs) -> Result<Exit, CliError> {
    let document = Document::of(&args.path)?;
    let name = human::escape(document.name().as_bytes());
    let side = |(seq, file): (u64, File)| -> Result<difference::Side, CliError> {
        Ok(difference::Side {
            label: format!("{name}\tevent {seq}"),
            bytes: read(&document, file)?,
        })
    };
    let old = side(document.open(args.at)?)?;
    let new = match args.to {
        Some(to) => side(document.open(to)?)?,
        None => {
            let now = document.root.path().join(&document.path);
            let file = File::open(&now).map_err(CliError::reading(&now))?;
            difference::Side {
                label: format!("{name}\tnow"),
                bytes: read(&document, file)?,
            }
        }
    };
    let differ = old.bytes != new.bytes;
    let text = difference::unified(&old, &new, args.raw);
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(CliError::output)?;
    Ok(if args.exit_code && differ {
        Exit::Failure
    } else {
        Exit::Success
    })
}

fn read(document: &Document, file: File) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    file.take(DIFF_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(CliError::reading(&document.given))?;
    if bytes.len() as u64 > DIFF_BYTES_MAX {
        let hint = "write both with `hippofs show` and compare them with a tool for large files";
        return Err(document.failed("it is too large to compare", hint));
    }
    Ok(bytes)
}

pub(super) fn restore(args: &RestoreArgs) -> Result<Exit, CliError> {
    let document = Document::of(&args.path)?;
    let at = document.position(args.at)?;
    if let Some(to) = &args.to {
        return elsewhere::write(&document, at, to);
    }
    let progress = io::stderr().is_terminal() && !args.json;
    let mut count = 0_u64;
    let mut out = io::BufWriter::new(io::stdout());
    let query = json!({"restore": {
        "path": document.name(), "at": at, "dry_run": args.dry_run, "delete": args.delete,
    }});
    let done = document.ask(&query, |line| {
        count += 1;
        if progress && count.is_multiple_of(100) {
            eprint!("\r{count} entries");
        }
        match (args.json, args.dry_run) {
            (true, _) => writeln!(out, "{line}").map_err(CliError::output),
            (false, true) => {
                let path = human::escape(line["path"].as_str().unwrap_or_default().as_bytes());
                let action = line["action"].as_str().unwrap_or_default();
                writeln!(out, "{action}  {path}").map_err(CliError::output)
            }
            (false, false) => Ok(()),
        }
    })?;
    if progress && count >= 100 {
        eprint!("\r");
    }
    let number = |key: &str| done[key].as_u64().unwrap_or_default();
    let text = if args.json {
        done.to_string()
    } else {
        format!(
            "{}: {} put back, {} removed, {} as they were, as of event {at}{}",
            args.path.display(),
            number("restored"),
            number("removed"),
            number("unchanged"),
            if args.dry_run {
                " (nothing was done)"
            } else {
                ""
            }
        )
    };
    writeln!(out, "{}", human::one_line(&text))
        .and_then(|()| out.flush())
        .map_err(CliError::output)?;
    Ok(Exit::Success)
}
