//! Lets the wall clock run a little faster or slower for a while.
//!
//! No crate of the tree wraps adjtimex.

use std::io;

use nix::libc;

/// Most that a clock is slewed by, in microseconds: the kernel makes up for 500 of them a second.
pub const SLEW_MAX_US: i32 = 2_000_000;

/// Makes up for this difference, in microseconds, little by little; a positive one lets the clock
/// run faster. Takes the place of what is left of an earlier difference. More than
/// [`SLEW_MAX_US`] is cut to that.
///
/// # Errors
/// When the kernel refuses: without CAP_SYS_TIME.
pub fn slew_by(offset_us: i64) -> io::Result<()> {
    let most = i64::from(SLEW_MAX_US);
    let offset = i32::try_from(offset_us.clamp(-most, most)).unwrap_or_default();
    // SAFETY: `timex` is a C structure of numbers, of which any may be 0.
    #[expect(unsafe_code, reason = "it has fields that only the C library can name")]
    let mut request: libc::timex = unsafe { std::mem::zeroed() };
    request.modes = libc::ADJ_OFFSET_SINGLESHOT;
    request.offset = offset.into();
    // SAFETY: the call reads and writes `request`, which outlives it, and nothing else of ours.
    #[expect(unsafe_code, reason = "no wrapper exists")]
    let state = unsafe { libc::adjtimex(&raw mut request) };
    if state == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_difference_is_taken_where_it_may_be_told() {
        // Anything else would change the clock of who runs this.
        match slew_by(0) {
            Ok(()) => assert!(nix::unistd::geteuid().is_root()),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    }
}
