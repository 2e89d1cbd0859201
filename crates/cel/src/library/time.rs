//! Moments and lengths of time: reading, writing, the parts of a date in a time zone.
//!
//! Names of zones are looked up in the machine's zone database, as upstream does.

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::moment::{Bad, Moment};
use super::{Builtin, Context, Given, convert, no_overload};
use crate::error::EvalError;
use crate::value::Value;

const NANOS: i128 = 1_000_000_000;

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "duration" => |_, args| match &args[0] {
            value @ Value::Duration(_) => Ok(value.clone()),
            value @ Value::String(text) => match duration(text) {
                Ok(nanos) => Ok(Value::Duration(nanos)),
                Err(()) => Err(convert::refused(value, "google.protobuf.Duration")),
            },
            _ => no_overload(),
        },
        "timestamp" => make_timestamp,
        "getFullYear" => |_, args| part(args, None, |at| i64::from(at.year())),
        "getMonth" => |_, args| part(args, None, |at| i64::from(at.month()) - 1),
        "getDayOfYear" => |_, args| part(args, None, |at| i64::from(at.day_of_year()) - 1),
        "getDayOfMonth" => |_, args| part(args, None, |at| i64::from(at.day()) - 1),
        "getDate" => |_, args| part(args, None, |at| i64::from(at.day())),
        "getDayOfWeek" => {
            |_, args| part(args, None, |at| i64::from(at.weekday().to_sunday_zero_offset()))
        }
        "getHours" => |_, args| part(args, Some(3600 * 1_000_000_000), |at| i64::from(at.hour())),
        "getMinutes" => |_, args| part(args, Some(60 * 1_000_000_000), |at| i64::from(at.minute())),
        "getSeconds" => |_, args| part(args, Some(1_000_000_000), |at| i64::from(at.second())),
        "getMilliseconds" => |_, args| {
            part(args, Some(1_000_000), |at| i64::from(at.subsec_nanosecond()) / 1_000_000)
        },
        _ => return None,
    })
}

fn overflow() -> EvalError {
    EvalError::new("timestamp overflow")
}

fn make_timestamp<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match &args[0] {
        value @ Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => {
            Moment::new(i128::from(*seconds) * NANOS).map(Value::Timestamp).ok_or_else(overflow)
        }
        value @ Value::String(text) => match Moment::parse(text) {
            Ok(moment) => Ok(Value::Timestamp(moment)),
            Err(Bad::Range) => Err(overflow()),
            Err(Bad::Form) => Err(convert::refused(value, "google.protobuf.Timestamp")),
        },
        _ => no_overload(),
    }
}

/// A moment moved by so many nanoseconds.
pub(super) fn shift<'a>(from: Moment, by: i128) -> Given<'a> {
    Moment::new(from.nanos() + by).map(Value::Timestamp).ok_or_else(overflow)
}

/// Reads a duration as Go does: `1h30m`, `-1.5s`, `0`.
///
/// # Errors
/// When the text is no duration, or one of more than 292 years.
pub(crate) fn duration(text: &str) -> Result<i64, ()> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(());
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.').ok_or(())?;
        let (number, tail) = rest.split_at(end);
        let end =
            tail.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        nanos = nanos.checked_add(amount(number, unit)?).ok_or(())?;
        rest = tail;
    }
    i64::try_from(if negative { -nanos } else { nanos }).map_err(|_| ())
}

fn amount(number: &str, unit: &str) -> Result<i128, ()> {
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS,
        "m" => 60 * NANOS,
        "h" => 3600 * NANOS,
        _ => return Err(()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
        return Err(());
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| ())? };
    // Digits of a fraction beyond these say less than a nanosecond, whatever the unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| ())? };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| ())?);
    Ok(whole * unit + part * unit / scale)
}

/// Seconds with as much of a fraction as there is: `5400s`, `0.5s`.
#[expect(clippy::cast_precision_loss, reason = "seconds are shown as a double, as upstream does")]
pub(crate) fn duration_text(nanos: i64) -> String {
    let seconds = (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9;
    format!("{seconds}s")
}

/// A part of a date, or of a duration counted in a unit.
fn part<'a>(args: &[Value<'a>], unit: Option<i64>, of: fn(DateTime) -> i64) -> Given<'a> {
    match (args, unit) {
        ([Value::Duration(nanos)], Some(unit)) => Ok(Value::Int(nanos / unit)),
        ([Value::Timestamp(moment)], _) => Ok(Value::Int(of(moment.civil(&TimeZone::UTC)))),
        ([Value::Timestamp(moment), Value::String(zone)], _) => {
            Ok(Value::Int(of(moment.civil(&time_zone(zone)?))))
        }
        _ => no_overload(),
    }
}

/// `Europe/Paris`, or `+02:00`.
fn time_zone(name: &str) -> Result<TimeZone, EvalError> {
    let unknown = || EvalError::new(format!("unknown time zone {name}"));
    let Some((hours, minutes)) = name.split_once(':') else {
        if matches!(name, "" | "UTC") {
            return Ok(TimeZone::UTC);
        }
        return TimeZone::get(name).map_err(|_| unknown());
    };
    let hours: i64 = hours.parse().map_err(|_| unknown())?;
    let minutes: i64 = minutes.parse().map_err(|_| unknown())?;
    if !(0..60).contains(&minutes) {
        return Err(EvalError::new(format!(
            "timezone offset minutes out of range [0, 59]: {name}"
        )));
    }
    let minutes = if name.starts_with('-') { -minutes } else { minutes };
    let offset = hours.checked_mul(3600).and_then(|hours| hours.checked_add(minutes * 60));
    let offset = offset.map(SignedDuration::from_secs).ok_or_else(unknown)?;
    let offset = Offset::try_from(offset).map_err(|_| unknown())?;
    Ok(offset.to_time_zone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, nanos) in [
            ("1h30m", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            ("0", 0),
            ("1us", 1_000),
            (".5m", 30_000_000_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
        ] {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        for text in ["", "1", "s", "1.s.", "1d", "-", "99999999999h", ".s", "1 s"] {
            assert_eq!(duration(text), Err(()), "{text}");
        }
        assert_eq!(duration_text(1_500_000_000), "1.5s");
        assert_eq!(duration_text(5_400_000_000_000), "5400s");
    }
}
