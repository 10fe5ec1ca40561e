//! Figures of a board in few characters. What rounds to nothing but is not nothing says so.

/// Microseconds as milliseconds.
pub(super) fn round_trip(micros: u64) -> String {
    match micros {
        0..50 => "<0.1 ms".to_owned(),
        50..9_950 => format!("{} ms", tenths(micros, 1_000)),
        _ => format!("{} ms", (micros + 500) / 1_000),
    }
}

/// The part that was lost, in per cent; nothing if nothing was sent.
pub(super) fn loss(lost: u64, sent: u64) -> String {
    let rounded = (lost * 100 + sent / 2).checked_div(sent);
    match rounded {
        None => String::new(),
        Some(0) if lost > 0 => "<1 %".to_owned(),
        Some(percent) => format!("{percent} %"),
    }
}

/// A time since boot, in its two largest units.
pub(super) fn up(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m{}s", seconds % 60),
        () if days == 0 => format!("{hours}h{}m", minutes % 60),
        () => format!("{days}d{}h", hours % 24),
    }
}

/// Bytes of a day in megabytes, or in gigabytes.
pub(super) fn per_day(bytes: u64) -> String {
    match bytes {
        0 => "0 MB/day".to_owned(),
        1..50_000 => "<0.1 MB/day".to_owned(),
        50_000..9_950_000 => format!("{} MB/day", tenths(bytes, 1_000_000)),
        9_950_000..999_500_000 => format!("{} MB/day", (bytes + 500_000) / 1_000_000),
        _ => format!("{} GB/day", tenths(bytes, 1_000_000_000)),
    }
}

/// A number of `unit`s with one place after the point.
fn tenths(value: u64, unit: u64) -> String {
    let tenths = (value + unit / 20) / (unit / 10);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_milliseconds() {
        for (micros, text) in [
            (0, "<0.1 ms"),
            (49, "<0.1 ms"),
            (50, "0.1 ms"),
            (412, "0.4 ms"),
            (9_949, "9.9 ms"),
            (9_950, "10 ms"),
            (1_234_567, "1235 ms"),
        ] {
            assert_eq!(round_trip(micros), text);
        }
    }

    #[test]
    fn a_little_loss_is_not_none() {
        for (lost, text) in [(0, "0 %"), (1, "<1 %"), (3, "1 %"), (12, "2 %"), (600, "100 %")] {
            assert_eq!(loss(lost, 600), text);
        }
        assert_eq!(loss(0, 0), "");
    }

    #[test]
    fn uptimes_have_two_units() {
        for (seconds, text) in
            [(9, "9s"), (61, "1m1s"), (7_425, "2h3m"), (3_600, "1h0m"), (90_000, "1d1h")]
        {
            assert_eq!(up(seconds), text);
        }
    }

    #[test]
    fn what_a_card_takes_is_decimal() {
        for (bytes, text) in [
            (0, "0 MB/day"),
            (1, "<0.1 MB/day"),
            (300_000, "0.3 MB/day"),
            (9_949_999, "9.9 MB/day"),
            (42_000_000, "42 MB/day"),
            (999_499_999, "999 MB/day"),
            (999_500_000, "1.0 GB/day"),
            (u64::from(u32::MAX) * 1024, "4398.0 GB/day"),
        ] {
            assert_eq!(per_day(bytes), text);
        }
    }
}
