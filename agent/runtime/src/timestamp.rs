//! Times as log files have them: RFC 3339 in UTC with nanoseconds.

/// Formats microseconds since 1970, such as `2026-11-23T19:22:00.123456000Z`.
#[must_use]
pub fn format(at_us: u64) -> String {
    let seconds = at_us / 1_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let micros = at_us % 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}000Z")
}

/// Parses what [`format`] writes; `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':').map(str::parse::<u64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    let digits = format!("{fraction:0<6}");
    let micros: u64 = digits.get(..6)?.parse().ok()?;
    let seconds = days(year, month, day)?.checked_mul(86_400)? + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

/// Year, month and day of a count of days since 1970 (Gregorian, years of 400 from March on).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + DAYS_BEFORE_1970;
    let era = shifted / DAYS_OF_ERA;
    let of_era = shifted % DAYS_OF_ERA;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Count of days since 1970; the inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * DAYS_OF_ERA + of_era).checked_sub(DAYS_BEFORE_1970)
}

/// Days from 1 March of the year 0 to 1970.
const DAYS_BEFORE_1970: u64 = 719_468;

/// Days of 400 years.
const DAYS_OF_ERA: u64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_and_back() {
        let check = |at_us, text: &str| {
            assert_eq!(format(at_us), text);
            assert_eq!(parse(text), Some(at_us));
        };
        check(0, "1970-01-01T00:00:00.000000000Z");
        check(951_782_400_000_001, "2000-02-29T00:00:00.000001000Z");
        check(1_795_461_720_123_456, "2026-11-23T19:22:00.123456000Z");
        assert_eq!(parse("2026-11-23T19:22:00Z"), Some(1_795_461_720_000_000));
        assert_eq!(parse("yesterday"), None);
    }
}
