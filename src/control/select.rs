//! Selectors against lines of the log: a sift of the raw bytes first, a parse only where the bytes cannot decide.
//!
//! All lines are written by one format, in which a quote inside a text is escaped. So `"op":"write"` stands in a line
//! only as a field, with one exception: the free data of a mark. Marks are therefore parsed, and so is a line whose
//! paths are escaped or encoded; everything else is decided by the bytes.

use memchr::memmem::Finder;
use serde_json::Value;

use crate::event::line::{path_bytes, quote};
use crate::event::{EventType, Op, Source, Timestamp};

use super::error::Reject;
use super::glob::PathGlob;

/// What an event must be. `None` is anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Selectors {
    pub(super) path: Option<PathGlob>,
    pub(super) uuid: Option<uuid::Uuid>,
    pub(super) event_types: Option<Vec<EventType>>,
    pub(super) ops: Option<Vec<Op>>,
    pub(super) sources: Option<Vec<Source>>,
    pub(super) session: Option<Session>,
    pub(super) pid: Option<u32>,
    /// The first moment, inclusive.
    pub(super) from_time: Option<Timestamp>,
    /// The last moment, inclusive.
    pub(super) to_time: Option<Timestamp>,
}

/// Whose events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Session {
    /// Of this session.
    Is(String),
    /// Not of this session; also those of no session.
    IsNot(String),
    /// Not of the session that asks.
    NotOwn,
}

/// What is to be done with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It matches.
    Take,
    /// It does not.
    Skip,
    /// It does not, and no later line will.
    Past,
}

/// Selectors made ready.
pub(super) struct Filter {
    selectors: Selectors,
    /// One text of each list stands in every matching line.
    sieves: Vec<Vec<Finder<'static>>>,
    /// Stands in no matching line but a mark.
    excluded: Option<Finder<'static>>,
}

impl Filter {
    /// Makes selectors ready for a caller.
    ///
    /// # Errors
    /// `!self` from a caller that has no session.
    pub(super) fn new(mut selectors: Selectors, own: Option<&str>) -> Result<Filter, Reject> {
        if selectors.session == Some(Session::NotOwn) {
            let Some(own) = own else {
                return Err(Reject::new(
                    "no_session",
                    "`!self` needs a session, and the caller has none",
                    "set HIPPOFS_SESSION in the environment of the program before it starts",
                ));
            };
            selectors.session = Some(Session::IsNot(own.to_owned()));
        }
        let sieves = sieves(&selectors);
        let excluded = match &selectors.session {
            Some(Session::IsNot(name)) => Some(finder(&field("session", name))),
            _ => None,
        };
        Ok(Filter {
            selectors,
            sieves,
            excluded,
        })
    }

    /// Whether every line matches.
    pub(super) fn takes_all(&self) -> bool {
        let bounded = self.selectors.from_time.is_some() || self.selectors.to_time.is_some();
        self.sieves.is_empty()
            && self.excluded.is_none()
            && !bounded
            && self.selectors.path.is_none()
    }

    /// The first moment asked for.
    pub(super) fn start(&self) -> Option<Timestamp> {
        self.selectors.from_time
    }

    /// The lines of `lines` that may match, each with its verdict; those that are left out are to be skipped. Where
    /// every match holds a certain text, this looks for that text alone and at whole lines only where it stands.
    pub(super) fn sift<'a>(&'a self, lines: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Verdict)> {
        // With an end in time each line counts: the first one past it ends the search.
        let bounded = self.selectors.to_time.is_some();
        let certain = match self.sieves.first().map(Vec::as_slice) {
            Some([text]) if !bounded => Some(text),
            _ => None,
        };
        let mut rest = lines;
        std::iter::from_fn(move || {
            let at = match certain {
                Some(text) => text.find(rest)?,
                None => (!rest.is_empty()).then_some(0)?,
            };
            let begin = memchr::memrchr(b'\n', &rest[..at]).map_or(0, |newline| newline + 1);
            let end = memchr::memchr(b'\n', &rest[at..]).map_or(rest.len(), |past| at + past + 1);
            let line = &rest[begin..end];
            rest = &rest[end..];
            Some((
                line,
                self.judge_by(line, &self.sieves[usize::from(certain.is_some())..]),
            ))
        })
    }

    /// Judges one line of the log.
    pub(super) fn judge(&self, line: &[u8]) -> Verdict {
        self.judge_by(line, &self.sieves)
    }

    /// The same with those of the sieves that have not been tried.
    fn judge_by(&self, line: &[u8], sieves: &[Vec<Finder<'static>>]) -> Verdict {
        let Some((time, rest)) = time_text(line) else {
            return Verdict::Skip;
        };
        if self.selectors.from_time.is_some() || self.selectors.to_time.is_some() {
            let Some(time) = parse_time(time) else {
                return Verdict::Skip;
            };
            if self.selectors.to_time.is_some_and(|to| time > to) {
                return Verdict::Past;
            }
            if self.selectors.from_time.is_some_and(|from| time < from) {
                return Verdict::Skip;
            }
        }
        let sifted = |sieve: &Vec<Finder<'static>>| sieve.iter().any(|f| f.find(rest).is_some());
        if !sieves.iter().all(sifted) {
            return Verdict::Skip;
        }
        let mark = rest.starts_with(b"\"event_type\":\"mark\"");
        let excluded = self.excluded.as_ref();
        if !mark && excluded.is_some_and(|f| f.find(rest).is_some()) {
            return Verdict::Skip;
        }
        let parsed = |selectors: &Selectors| selectors.match_line(line);
        let matches = match &self.selectors.path {
            _ if mark => parsed(&self.selectors),
            None => true,
            // By the bytes everything but the path has been found to match.
            Some(glob) => match plain_paths(rest) {
                Some((src, dest)) => {
                    glob.matches(src) || dest.is_some_and(|dest| glob.matches(dest))
                }
                None => parsed(&self.selectors),
            },
        };
        if matches {
            Verdict::Take
        } else {
            Verdict::Skip
        }
    }
}

/// For each selector that a text can sift by: the texts of which one must stand in the line.
fn sieves(selectors: &Selectors) -> Vec<Vec<Finder<'static>>> {
    fn of(key: &str, words: impl Iterator<Item = &'static str>) -> Vec<Finder<'static>> {
        words.map(|word| finder(&field(key, word))).collect()
    }
    let mut sieves = Vec::new();
    // The rarest first: most lines fall at the first one.
    if let Some(uuid) = selectors.uuid {
        sieves.push(vec![finder(&field("uuid", &uuid.to_string()))]);
    }
    if let Some(path) = selectors
        .path
        .as_ref()
        .filter(|path| !path.literal().is_empty())
    {
        sieves.push(vec![finder(path.literal())]);
    }
    if let Some(pid) = selectors.pid {
        sieves.push(vec![finder(&format!("\"pid\":{pid},"))]);
    }
    if let Some(Session::Is(name)) = &selectors.session {
        sieves.push(vec![finder(&field("session", name))]);
    }
    if let Some(ops) = &selectors.ops {
        sieves.push(of("op", ops.iter().map(|word| word.word())));
    }
    if let Some(types) = &selectors.event_types {
        sieves.push(of("event_type", types.iter().map(|word| word.word())));
    }
    if let Some(sources) = &selectors.sources {
        sieves.push(of("source", sources.iter().map(|word| word.word())));
    }
    sieves
}

fn finder(text: &str) -> Finder<'static> {
    Finder::new(text.as_bytes()).into_owned()
}

/// A text field as the log writes it.
fn field(key: &str, value: &str) -> String {
    let mut text = format!("\"{key}\":");
    quote(value, &mut text);
    text
}

/// The time of a line and what stands after it; `None` for what is no line of the log.
pub(super) fn split_time(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (time, rest) = time_text(line)?;
    Some((parse_time(time)?, rest))
}

/// The text of a line's time and what stands after it.
fn time_text(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const TIME_KEY: &[u8] = b",\"timestamp\":";
    let digits = line.strip_prefix(b"{\"seq\":")?;
    let comma = digits.iter().position(|b| !b.is_ascii_digit())?;
    let time = digits.get(comma..)?.strip_prefix(TIME_KEY)?;
    let end = time.iter().position(|b| *b == b',')?;
    let (time, rest) = time.split_at(end);
    Some((time, rest.get(1..)?))
}

fn parse_time(text: &[u8]) -> Option<Timestamp> {
    let mut nanos = 0_u64;
    for byte in text.iter().filter(|b| **b != b'.') {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        nanos = nanos.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(Timestamp(nanos))
}

/// The paths of a line, where they stand in it as they are: `rest` is what stands after its time. `None` where they
/// are escaped, have an exact twin, or where the line is not built like that of a change.
fn plain_paths(rest: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    fn text<'a>(rest: &'a [u8], key: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        let value = rest.strip_prefix(key)?;
        let end = memchr::memchr2(b'"', b'\\', value)?;
        let after = value[end..].strip_prefix(b"\",")?;
        Some((&value[..end], after))
    }
    let (_, rest) = text(rest, b"\"event_type\":\"")?;
    let (_, rest) = text(rest, b"\"op\":\"")?;
    let (src, rest) = text(rest, b"\"src_path\":\"")?;
    if rest.starts_with(b"\"is_directory\":") {
        return Some((src, None));
    }
    let (dest, rest) = text(rest, b"\"dest_path\":\"")?;
    rest.starts_with(b"\"is_directory\":")
        .then_some((src, Some(dest)))
}

impl Selectors {
    /// Whether a line matches in everything but time, by its parsed fields.
    fn match_line(&self, line: &[u8]) -> bool {
        serde_json::from_slice::<Value>(line).is_ok_and(|value| self.match_fields(&value))
    }

    /// Whether a parsed line matches in everything but time.
    pub(super) fn match_fields(&self, line: &Value) -> bool {
        fn among<T: PartialEq>(
            line: &Value,
            key: &str,
            wanted: Option<&Vec<T>>,
            parse: impl Fn(&str) -> Option<T>,
        ) -> bool {
            let Some(wanted) = wanted else { return true };
            let word = line.get(key).and_then(Value::as_str).and_then(parse);
            word.is_some_and(|word| wanted.contains(&word))
        }
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        let path = |glob: &PathGlob| {
            let named = |key| path_bytes(line, key).is_some_and(|path| glob.matches(&path));
            named("src_path") || named("dest_path")
        };
        self.path.as_ref().is_none_or(path)
            && self
                .uuid
                .is_none_or(|uuid| text("uuid") == Some(uuid.to_string().as_str()))
            && among(
                line,
                "event_type",
                self.event_types.as_ref(),
                EventType::parse,
            )
            && among(line, "op", self.ops.as_ref(), Op::parse)
            && among(line, "source", self.sources.as_ref(), Source::parse)
            && self
                .pid
                .is_none_or(|pid| line.get("pid").and_then(Value::as_u64) == Some(pid.into()))
            && match &self.session {
                None | Some(Session::NotOwn) => true,
                Some(Session::Is(name)) => text("session") == Some(name),
                Some(Session::IsNot(name)) => text("session") != Some(name),
            }
    }
}
