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
    let Some(to) = floor(now, [read(BUILD_TIME), read(LAST_TIME), written(STORE)]) else { return };
    let Ok(seconds) = to.try_into() else { return };
    if let Err(error) = clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, 0)) {
        say(&format!("the clock cannot be set: {error}"));
    }
}

/// Latest moment that is believed, in seconds since 1970: 2100. A damaged file must not send a
/// board where no certificate is valid any more.
const LATEST: u64 = 4_102_444_800;

/// What to set the clock to, in seconds since 1970, if it is behind what is known to have passed.
fn floor<const N: usize>(now: u64, known: [Option<u64>; N]) -> Option<u64> {
    let known = known.into_iter().flatten().filter(|&time| time < LATEST);
    known.max().filter(|&time| time > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_only_goes_forward_and_not_too_far() {
        assert_eq!(floor(0, [Some(100), Some(200)]), Some(200));
        assert_eq!(floor(0, [Some(300), Some(200), None]), Some(300));
        assert_eq!(floor(250, [Some(100), Some(200)]), None);
        assert_eq!(floor(0, [Some(100), Some(99_999_999_999_999)]), Some(100));
        assert_eq!(floor(0, [None]), None);
    }
}
