//! Points in time as requests write them: seconds since the epoch, exact to the nanosecond, or RFC 3339.
//!
//! A JSON parser turns `1700000000.123456789` into the nearest double, which is up to 120 ns off, so a number is read
//! from the text of the request itself.

use crate::event::Timestamp;

/// Decimal places of a nanosecond.
const NANO_DIGITS: i64 = 9;
/// Digits of the largest count of nanoseconds; anything longer lies past the end of time.
const NANOS_DIGITS_MAX: usize = 20;
/// Exponents beyond this are all the same: zero or past the end of time, however long the number (64 KiB) is.
const EXPONENT_MAX: i64 = 1_000_000;

/// A time as it was written: the nanosecond at or before it, and whether that is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    floor: u64,
    cut: bool,
}

impl Moment {
    /// The first nanosecond that is not before it.
    pub(super) fn first(self) -> Timestamp {
        Timestamp(self.floor.saturating_add(u64::from(self.cut)))
    }

    /// The last nanosecond that is not after it.
    pub(super) fn last(self) -> Timestamp {
        Timestamp(self.floor)
    }

    /// Reads an RFC 3339 time; `None` when it is none or lies before 1970.
    pub(super) fn from_rfc3339(text: &str) -> Option<Moment> {
        let time: jiff::Timestamp = text.parse().ok()?;
        let nanos = time.as_nanosecond();
        (nanos >= 0).then(|| Moment {
            floor: u64::try_from(nanos).unwrap_or(u64::MAX),
            cut: false,
        })
    }

    /// Reads the text of a JSON number of seconds; `None` when it is none or negative.
    pub(super) fn from_number(text: &str) -> Option<Moment> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        if whole.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let places = i64::try_from(fraction.len()).ok()?;
        let shift = exponent - places + NANO_DIGITS;
        Some(shifted(&digits, shift))
    }
}

/// `digits` times ten to the power `shift`, cut to a whole number.
fn shifted(digits: &str, shift: i64) -> Moment {
    let drop = usize::try_from(-shift).unwrap_or(0).min(digits.len());
    let (kept, cut) = digits.split_at(digits.len() - drop);
    let cut = cut.bytes().any(|b| b != b'0');
    let kept = kept.trim_start_matches('0');
    let zeros = usize::try_from(shift).unwrap_or(0);
    let floor = if kept.is_empty() {
        0
    } else if kept.len() + zeros > NANOS_DIGITS_MAX {
        u64::MAX
    } else {
        let text = [kept, &"0".repeat(zeros)].concat();
        text.parse().unwrap_or(u64::MAX)
    };
    Moment { floor, cut }
}

/// The exponent of a number, with its sign; a larger one than matters is cut.
fn exponent_of(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(sign * digits.parse().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> Option<(u64, u64)> {
        Moment::from_number(text).map(|i| (i.last().0, i.first().0))
    }

    #[test]
    fn numbers_keep_their_nanoseconds() {
        let exact = |n: u64| Some((n, n));
        assert_eq!(
            nanos("1700000000.123456789"),
            exact(1_700_000_000_123_456_789)
        );
        assert_eq!(nanos("0"), exact(0));
        assert_eq!(nanos("1.7e9"), exact(1_700_000_000_000_000_000));
        assert_eq!(nanos("15E-1"), exact(1_500_000_000));
        assert_eq!(nanos("0.0000000014"), Some((1, 2)));
        assert_eq!(nanos("1e-400"), Some((0, 1)));
        assert_eq!(nanos("0e999999999999999999999"), exact(0));
        assert_eq!(nanos("1e999999999999999999999"), exact(u64::MAX));
        assert_eq!(nanos("99999999999"), exact(u64::MAX));
        for bad in ["-1", "", ".5", "1e", "1e+", "x", "1.2.3", "1 "] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }

    #[test]
    fn rfc3339_is_read() {
        let read = |text| Moment::from_rfc3339(text).map(|i| i.first().0);
        assert_eq!(read("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(read("1969-12-31T23:59:59Z"), None);
        assert_eq!(read("yesterday"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_panic(text in "[{}\\[\\]\":,\\\\ a0-9.eE+-]{0,60}|.{0,40}") {
            let _ = Moment::from_number(&text);
            let _ = Moment::from_rfc3339(&text);
        }

        #[test]
        fn every_nanosecond_reads_back(time in any::<u64>()) {
            let text = Timestamp(time).to_string();
            prop_assert_eq!(Moment::from_number(&text).map(Moment::first), Some(Timestamp(time)));
        }
    }
}
