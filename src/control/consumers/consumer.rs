//! One consumer: its cursor, its filter, and the text that keeps both.
//!
//! Invariant: the cursor that others see is on the shelf, or is behind it by events that the filter leaves out.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use crate::event::Seq;
use crate::event_log::{EventLog, LogError};

use super::super::error::{ControlError, Reject};
use super::super::query;
use super::super::scan::member;
use super::super::select::Filter;
use super::{ConsumerId, Shelf};

/// The format that this program writes, and the newest it reads.
const FORMAT: u64 = 1;
/// Longest text of a position.
const NUMBER_BYTES_MAX: usize = 32;

/// A file of a consumer's directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConsumerFile {
    /// The events after the cursor, as of the open.
    Events,
    /// The same and what comes after them.
    Follow,
    /// A position written to it acknowledges everything up to it.
    Ack,
    /// The cursor; a position written to it moves it either way.
    Cursor,
    /// The selectors, one JSON object.
    Filter,
    /// How many events stand after the cursor.
    Lag,
}

impl ConsumerFile {
    /// All, in the order of the contract.
    pub const ALL: [ConsumerFile; 6] = [
        ConsumerFile::Events,
        ConsumerFile::Follow,
        ConsumerFile::Ack,
        ConsumerFile::Cursor,
        ConsumerFile::Filter,
        ConsumerFile::Lag,
    ];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ConsumerFile::Events => "events",
            ConsumerFile::Follow => "follow",
            ConsumerFile::Ack => "ack",
            ConsumerFile::Cursor => "cursor",
            ConsumerFile::Filter => "filter",
            ConsumerFile::Lag => "lag",
        }
    }

    /// The file of that name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<ConsumerFile> {
        let mut all = ConsumerFile::ALL.into_iter();
        all.find(|file| file.word().as_bytes() == name)
    }

    /// Permission bits, the owner's alone.
    #[must_use]
    pub fn mode(self) -> u32 {
        match self {
            ConsumerFile::Events | ConsumerFile::Follow | ConsumerFile::Lag => 0o400,
            ConsumerFile::Ack => 0o200,
            ConsumerFile::Cursor | ConsumerFile::Filter => 0o600,
        }
    }
}

/// A durable consumer.
pub(in super::super) struct Consumer {
    pub(super) id: ConsumerId,
    pub(super) name: String,
    /// The cursor of `state`, to be read while a disk is waited for.
    seen: AtomicU64,
    state: Mutex<State>,
}

pub(super) struct State {
    cursor: Seq,
    filter: Option<String>,
    /// Counts the filters it had: a batch that began under another one does not move the cursor by itself.
    turn: u64,
    removed: bool,
}

/// What a batch begins with.
pub(super) struct Beginning {
    pub(super) cursor: Seq,
    pub(super) turn: u64,
    pub(super) filter: Filter,
}

impl Consumer {
    /// A new one that begins after `cursor`.
    pub(super) fn new(id: ConsumerId, name: String, cursor: Seq) -> Consumer {
        Consumer {
            id,
            name,
            seen: AtomicU64::new(cursor.0),
            state: Mutex::new(State {
                cursor,
                filter: None,
                turn: 0,
                removed: false,
            }),
        }
    }

    /// One that was kept as `text`.
    pub(super) fn stored(id: ConsumerId, name: String, text: &str) -> Consumer {
        match parse(text) {
            Some((cursor, filter)) => {
                let consumer = Consumer::new(id, name, cursor);
                consumer.state.lock().filter = filter;
                consumer
            }
            None => {
                log::warn!("consumer {name}: its state is damaged; it begins at the first event");
                Consumer::new(id, name, Seq(0))
            }
        }
    }

    /// The log it reads ends at `head`: a cursor beyond that is of another log.
    pub(super) fn begin(&self, head: Seq) {
        let mut state = self.state.lock();
        if state.cursor > head {
            log::warn!(
                "consumer {}: its cursor {} lies past the log's end {head}",
                self.name,
                state.cursor
            );
            state.cursor = head;
            self.seen.store(head.0, Ordering::Release);
        }
    }

    /// Everything up to this position is done with.
    pub(super) fn cursor(&self) -> Seq {
        Seq(self.seen.load(Ordering::Acquire))
    }

    /// What `cursor`, `filter` and `lag` show.
    pub(in super::super) fn text(&self, file: ConsumerFile, head: Seq) -> String {
        match file {
            ConsumerFile::Lag => format!("{}\n", head.0.saturating_sub(self.cursor().0)),
            ConsumerFile::Filter => {
                let state = self.state.lock();
                format!("{}\n", state.filter.as_deref().unwrap_or("{}"))
            }
            _ => format!("{}\n", self.cursor()),
        }
    }

    /// What a reader of session `own` begins with.
    pub(super) fn beginning(&self, own: Option<&str>) -> Result<Beginning, Reject> {
        let state = self.state.lock();
        state.beginning(own)
    }

    /// Keeps other changes out: a reader that takes events reads and moves the cursor as one.
    pub(super) fn hold(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Everything from `after` to `to` was looked at under the filter's `turn` and none of it is for the consumer:
    /// moves the cursor on when it stands in there. Not stored: what is left out is left out again.
    pub(super) fn passed(&self, turn: u64, after: Seq, to: Seq) {
        let mut state = self.state.lock();
        if state.turn == turn && (after..to).contains(&state.cursor) {
            self.move_to(&mut state, to);
        }
    }

    /// Carries out a write to one of its files.
    pub(super) fn write(
        &self,
        log: &EventLog,
        shelf: &dyn Shelf,
        file: ConsumerFile,
        data: &[u8],
    ) -> Result<(), ControlError> {
        match file {
            ConsumerFile::Ack => self.advance(log, shelf, position(data, log.head())?),
            ConsumerFile::Cursor => {
                let to = position(data, log.head())?;
                let mut state = self.state.lock();
                self.store(&mut state, log, shelf, to)
            }
            ConsumerFile::Filter => self.set_filter(shelf, data),
            ConsumerFile::Events | ConsumerFile::Follow | ConsumerFile::Lag => {
                Err(ControlError::NotWritable)
            }
        }
    }

    /// Moves the cursor on to `to`; it never goes back.
    pub(super) fn advance(
        &self,
        log: &EventLog,
        shelf: &dyn Shelf,
        to: Seq,
    ) -> Result<(), ControlError> {
        let mut state = self.state.lock();
        if to <= state.cursor {
            return state.lives();
        }
        self.store(&mut state, log, shelf, to)
    }

    /// The same for who holds it.
    pub(super) fn store(
        &self,
        state: &mut State,
        log: &EventLog,
        shelf: &dyn Shelf,
        to: Seq,
    ) -> Result<(), ControlError> {
        state.lives()?;
        // After a power loss the log must still reach up to the cursor: its numbers would else come again.
        if log.durable() < to {
            log.sync()?;
        }
        let text = text_of(to, state.filter.as_deref());
        shelf.save(&self.name, &text).map_err(unstored)?;
        self.move_to(state, to);
        Ok(())
    }

    /// Moves the cursor in memory alone.
    pub(super) fn move_to(&self, state: &mut State, to: Seq) {
        state.cursor = to;
        self.seen.store(to.0, Ordering::Release);
    }

    fn set_filter(&self, shelf: &dyn Shelf, data: &[u8]) -> Result<(), ControlError> {
        let invalid = |reject: Reject| ControlError::Invalid(reject.message);
        let text = std::str::from_utf8(data)
            .map_err(|_| ControlError::Invalid("the filter is not UTF-8".into()))?;
        // A blank write takes the filter away.
        let text = match text.trim() {
            "" => "{}",
            text => text,
        };
        query::filter(text).map_err(invalid)?;
        // On one line, so that the file shows it as one; blanks between tokens are all that changes.
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let mut state = self.state.lock();
        state.lives()?;
        let kept = text_of(state.cursor, Some(&line));
        shelf.save(&self.name, &kept).map_err(unstored)?;
        state.filter = Some(line);
        state.turn += 1;
        Ok(())
    }

    /// Removes it from the shelf; no later write brings it back.
    pub(super) fn end(&self, shelf: &dyn Shelf) -> io::Result<()> {
        let mut state = self.state.lock();
        shelf.remove(&self.name)?;
        state.removed = true;
        Ok(())
    }
}

impl State {
    /// What a reader of session `own` begins with.
    pub(super) fn beginning(&self, own: Option<&str>) -> Result<Beginning, Reject> {
        let selectors = query::filter(self.filter.as_deref().unwrap_or("{}"))?;
        Ok(Beginning {
            cursor: self.cursor,
            turn: self.turn,
            filter: Filter::new(selectors, own)?,
        })
    }

    /// Refuses what comes after the removal.
    pub(super) fn lives(&self) -> Result<(), ControlError> {
        if self.removed {
            return Err(ControlError::Invalid("the consumer was removed".into()));
        }
        Ok(())
    }
}

fn unstored(source: io::Error) -> ControlError {
    let what = "write of a consumer";
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ControlError::Log(LogError::DiskFull)
        }
        _ => ControlError::Log(LogError::Io { what, source }),
    }
}

/// The position that a write says: decimal digits, up to the head.
fn position(data: &[u8], head: Seq) -> Result<Seq, ControlError> {
    let text = std::str::from_utf8(data).unwrap_or_default().trim();
    let plain = text.len() <= NUMBER_BYTES_MAX && text.bytes().all(|b| b.is_ascii_digit());
    let seq = text.parse().ok().filter(|_| plain).map(Seq);
    match seq {
        Some(seq) if seq <= head => Ok(seq),
        Some(_) => Err(ControlError::Invalid(format!(
            "the log ends at {head}: nothing past it can be acknowledged"
        ))),
        None => Err(ControlError::Invalid("write the seq of an event".into())),
    }
}

/// The text that keeps a consumer.
pub(super) fn text_of(cursor: Seq, filter: Option<&str>) -> String {
    let filter = filter.unwrap_or("{}");
    format!("{{\"format\":{FORMAT},\"cursor\":{cursor},\"filter\":{filter}}}\n")
}

/// Reads [`text_of`] back. The filter is taken as text: a JSON parser would round its times.
fn parse(text: &str) -> Option<(Seq, Option<String>)> {
    let value: Value = serde_json::from_str(text).ok()?;
    if value.get("format")?.as_u64()? > FORMAT {
        return None;
    }
    let cursor = Seq(value.get("cursor")?.as_u64()?);
    let filter = member(text, "filter").map(str::to_owned);
    match filter {
        Some(filter) => {
            query::filter(&filter).ok()?;
            Some((cursor, Some(filter)))
        }
        None => Some((cursor, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back() {
        let filter = r#"{"path":"a/**","from_time":1700000000.123456789}"#;
        let kept = text_of(Seq(7), Some(filter));
        assert_eq!(parse(&kept), Some((Seq(7), Some(filter.to_owned()))));
        for damaged in [
            "",
            "{}",
            "{\"format\":2,\"cursor\":1}",
            &kept[..kept.len() / 2],
        ] {
            assert_eq!(parse(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn positions_are_digits_up_to_the_head() {
        assert_eq!(position(b" 7\n", Seq(7)).ok(), Some(Seq(7)));
        for bad in [&b"8"[..], b"", b"-1", b"+1", b"x", b"\xff", b"1 2"] {
            assert!(position(bad, Seq(7)).is_err(), "{bad:?}");
        }
    }
}
