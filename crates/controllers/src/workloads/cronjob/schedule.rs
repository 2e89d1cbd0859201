//! Cron schedules: five fields, names, ranges, steps, and the usual shorthands. Pure.
//!
//! Day of month and day of week are joined as cron always has: when both are restricted, either
//! suffices.

use base::clock::{SignedDuration, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Unit};

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// At the minutes that all fields allow.
    Fields(Fields),
    /// At this distance from the last time.
    Every(SignedDuration),
}

/// Allowed values as bits, and whether the days were left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A schedule that allows nothing for so long allows nothing (`0 0 30 2 *`).
const YEARS_MAX: i16 = 8;

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(every) = text.strip_prefix("@every ") {
            let span: SignedDuration =
                every.trim().parse().map_err(|error| format!("{every}: {error}"))?;
            if span < SignedDuration::from_secs(1) {
                return Err(format!("{every} is shorter than a second"));
            }
            return Ok(Self::Every(span));
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: {text}", fields.len()));
        };
        let open = |field: &str| field.starts_with(['*', '?']);
        let mut of_week = bits(weekdays, 0, 7, &WEEKDAYS, 0)?;
        // 7 is Sunday too.
        of_week |= of_week >> 7 & 1;
        Ok(Self::Fields(Fields {
            minutes: bits(minutes, 0, 59, &[], 0)?,
            hours: bits(hours, 0, 23, &[], 0)?,
            days: bits(days, 1, 31, &[], 0)?,
            months: bits(months, 1, 12, &MONTHS, 1)?,
            weekdays: of_week & 0x7f,
            any_day: open(days),
            any_weekday: open(weekdays),
        }))
    }

    /// The first time after a moment, by a time zone's clocks.
    pub(crate) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let fields = match self {
            Self::Every(span) => return after.checked_add(*span).ok(),
            Self::Fields(fields) => fields,
        };
        let local = zone.to_datetime(after);
        let mut at = local
            .with()
            .second(0)
            .subsec_nanosecond(0)
            .build()
            .ok()?
            .checked_add(1.minute())
            .ok()?;
        let last = local.year().saturating_add(YEARS_MAX);
        while at.year() <= last {
            match fields.step(at) {
                Some(further) => at = further?,
                None => {
                    let zoned = at.to_zoned(zone.clone()).ok()?;
                    // An hour that clocks skip does not happen.
                    if zoned.datetime() == at && zoned.timestamp() > after {
                        return Some(zoned.timestamp());
                    }
                    at = at.checked_add(1.minute()).ok()?;
                }
            }
        }
        None
    }
}

impl Fields {
    /// `None` when a minute is allowed; otherwise the next one worth looking at.
    fn step(&self, at: DateTime) -> Option<Option<DateTime>> {
        let has = |bits: u64, value: i8| bits >> value & 1 == 1;
        let midnight = |at: DateTime| at.date().to_datetime(jiff::civil::Time::midnight());
        if !has(self.months, at.month()) {
            let first = at.date().first_of_month().checked_add(1.month()).ok();
            return Some(first.map(|date| date.to_datetime(jiff::civil::Time::midnight())));
        }
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().to_sunday_zero_offset());
        let fits = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        if !fits {
            return Some(midnight(at).checked_add(1.day()).ok());
        }
        if !has(self.hours, at.hour()) {
            let next = at.checked_add(1.hour()).ok()?;
            return Some(next.with().minute(0).build().ok());
        }
        if !has(self.minutes, at.minute()) {
            return Some(at.checked_add(1.minute()).ok());
        }
        None
    }
}

fn bits(field: &str, min: u32, max: u32, names: &[&str], first: u32) -> Result<u64, String> {
    let value = |text: &str| -> Result<u32, String> {
        let lower = text.to_lowercase();
        let named = names.iter().position(|name| *name == lower);
        match named {
            Some(index) => Ok(first + u32::try_from(index).unwrap_or_default()),
            None => text.parse().map_err(|_| format!("failed to parse int from {text:?}")),
        }
    };
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        let step = step.map_or(Ok(1), value)?;
        if step == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (min, if max == 7 { 6 } else { max }),
            Some((from, to)) => (value(from)?, value(to)?),
            // `5/15` goes on to the end; `5` is itself.
            None if part.contains('/') => (value(range)?, max),
            None => (value(range)?, value(range)?),
        };
        if from < min || to > max || from > to {
            return Err(format!("{part} is not between {min} and {max}"));
        }
        let mut at = from;
        while at <= to {
            set |= 1_u64 << at;
            at += step;
        }
    }
    Ok(set)
}

/// A time zone by its name; the machine's own is never meant.
pub(crate) fn zone(name: Option<&str>) -> Result<TimeZone, String> {
    match name.filter(|name| !name.is_empty()) {
        None => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|error| error.to_string()),
    }
}

/// A moment without its fraction of a second.
pub(crate) fn whole(at: Timestamp) -> Timestamp {
    at.round(Unit::Second).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_of_a_schedule() {
        let check = |schedule: &str, after: &str, expected: &str| {
            let schedule = Schedule::parse(schedule).unwrap();
            let next = schedule.next(after.parse().unwrap(), &TimeZone::UTC);
            assert_eq!(next.map(base::clock::rfc3339_seconds).as_deref(), Some(expected));
        };
        check("*/1 * * * ?", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z");
        check("0 0 * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        check("30 8-10/2 * * mon-fri", "2026-01-02T10:30:00Z", "2026-01-05T08:30:00Z");
        check("0 0 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
        check("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        check("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
        check("5/20 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z");
        check("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
        check("@every 90m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z");
    }

    #[test]
    fn bad_schedules_are_refused_and_impossible_ones_never_come() {
        for bad in ["", "* * * *", "60 * * * *", "*/0 * * * *", "x * * * *", "5-1 * * * *"] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
        let never = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(never.next("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
    }
}
