//! A board without a battery wakes up in 1970: certificates would not be valid yet. Its clock is
//! set to the latest moment that it knows to have passed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::messages::say;
use crate::paths::{BUILD_TIME, LAST_TIME, STORE};

/// Sets the clock if it is behind. Called again once the data partition is there.
pub(crate) fn raise() {
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    // A master may have nobody to ask; it has written its store when it last did something.
    let written = |path: &str| {
        let seconds = fs::metadata(path).ok()?.mtime();
        seconds.try_into().ok()
    };
    let now = bramble_runtime::clock::wall_us() / 1_000_000;
    let noted = [build_time_s(), read(LAST_TIME)];
    let Some(to) = floor(now, noted, written(STORE)) else { return };
    let Ok(seconds) = to.try_into() else { return };
    if let Err(error) = clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, 0)) {
        say(&format!("the clock cannot be set: {error}"));
    }
}

/// When the system that runs was built, in seconds since 1970; none if it is no card's.
#[must_use]
pub fn build_time_s() -> Option<u64> {
    fs::read_to_string(BUILD_TIME).ok()?.trim().parse().ok()
}

/// How much later than all that was noted the store's last write is believed to be, in seconds. The
/// time is noted every hour, unless somebody has just told another one, which is not to be believed
/// by this way round either.
const UNNOTED_S: u64 = 2 * 86_400;

/// Latest moment that is believed, in seconds since 1970: 2100. A damaged file must not send a
/// board where no certificate is valid any more.
const LATEST: u64 = 4_102_444_800;

/// What to set the clock to, in seconds since 1970, if it is behind what is known to have passed.
fn floor(now: u64, noted: [Option<u64>; 2], written: Option<u64>) -> Option<u64> {
    let noted = noted.into_iter().flatten().filter(|&time| time < LATEST).max();
    let written = written.filter(|&time| match noted {
        Some(noted) => time <= noted.saturating_add(UNNOTED_S),
        None => time < LATEST,
    });
    noted.max(written).filter(|&time| time > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_only_goes_forward_and_not_too_far() {
        let check =
            |now, noted, written, expected| assert_eq!(floor(now, noted, written), expected);
        check(0, [Some(100), Some(200)], None, Some(200));
        check(0, [Some(300), Some(200)], None, Some(300));
        check(0, [Some(300), None], Some(400), Some(400));
        check(250, [Some(100), Some(200)], None, None);
        check(0, [Some(100), Some(99_999_999_999_999)], None, Some(100));
        check(0, [None, None], Some(99_999_999_999_999), None);
        check(0, [None, None], None, None);
    }

    #[test]
    fn a_store_that_was_written_under_a_wrong_clock_is_not_believed() {
        let noted = 1_800_000_000;
        assert_eq!(floor(0, [Some(noted), None], Some(noted + 86_400)), Some(noted + 86_400));
        assert_eq!(floor(0, [Some(noted), None], Some(noted + 10 * 365 * 86_400)), Some(noted));
    }
}
