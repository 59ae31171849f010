//! The few fields of a written line that the log itself has to know: its time, and what an earlier gap has said.

use memchr::memmem;

use crate::event::{EventType, GapReason, Seq, Timestamp, line};

/// Before the time in a line; the seq before it has at most twenty digits.
const TIMESTAMP_KEY: &[u8] = b",\"timestamp\":";
const GAP_MARK: &[u8] = b"\"event_type\":\"gap\"";
/// Decimals of a timestamp.
const DECIMALS: usize = 9;

/// The time of a line, `None` when it has none where the format puts it.
pub(super) fn timestamp_of(line: &[u8]) -> Option<Timestamp> {
    let head = &line[..line.len().min(64)];
    let at = memmem::find(head, TIMESTAMP_KEY)? + TIMESTAMP_KEY.len();
    let text = &head[at..];
    let dot = memchr::memchr(b'.', text)?;
    let nanoseconds = text.get(dot + 1..dot + 1 + DECIMALS)?;
    let seconds: u64 = std::str::from_utf8(&text[..dot]).ok()?.parse().ok()?;
    let nanoseconds: u64 = std::str::from_utf8(nanoseconds).ok()?.parse().ok()?;
    let total = seconds
        .checked_mul(1_000_000_000)?
        .checked_add(nanoseconds)?;
    Some(Timestamp(total))
}

/// The range of lost positions that a line says, when it is a gap event about the log's own lines.
pub(super) fn lost_range_said(line: &[u8]) -> Option<(Seq, Seq)> {
    memmem::find(line, GAP_MARK)?;
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    if value.get("event_type")?.as_str()? != EventType::Gap.word() {
        return None;
    }
    match GapReason::parse(value.get("reason")?.as_str()?)? {
        GapReason::Torn | GapReason::Damaged => {}
        GapReason::Crash
        | GapReason::Failed
        | GapReason::Retention
        | GapReason::Ahead
        | GapReason::Overflow
        | GapReason::Unwatched
        | GapReason::Unrecorded => return None,
    }
    Some((
        Seq(value.get("from")?.as_u64()?),
        Seq(value.get("to")?.as_u64()?),
    ))
}

/// The position of the last line of `lines`, which ends with a newline.
pub(super) fn last_seq(lines: &[u8]) -> Option<Seq> {
    let body = lines.strip_suffix(b"\n")?;
    let start = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
    line::seq_of(&body[start..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn framed(seq: u64, time: u64, event: &Event) -> Vec<u8> {
        let mut body = String::new();
        line::body(event, &mut body);
        let mut out = Vec::new();
        line::frame(Seq(seq), Timestamp(time), &body, &mut out);
        out
    }

    #[test]
    fn time_and_lost_range_are_read_back() {
        let range = (Seq(3), Seq(9));
        let gap = Event::gap(GapReason::Damaged, Some(range), "x");
        let line = framed(10, 1_700_000_000_000_000_001, &gap);
        assert_eq!(
            timestamp_of(&line),
            Some(Timestamp(1_700_000_000_000_000_001))
        );
        assert_eq!(lost_range_said(&line), Some(range));
        let crash = framed(u64::MAX, 7, &Event::gap(GapReason::Crash, None, "x"));
        assert_eq!(timestamp_of(&crash), Some(Timestamp(7)));
        assert_eq!(lost_range_said(&crash), None);
        assert_eq!(last_seq(&[line, crash].concat()), Some(Seq(u64::MAX)));
    }
}
