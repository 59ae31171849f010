//! `hippofs events`: the arguments as one request to the control file, the reply as lines. Following is the same
//! request again and again, each from where the last one ended and each waiting for its first event, so that one
//! road carries selectors, gaps and new events, and none is lost or repeated between asking and following.

use std::io::{self, BufWriter, Write as _};

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::event::Timestamp;

use super::args::EventsArgs;
use super::client::Root;
use super::error::CliError;
use super::exit::Exit;
use super::human;
use super::values::Place;

/// How long one request waits when following: the daemon's limit is ten minutes, and it can be woken any time.
const WAIT_MS: u64 = 300_000;

pub(super) fn run(args: &EventsArgs) -> Result<Exit, CliError> {
    let root = Root::of(&args.path)?;
    let mut control = root.control()?;
    let mut query = query(args);
    if args.last.is_some() && args.glob.is_none() {
        query.extend(
            root.glob_of(&args.path)
                .map(|glob| ("path".into(), glob.into())),
        );
    }
    let place = match &args.consumer {
        Some(name) => Some(root.consumer(name)?),
        None => None,
    };
    if let Some(place) = &place {
        query.insert("since".into(), place.cursor()?.into());
    }
    if args.follow && args.since.is_none() && place.is_none() {
        query.insert("since".into(), root.status()?["head"].clone());
    }
    let mut printer =
        Printer::new(args.json || args.format.as_deref().is_some_and(|f| f != "native"));
    let mut left = args.limit;
    loop {
        if let Some(left) = left {
            query.insert("limit".into(), left.into());
        }
        if args.follow {
            query.insert("wait_ms".into(), WAIT_MS.into());
        }
        let mut count = 0;
        let end = control.events(&query, |line| {
            count += 1;
            printer.line(line)
        })?;
        printer.gap(&end["gap"])?;
        printer.flush()?;
        let next = end["next"].as_u64().unwrap_or_default();
        if let Some(place) = &place {
            place.ack(next)?;
        }
        left = left.map(|left| left.saturating_sub(count));
        // A reply of documents may end before the head; one of events does not.
        let more = args.view.as_deref() == Some("documents")
            && args.debounce.is_none()
            && Some(next) > query.get("since").and_then(Value::as_u64).or(Some(0))
            && Some(next) < end["head"].as_u64();
        if left == Some(0) || is_past(args.until, next) || !(args.follow || more) {
            return Ok(Exit::Success);
        }
        query.insert("since".into(), next.into());
    }
}

/// Whether nothing more can come that `until` lets through.
fn is_past(until: Option<Place>, next: u64) -> bool {
    match until {
        Some(Place::Seq(until)) => next >= until,
        Some(Place::Time(until)) => Timestamp::now() > until,
        None => false,
    }
}

/// The `events` request that the arguments ask for.
fn query(args: &EventsArgs) -> Map<String, Value> {
    let mut query = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            query.insert(key.into(), value);
        }
    };
    let list = |words: Vec<&str>| (!words.is_empty()).then(|| json!(words));
    put("path", args.glob.as_ref().map(|glob| json!(glob)));
    put("uuid", args.uuid.map(|uuid| json!(uuid.to_string())));
    put(
        "event_type",
        list(args.event_type.iter().map(|word| word.word()).collect()),
    );
    put("op", list(args.op.iter().map(|word| word.word()).collect()));
    put(
        "source",
        list(args.source.iter().map(|word| word.word()).collect()),
    );
    put("view", args.view.as_ref().map(|view| json!(view)));
    put(
        "debounce_ms",
        args.debounce.map(|time| json!(time.as_millis() as u64)),
    );
    put("transient", args.transient.then(|| json!(true)));
    put("format", args.format.as_ref().map(|format| json!(format)));
    put("last", args.last.map(|last| json!(last)));
    put("session", args.session.as_ref().map(|name| json!(name)));
    put("pid", args.pid.map(|pid| json!(pid)));
    match args.since {
        Some(Place::Seq(seq)) => put("since", Some(json!(seq))),
        Some(Place::Time(time)) => put("from_time", Some(exact(time))),
        None => {}
    }
    match args.until {
        Some(Place::Seq(seq)) => put("until", Some(json!(seq))),
        Some(Place::Time(time)) => put("to_time", Some(exact(time))),
        None => {}
    }
    query
}

/// A time as text: a JSON number would lose its last digits on the way.
pub(super) fn exact(time: Timestamp) -> Value {
    let text =
        jiff::Timestamp::from_nanosecond(i128::from(time.0)).map(|moment| moment.to_string());
    text.map_or(Value::Null, Value::from)
}

/// Lines to standard output, raw or for people.
pub(super) struct Printer {
    out: BufWriter<io::Stdout>,
    json: bool,
    zone: TimeZone,
}

impl Printer {
    pub(super) fn new(json: bool) -> Printer {
        Printer {
            out: BufWriter::new(io::stdout()),
            json,
            zone: if json {
                TimeZone::UTC
            } else {
                TimeZone::system()
            },
        }
    }

    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), CliError> {
        let written = if self.json {
            self.out.write_all(line)
        } else {
            match serde_json::from_slice(line) {
                Ok(event) => writeln!(self.out, "{}", human::event_line(&event, &self.zone)),
                Err(_) => writeln!(self.out, "{}", human::escape(line.trim_ascii_end())),
            }
        };
        written.map_err(CliError::output)
    }

    /// What is missing from the reply, as a line like those of `.hippofs/events`.
    fn gap(&mut self, gap: &Value) -> Result<(), CliError> {
        let Some(fields) = gap.as_object() else {
            return Ok(());
        };
        let mut line = json!({"event_type": "gap", "source": "system"});
        if let Some(line) = line.as_object_mut() {
            line.extend(fields.clone());
        }
        self.line(format!("{line}\n").as_bytes())
    }

    /// A line of our own, already escaped.
    pub(super) fn say(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{text}").map_err(CliError::output)
    }

    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush().map_err(CliError::output)
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Command};
    use super::*;
    use clap::Parser as _;

    fn request(args: &[&str]) -> String {
        let args = ["hippofs", "events", "/m"].iter().chain(args);
        match Cli::try_parse_from(args).unwrap().command {
            Command::Events(args) => Value::Object(query(&args)).to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_become_selectors() {
        assert_eq!(request(&[]), "{}");
        assert_eq!(
            request(&["--since", "7", "--until", "9"]),
            r#"{"since":7,"until":9}"#
        );
        assert_eq!(
            request(&[
                "--op",
                "write,rename",
                "--type",
                "moved",
                "--session",
                "!self",
                "--path",
                "a/**",
                "--pid",
                "3"
            ]),
            r#"{"path":"a/**","event_type":["moved"],"op":["write","rename"],"session":"!self","pid":3}"#
        );
        assert_eq!(
            request(&["--since", "2026-01-31T12:00:00.123456789Z"]),
            r#"{"from_time":"2026-01-31T12:00:00.123456789Z"}"#
        );
    }
}
