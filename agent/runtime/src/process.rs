//! Facts about processes of this host, read from `/proc`.

use std::fs;
use std::io;

use nix::sys::prctl;
use nix::sys::signal::Signal;

/// Returns the start time of a process in clock ticks since boot, also of one that has ended and
/// was not reaped; with its pid it names a process for good.
#[must_use]
pub fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

/// Returns whether this very process still runs.
#[must_use]
pub fn runs(pid: i32, ticks: u64) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, after)) = stat.rsplit_once(')') else { return false };
    let mut fields = after.split_whitespace();
    let ended = matches!(fields.next(), Some("Z" | "X" | "x"));
    !ended && fields.nth(18).and_then(|field| field.parse().ok()) == Some(ticks)
}

/// Returns a process's parent.
#[must_use]
pub fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

/// Makes the kernel end this process when its parent ends, so that a supervisor that was killed
/// leaves no second set of processes behind for its successor to trip over.
///
/// # Errors
/// When the kernel refuses.
pub fn die_with_parent() -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_another_start_time_is_another_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        let ticks = start_ticks(own).unwrap();
        assert!(runs(own, ticks));
        assert!(!runs(own, ticks + 1));
        assert!(parent(own).is_some());
        assert!(!runs(i32::MAX, 1));
    }
}
