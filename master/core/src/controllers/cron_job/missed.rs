//! Which of the times that have passed is the latest.

use bramble_api::cron::{Schedule, Zone};

use crate::view::timestamp::Timestamp;

/// Most times that are looked at one by one.
const STEPS_MAX: usize = 10_000;

/// The latest time of a schedule after `since` and not after `now`, all in seconds. However many
/// there were, few of them are worked out.
pub(super) fn latest(schedule: &Schedule, zone: &Zone, since: i64, now: i64) -> Option<i64> {
    let first = schedule.next(since, zone).filter(|first| *first <= now)?;
    if let Schedule::Every(seconds) = schedule {
        return Some(first + (now - first).div_euclid(*seconds) * seconds);
    }
    // Look back from now, each time twice as far, until there is one.
    let mut back = 60;
    let mut latest = loop {
        let from = now.saturating_sub(back);
        if from <= first {
            break first;
        }
        if let Some(found) = schedule.next(from, zone).filter(|found| *found <= now) {
            break found;
        }
        back = back.saturating_mul(2);
    };
    for _ in 0..STEPS_MAX {
        match schedule.next(latest, zone).filter(|next| *next <= now) {
            Some(next) => latest = next,
            None => break,
        }
    }
    Some(latest)
}

/// A time as mails have it, in which upstream tells of it: `Sun, 09 Sep 2001 01:47:00 +0000`.
pub(super) fn mail_date(at_s: i64) -> String {
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = Timestamp(at_s.saturating_mul(1000)).to_string();
    let weekday = usize::try_from(at_s.div_euclid(86_400).rem_euclid(7)).unwrap_or_default();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    format!(
        "{}, {} {} {} {} +0000",
        days.get(weekday).copied().unwrap_or_default(),
        day.unwrap_or_default(),
        months.get(month.saturating_sub(1)).copied().unwrap_or_default(),
        year.unwrap_or_default(),
        time.trim_end_matches('Z'),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_in_mails() {
        assert_eq!(mail_date(1_000_000_000), "Sun, 09 Sep 2001 01:46:40 +0000");
        assert_eq!(mail_date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn latest_of_many_is_found() {
        let check = |schedule: &str, since: i64, now: i64, wanted: Option<i64>| {
            let schedule = Schedule::parse(schedule).unwrap();
            assert_eq!(latest(&schedule, &Zone::UTC, since, now), wanted);
        };
        check("* * * * *", 0, 59, None);
        check("* * * * *", 0, 61, Some(60));
        // Fifty years of minutes.
        check("* * * * *", 0, 1_600_000_030, Some(1_600_000_020));
        check("0 0 1 1 *", 0, 86_400 * 364, None);
        check("0,1 0 1 1 *", 0, 86_400 * 400, Some(86_400 * 365 + 60));
        check("@every 1h", 0, 10_000, Some(7_200));
    }
}
