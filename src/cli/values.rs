//! Numbers, sizes, durations and moments as people write them. No text can make a parser panic.

use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

use crate::daemon::config;
use crate::detect::{self, Watch};
use crate::event::{EventType, Op, Source, Timestamp};
use crate::event_log;
use crate::recorder::{Capture, OBJECT_BYTES_MAX_MAX};

/// Bytes: a number, and K, M, G or T for powers of 1024, also as `KiB` or `KB`.
///
/// # Errors
/// It is none, or more than 64 bits hold.
pub fn bytes(text: &str) -> Result<u64, String> {
    let unknown =
        || format!("`{text}` is not a size: write a number with K, M, G or T, such as 16M");
    let (digits, suffix) = split_number(text);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(unknown()),
    };
    number(digits)
        .ok_or_else(unknown)?
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// A duration: a number with `ms`, `s`, `m`, `h` or `d`; without a unit it is seconds.
///
/// # Errors
/// It is none, or more than 64 bits of milliseconds hold.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unknown = || {
        format!("`{text}` is not a duration: write a number with ms, s, m, h or d, such as 500ms")
    };
    let (digits, suffix) = split_number(text);
    let unit_ms = match suffix {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(unknown()),
    };
    let ms = number(digits)
        .ok_or_else(unknown)?
        .checked_mul(unit_ms)
        .ok_or_else(|| format!("`{text}` is too long"))?;
    Ok(Duration::from_millis(ms))
}

/// The leading digits and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Plain decimal digits; `str::parse` alone would take a sign too.
fn number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

/// `--segment-bytes`.
///
/// # Errors
/// Not a size, or out of range.
pub fn segment_bytes(text: &str) -> Result<u64, String> {
    within(
        bytes(text)?,
        event_log::SEGMENT_BYTES_MIN,
        event_log::SEGMENT_BYTES_MAX,
        |n| size(*n),
    )
}

/// `--retain-bytes`.
///
/// # Errors
/// Not a size, or out of range.
pub fn retain_bytes(text: &str) -> Result<u64, String> {
    within(
        bytes(text)?,
        event_log::SEGMENT_BYTES_MIN,
        config::RETAIN_BYTES_MAX,
        |n| size(*n),
    )
}

/// `--debounce`.
///
/// # Errors
/// Not a duration, or over ten minutes.
pub fn debounce(text: &str) -> Result<Duration, String> {
    const DEBOUNCE_MAX: Duration = Duration::from_secs(600);
    within(duration(text)?, Duration::ZERO, DEBOUNCE_MAX, in_words)
}

/// `--retain-max`: `3x` or `3`.
///
/// # Errors
/// Not a whole number, or out of range.
pub fn retain_max(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('x').unwrap_or(text);
    let times = number
        .parse()
        .map_err(|_| "write a whole number of times, such as 2x".to_string())?;
    within(times, 1, config::RETAIN_MAX_MAX, |n| format!("{n}x"))
}

/// `--retain-age`.
///
/// # Errors
/// Not a duration, or out of range.
pub fn retain_age(text: &str) -> Result<Duration, String> {
    within(
        duration(text)?,
        config::RETAIN_AGE_MIN,
        config::RETAIN_AGE_MAX,
        in_words,
    )
}

/// `--sync-interval`.
///
/// # Errors
/// Not a duration, or out of range.
pub fn sync_interval(text: &str) -> Result<Duration, String> {
    within(
        duration(text)?,
        config::SYNC_INTERVAL_MIN,
        config::SYNC_INTERVAL_MAX,
        in_words,
    )
}

/// `--scan-interval` and `--poll-interval`.
///
/// # Errors
/// Not a duration, or out of range.
pub fn scan_interval(text: &str) -> Result<Duration, String> {
    within(
        duration(text)?,
        detect::SCAN_INTERVAL_MIN,
        detect::SCAN_INTERVAL_MAX,
        in_words,
    )
}

/// `--watch`.
///
/// # Errors
/// Not one of the words.
pub fn watch(text: &str) -> Result<Watch, String> {
    let known = Watch::ALL.into_iter().find(|watch| watch.word() == text);
    known.ok_or_else(|| format!("`{text}` is not one of auto, native, poll, off"))
}

/// `--capture`.
///
/// # Errors
/// Not one of the words.
pub fn capture(text: &str) -> Result<Capture, String> {
    let known = Capture::ALL.into_iter().find(|what| what.word() == text);
    known.ok_or_else(|| format!("`{text}` is not one of none, close, write"))
}

/// `--capture-max`.
///
/// # Errors
/// Not a size, or out of range.
pub fn capture_max(text: &str) -> Result<u64, String> {
    within(bytes(text)?, 1, OBJECT_BYTES_MAX_MAX, |n| size(*n))
}

fn within<T: PartialOrd>(
    value: T,
    min: T,
    max: T,
    name: impl Fn(&T) -> String,
) -> Result<T, String> {
    if value < min || value > max {
        return Err(format!("it must be from {} to {}", name(&min), name(&max)));
    }
    Ok(value)
}

/// A size as [`bytes`] reads it, in the largest unit that is exact.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    match units
        .iter()
        .find(|(_, shift)| bytes != 0 && bytes.trailing_zeros() >= *shift)
    {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// A duration as [`duration`] reads it, in the largest unit that is exact; below a millisecond it is cut.
#[must_use]
pub fn in_words(time: &Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    match units
        .iter()
        .find(|(_, unit)| ms != 0 && ms.is_multiple_of(*unit))
    {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// A place in the log: a position or a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A seq.
    Seq(u64),
    /// A point in time.
    Time(Timestamp),
}

/// A place: digits are a seq; `10m` is that long ago; else a date or time, local unless it names its offset.
///
/// # Errors
/// None of these.
pub fn place(text: &str) -> Result<Place, String> {
    if let Some(seq) = number(text) {
        return Ok(Place::Seq(seq));
    }
    if let Ok(ago) = duration(text) {
        let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        return Ok(Place::Time(Timestamp(
            Timestamp::now().0.saturating_sub(ago),
        )));
    }
    let unknown = "write a seq, a time such as 2026-01-31T12:00 (local) or 2026-01-31T12:00:00Z, or how long ago: 10m";
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
        text.parse::<civil::DateTime>()
            .and_then(|local| local.to_zoned(TimeZone::system()))
            .map(|zoned| zoned.timestamp())
    });
    let moment = moment.map_err(|_| unknown.to_string())?;
    let since_epoch =
        u64::try_from(moment.as_nanosecond()).map_err(|_| "it is before 1970".to_string())?;
    Ok(Place::Time(Timestamp(since_epoch)))
}

/// A moment, as [`place`] reads it.
///
/// # Errors
/// It is none; a bare number is a seq, and none either.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    match place(text)? {
        Place::Time(time) => Ok(time),
        Place::Seq(_) => {
            Err("a bare number is a seq: write a time, or how long ago, such as 10m".into())
        }
    }
}

/// A word of the schema's `event_type`.
///
/// # Errors
/// Not one; the message lists them.
pub fn event_type(word: &str) -> Result<EventType, String> {
    EventType::parse(word).ok_or_else(|| one_of(EventType::ALL.iter().map(|w| w.word())))
}

/// A word of the schema's `op`.
///
/// # Errors
/// Not one; the message lists them.
pub fn op(word: &str) -> Result<Op, String> {
    Op::parse(word).ok_or_else(|| one_of(Op::ALL.iter().map(|w| w.word())))
}

/// A word of the schema's `source`.
///
/// # Errors
/// Not one; the message lists them.
pub fn source(word: &str) -> Result<Source, String> {
    Source::parse(word).ok_or_else(|| one_of(Source::ALL.iter().map(|w| w.word())))
}

fn one_of(words: impl Iterator<Item = &'static str>) -> String {
    format!("it must be one of {}", words.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_durations_are_read() {
        assert_eq!(bytes("16M"), Ok(16 << 20));
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(bytes("3kb"), Ok(3 << 10));
        assert_eq!(bytes("70b"), Ok(70));
        assert_eq!(bytes("0"), Ok(0));
        for bad in [
            "",
            "M",
            "-1",
            "+1",
            "1.5M",
            "16X",
            "16 M",
            "16i",
            "16ib",
            "99999999999T",
            "é",
        ] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in ["", "s", "-1s", "1.5s", "1w", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_are_said() {
        assert_eq!(segment_bytes("1K"), Err("it must be from 64K to 1G".into()));
        assert_eq!(
            sync_interval("0s"),
            Err("it must be from 10ms to 1h".into())
        );
        assert_eq!(sync_interval("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn places_are_read() {
        assert_eq!(place("42"), Ok(Place::Seq(42)));
        assert_eq!(
            place("1970-01-01T00:00:02Z"),
            Ok(Place::Time(Timestamp(2_000_000_000)))
        );
        assert!(matches!(place("2026-01-31"), Ok(Place::Time(_))));
        assert!(matches!(place("2026-01-31 12:00"), Ok(Place::Time(_))));
        assert!(matches!(place("10m"), Ok(Place::Time(t)) if t < Timestamp::now()));
        assert!(place("yesterday").is_err());
        assert!(moment("10m").is_ok() && moment("10").is_err() && moment("soon").is_err());
        assert!(place("1960-01-01T00:00:00Z").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = (bytes(&text), duration(&text), place(&text));
        }

        #[test]
        fn written_values_read_back(n in 0..=config::RETAIN_BYTES_MAX, ms in 0..=config::RETAIN_AGE_MAX.as_secs() * 1000) {
            prop_assert_eq!(bytes(&size(n)), Ok(n));
            let time = Duration::from_millis(ms);
            prop_assert_eq!(duration(&in_words(&time)), Ok(time));
        }
    }
}
