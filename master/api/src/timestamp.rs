//! RFC 3339 times of the API, to and from seconds since 1970 in UTC.
//!
//! Leap seconds are not represented, as in Unix time.

const SECONDS_PER_DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z: the first time whose year has four digits.
const SECONDS_MIN: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z: the last one.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Formats seconds since 1970 as `2006-01-02T15:04:05Z`.
///
/// Times beyond what four digits of a year can say become the first or the last of them, so that
/// what is written can always be read.
#[must_use]
pub fn format(unix_secs: i64) -> String {
    let unix_secs = unix_secs.clamp(SECONDS_MIN, SECONDS_MAX);
    let (year, month, day) = civil(unix_secs.div_euclid(SECONDS_PER_DAY));
    let second = unix_secs.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Formats microseconds since 1970 as `2006-01-02T15:04:05.000000Z`.
#[must_use]
pub fn format_micro(unix_micros: i64) -> String {
    let seconds = format(unix_micros.div_euclid(1_000_000));
    let micros = unix_micros.rem_euclid(1_000_000);
    format!("{}.{micros:06}Z", seconds.trim_end_matches('Z'))
}

/// Parses an RFC 3339 time to seconds since 1970; the fraction is cut off.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    parse_micro(text).map(|micros| micros.div_euclid(1_000_000))
}

/// Parses an RFC 3339 time to microseconds since 1970; what is finer is cut off.
#[must_use]
pub fn parse_micro(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?;
    let day = number(parts.next()?, 2)?;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let rest = rest.strip_prefix(['T', 't'])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let mut parts = time.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let second = number(parts.next()?, 2)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, zone) = rest.split_at_checked(length)?;
            if fraction.is_empty() {
                return None;
            }
            let padded: String = fraction.chars().chain("000000".chars()).take(6).collect();
            (number(&padded, 6)?, zone)
        }
    };
    let offset = zone_seconds(zone)?;
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    Some(seconds * 1_000_000 + micros)
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let sign = match zone.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hour, minute) = zone.get(1..)?.split_once(':')?;
    let (hour, minute) = (number(hour, 2)?, number(minute, 2)?);
    (hour <= 23 && minute <= 59).then_some(sign * (hour * 3600 + minute * 60))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Year, month and day of a day since 1970 in the proleptic Gregorian calendar, counted in eras
/// of 400 years that start in March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_and_parsed() {
        let check = |seconds: i64, text: &str| {
            assert_eq!(format(seconds), text);
            assert_eq!(parse(text), Some(seconds));
        };
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_767_323_045, "2026-01-02T03:04:05Z");
        check(4_102_444_799, "2099-12-31T23:59:59Z");
        assert_eq!(format_micro(1_500_000), "1970-01-01T00:00:01.500000Z");
    }

    #[test]
    fn what_is_written_can_always_be_read() {
        for seconds in [i64::MIN, SECONDS_MIN - 1, SECONDS_MIN, 0, SECONDS_MAX, i64::MAX] {
            let text = format(seconds);
            assert_eq!(parse(&text), Some(seconds.clamp(SECONDS_MIN, SECONDS_MAX)), "{text}");
            assert!(parse(&format_micro(seconds)).is_some());
        }
        let zoned = parse_micro("9999-12-31T23:59:59.999999-23:59").unwrap();
        assert!(parse(&format_micro(zoned)).is_some());
    }

    #[test]
    fn fractions_and_zones_are_understood_and_nonsense_is_not() {
        assert_eq!(parse_micro("1970-01-01T01:00:00.25+01:00"), Some(250_000));
        for text in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
            "12026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
