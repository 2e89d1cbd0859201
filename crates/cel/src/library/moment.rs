//! Moments: nanoseconds since 1970, from the year 1 to 9999. `jiff`'s own timestamps end a day
//! before 9999 does, which policies use as "never".

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const NANOS: i128 = 1_000_000_000;

/// The first and the last second that a moment may have.
const SECONDS: std::ops::RangeInclusive<i128> = -62_135_596_800..=253_402_300_799;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i128);

/// Why a text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It is not of RFC 3339's form.
    Form,
    /// Its year is not in 1 to 9999.
    Range,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at.as_nanosecond())
    }
}

impl Moment {
    /// Nanoseconds since 1970, if that is in range.
    pub(crate) fn new(nanos: i128) -> Option<Self> {
        SECONDS.contains(&nanos.div_euclid(NANOS)).then_some(Self(nanos))
    }

    pub(crate) fn nanos(self) -> i128 {
        self.0
    }

    /// Whole seconds since 1970.
    pub(crate) fn seconds(self) -> i64 {
        i64::try_from(self.0.div_euclid(NANOS)).expect("the range is checked when it is made")
    }

    /// Reads RFC 3339, strictly.
    pub(crate) fn parse(text: &str) -> Result<Self, Bad> {
        let bytes = text.as_bytes();
        let fixed = bytes.len() >= 20
            && bytes[..19].iter().enumerate().all(|(index, byte)| match index {
                4 | 7 => *byte == b'-',
                10 => *byte == b'T',
                13 | 16 => *byte == b':',
                _ => byte.is_ascii_digit(),
            });
        if !fixed || &bytes[17..19] > b"59" {
            return Err(Bad::Form);
        }
        let local: DateTime = text[..19].parse().map_err(|_| Bad::Form)?;
        let (fraction, offset) = tail(&text[19..]).ok_or(Bad::Form)?;
        Self::new(nanos_of(local) + fraction - offset).ok_or(Bad::Range)
    }

    /// The date and time at a place.
    pub(crate) fn civil(self, zone: &TimeZone) -> DateTime {
        let near = Timestamp::from_nanosecond(
            self.0.clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond()),
        )
        .unwrap_or(Timestamp::UNIX_EPOCH);
        let nanos = self.0 + i128::from(zone.to_offset(near).seconds()) * NANOS;
        let seconds = i64::try_from(nanos.div_euclid(NANOS)).unwrap_or(0);
        let rest = i32::try_from(nanos.rem_euclid(NANOS)).unwrap_or(0);
        epoch().checked_add(SignedDuration::new(seconds, rest)).unwrap_or(DateTime::MAX)
    }
}

fn epoch() -> DateTime {
    DateTime::constant(1970, 1, 1, 0, 0, 0, 0)
}

fn nanos_of(local: DateTime) -> i128 {
    local.duration_since(epoch()).as_nanos()
}

/// `Z` or `+01:00`, with a fraction in front: both in nanoseconds.
fn tail(text: &str) -> Option<(i128, i128)> {
    let (fraction, zone) = match text.strip_prefix(['.', ',']) {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let known = &rest[..digits.min(9)];
            let scale = 10_i128.pow(u32::try_from(9 - known.len()).ok()?);
            (known.parse::<i128>().ok()? * scale, &rest[digits..])
        }
        None => (0, text),
    };
    if zone == "Z" {
        return Some((fraction, 0));
    }
    let sign = match zone.as_bytes() {
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let digits = |at: std::ops::Range<usize>| {
        let digits = zone.get(at).filter(|two| two.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i128>().ok()
    };
    let (hours, minutes) = (digits(1..3)?, digits(4..6)?);
    (hours < 24 && minutes < 60).then_some((fraction, sign * (hours * 3600 + minutes * 60) * NANOS))
}

/// RFC 3339 in UTC, with as much of a fraction as there is.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.civil(&TimeZone::UTC))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        for (text, shown) in [
            ("2023-01-01T00:00:00Z", "2023-01-01T00:00:00Z"),
            ("2023-01-01T00:00:00.5+01:00", "2022-12-31T23:00:00.5Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "2023-01-01 00:00:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:60Z",
            "2023-01-01T00:00:00.Z",
            "2023-02-30T00:00:00Z",
            "2023-1-1T00:00:00Z",
            "2023-01-01T00:00:00+1:00",
        ] {
            assert_eq!(Moment::parse(text), Err(Bad::Form), "{text}");
        }
        assert_eq!(Moment::parse("0000-12-31T00:00:00Z"), Err(Bad::Range));
    }
}
