//! Schedules of cron jobs: five fields or a word, in a time zone.
//!
//! Knows no clock: it says which moment follows another. Where clocks are put forward, moments that
//! do not exist are left out; where they are put back, those that exist twice come twice, as
//! upstream.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

/// How far ahead a moment is looked for; `30 2 29 2 *` comes every four years, but not in 2100.
const YEARS_MAX: i16 = 9;
/// Longest step of a clock that is put back, in hours.
const FOLD_HOURS: i64 = 3;

/// One schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At these times.
    Fields(Fields),
    /// Every so many seconds after the last time.
    Every(i64),
}

/// Which times, one bit for each number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether day and weekday were left open: if neither was, one of them is enough.
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("TZ") || text.starts_with("CRON_TZ") {
            return Err(
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned()
            );
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ => text,
        };
        if let Some(duration) = fields.strip_prefix("@every ") {
            let seconds = seconds(duration).filter(|seconds| *seconds > 0);
            return seconds
                .map(Self::Every)
                .ok_or_else(|| format!("failed to parse duration {text}"));
        }
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let &[minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!(
                "expected exactly 5 fields, found {}: [{}]",
                fields.len(),
                fields.join(" ")
            ));
        };
        Ok(Self::Fields(Fields {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 6, &WEEKDAYS)?,
            any_day: open(days),
            any_weekday: open(weekdays),
        }))
    }

    /// The first moment after `after_s`, both in seconds since 1970; `None` if there is none within
    /// the next years.
    #[must_use]
    pub fn next(&self, after_s: i64, zone: &Zone) -> Option<i64> {
        match self {
            Self::Every(seconds) => Some(after_s.saturating_add(*seconds)),
            Self::Fields(fields) => fields.next(after_s, &zone.0),
        }
    }
}

/// A time zone by its name in the IANA database.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Finds a zone; `None` if there is none of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// Writes a moment as this zone's people read it, in the form of the API.
    #[must_use]
    pub fn format(&self, at_s: i64) -> Option<String> {
        let zoned = Timestamp::from_second(at_s).ok()?.to_zoned(self.0.clone());
        let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        Some(text.strip_suffix("+00:00").map_or_else(|| text.clone(), |text| format!("{text}Z")))
    }
}

fn open(text: &str) -> bool {
    text.split(',').any(|part| part.starts_with('*') || part.starts_with('?'))
}

/// Reads one field: `*`, numbers, names, ranges and steps.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let wrong = || format!("failed to parse field {text}: must be within {least} and {most}");
    let number = |part: &str| {
        let named = names.iter().position(|name| part.eq_ignore_ascii_case(name));
        let named = named.and_then(|place| u32::try_from(place).ok()).map(|place| place + least);
        named.or_else(|| part.parse().ok()).filter(|value| (least..=most).contains(value))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0)),
            None => (part, Some(1)),
        };
        let step = step.ok_or_else(wrong)?;
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (least, most),
            Some((first, last)) => {
                (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?)
            }
            None => {
                let first = number(range).ok_or_else(wrong)?;
                // `3/5` goes on to the end.
                (first, if part.contains('/') { most } else { first })
            }
        };
        if first > last {
            return Err(wrong());
        }
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        (first..=last).step_by(step).for_each(|value| bits |= 1_u64 << value);
    }
    Ok(bits)
}

/// Reads `1h30m10s`, whole seconds only.
fn seconds(text: &str) -> Option<i64> {
    let (mut total, mut number) = (0_i64, String::new());
    for letter in text.trim().chars() {
        let unit = match letter {
            '0'..='9' => {
                number.push(letter);
                continue;
            }
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let value: i64 = number.parse().ok()?;
        total = total.checked_add(value.checked_mul(unit)?)?;
        number.clear();
    }
    number.is_empty().then_some(total)
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits >> value & 1 == 1)
}

impl Fields {
    fn next(&self, after_s: i64, zone: &TimeZone) -> Option<i64> {
        let after = Timestamp::from_second(after_s).ok()?;
        let here = zone.to_datetime(after);
        // Times on the clock that exist twice may lie behind the hand and still be to come.
        let mut clock = here
            .checked_sub(FOLD_HOURS.hours())
            .ok()?
            .with()
            .second(0)
            .subsec_nanosecond(0)
            .build()
            .ok()?;
        let end_year = here.year().checked_add(YEARS_MAX)?;
        let mut best: Option<(i64, DateTime)> = None;
        loop {
            clock = self.at_or_after(clock, end_year)?;
            let found =
                instants(zone, clock).into_iter().flatten().filter(|at| *at > after_s).min();
            if let Some(at) = found
                && best.is_none_or(|(present, _)| at < present)
            {
                best = Some((at, clock));
            }
            clock = clock.checked_add(1.minute()).ok()?;
            if let Some((at, on_clock)) = best
                && clock > on_clock.checked_add(FOLD_HOURS.hours()).ok()?
            {
                return Some(at);
            }
        }
    }

    /// The first fitting time on the clock that is not before `clock`.
    fn at_or_after(&self, clock: DateTime, end_year: i16) -> Option<DateTime> {
        let (mut date, mut hour, mut minute) = (clock.date(), clock.hour(), clock.minute());
        loop {
            if date.year() > end_year {
                return None;
            }
            if !has(self.months, date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                (hour, minute) = (0, 0);
                continue;
            }
            if self.fits(date)
                && let Some((hour, minute)) = self.in_day(hour, minute)
            {
                return Some(date.at(hour, minute, 0, 0));
            }
            date = date.tomorrow().ok()?;
            (hour, minute) = (0, 0);
        }
    }

    fn fits(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }

    fn in_day(&self, first_hour: i8, first_minute: i8) -> Option<(i8, i8)> {
        for hour in first_hour..24 {
            let from = if hour == first_hour { first_minute } else { 0 };
            let minute = (from..60).find(|minute| has(self.minutes, *minute));
            if let Some(minute) = minute.filter(|_| has(self.hours, hour)) {
                return Some((hour, minute));
            }
        }
        None
    }
}

/// The moments at which a clock shows a time: none, one or two.
fn instants(zone: &TimeZone, clock: DateTime) -> [Option<i64>; 2] {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(clock).ok().map(|it| it.as_second());
    match zone.to_ambiguous_timestamp(clock).offset() {
        AmbiguousOffset::Unambiguous { offset } => [at(offset), None],
        AmbiguousOffset::Gap { .. } => [None, None],
        AmbiguousOffset::Fold { before, after } => [at(before), at(after)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_checked() {
        for good in ["* * * * *", "*/5 0-6 1,15 JAN-MAR sun", "@daily", "@every 1h", "0 0 ? * 1-5"]
        {
            assert!(Schedule::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "TZ=UTC * * * * *",
            "@every 0s",
            "@every x",
            "* * 0 * *",
            "* * * * 7",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    #[track_caller]
    fn check(schedule: &str, zone: &str, after: &str, expected: &[&str]) {
        let (schedule, zone) = (Schedule::parse(schedule).unwrap(), Zone::find(zone).unwrap());
        let mut at = after.parse::<Timestamp>().unwrap().as_second();
        for expected in expected {
            at = schedule.next(at, &zone).unwrap();
            assert_eq!(zone.format(at).unwrap(), *expected);
        }
    }

    #[test]
    fn next_moments_are_those_of_the_fields() {
        check(
            "*/20 * * * *",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"],
        );
        check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
        // Day and weekday: either is enough. 2026-03-01 is a Sunday.
        check(
            "0 6 3 * sun",
            "UTC",
            "2026-03-01T07:00:00Z",
            &["2026-03-03T06:00:00Z", "2026-03-08T06:00:00Z"],
        );
        check("@every 90s", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:01:30Z"]);
        let never = Schedule::parse("0 0 31 2 *").unwrap();
        assert_eq!(never.next(0, &Zone::UTC), None);
    }

    #[test]
    fn clocks_that_are_changed_leave_out_and_repeat_moments() {
        let berlin = "Europe/Berlin";
        check("30 2 * * *", berlin, "2026-03-28T12:00:00Z", &["2026-03-30T02:30:00+02:00"]);
        check(
            "30 * * * *",
            berlin,
            "2026-10-25T00:00:00Z",
            &[
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:30:00+01:00",
            ],
        );
        check("0 9 * * *", "Asia/Kolkata", "2026-06-01T00:00:00Z", &["2026-06-01T09:00:00+05:30"]);
        assert!(Zone::find("Mars/Olympus").is_none());
    }
}
