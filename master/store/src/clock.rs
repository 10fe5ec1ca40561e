//! The one place of this crate that reads the clock.

use std::time::Instant;

/// Time since an arbitrary point; never goes back.
#[expect(clippy::disallowed_methods, reason = "the shell's one reading of the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
