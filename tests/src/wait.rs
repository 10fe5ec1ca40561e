//! Waiting for a state, with a bound.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// Polls until `state` is reached and returns how long it took.
///
/// # Errors
/// It is not reached within `bound`; the error names it and carries the last thing seen.
pub fn wait_until(
    what: &str,
    bound: Duration,
    mut state: impl FnMut() -> Result<Option<String>>,
) -> Result<Duration> {
    let start = now();
    loop {
        let seen = match state() {
            Ok(None) => return Ok(start.elapsed()),
            Ok(Some(seen)) => seen,
            Err(error) => format!("{error:#}"),
        };
        if start.elapsed() > bound {
            bail!("not reached within {bound:?}: {what}; last seen: {seen}");
        }
        pause(Duration::from_millis(50));
    }
}

/// Now, on the test's own clock.
#[expect(clippy::disallowed_methods, reason = "the one clock of the tests")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// This machine's time of day, since 1970.
#[expect(clippy::disallowed_methods, reason = "the one time of day of the tests")]
#[must_use]
pub fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A pause between two looks at a state; never a way to wait for one.
pub fn pause(time: Duration) {
    thread::sleep(time);
}
