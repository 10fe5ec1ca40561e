//! A board without a battery wakes up in 1970: certificates would not be valid yet. Its clock is
//! set to the latest moment that it knows to have passed.

use std::fs;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::messages::say;
use crate::paths::{BUILD_TIME, LAST_TIME};

/// Sets the clock if it is behind. Called again once the data partition is there.
pub(crate) fn raise() {
    let read = |path| fs::read_to_string(path).ok();
    let now = bramble_runtime::clock::wall_us() / 1_000_000;
    let Some(to) = floor(now, read(BUILD_TIME).as_deref(), read(LAST_TIME).as_deref()) else {
        return;
    };
    let Ok(seconds) = to.try_into() else { return };
    if let Err(error) = clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, 0)) {
        say(&format!("the clock cannot be set: {error}"));
    }
}

/// Latest moment that is believed, in seconds since 1970: 2100. A damaged file must not send a
/// board where no certificate is valid any more.
const LATEST: u64 = 4_102_444_800;

/// What to set the clock to, in seconds since 1970, if it is behind.
fn floor(now: u64, build_time: Option<&str>, last_time: Option<&str>) -> Option<u64> {
    let known = [build_time, last_time].into_iter().flatten();
    let known = known.filter_map(|text| text.trim().parse::<u64>().ok());
    known.filter(|&time| time < LATEST).max().filter(|&time| time > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_only_goes_forward_and_not_too_far() {
        assert_eq!(floor(0, Some("100\n"), Some("200")), Some(200));
        assert_eq!(floor(0, Some("300\n"), Some("200")), Some(300));
        assert_eq!(floor(250, Some("100"), Some("200")), None);
        assert_eq!(floor(0, Some("100"), Some("99999999999999")), Some(100));
        assert_eq!(floor(0, Some("junk"), None), None);
    }
}
