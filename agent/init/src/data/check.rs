//! Checks the data partition's file system, and mends it.

use std::path::Path;
use std::process::Output;

use crate::messages::say;
use crate::program;
use crate::step::StepError;

const E2FSCK: &str = "/usr/sbin/e2fsck";

/// Checks the file system: first what is always safe (its journal is replayed), then, if that is
/// not enough, everything that can be mended. What was mended is told. A file system that could
/// not be mended is left for the mount to judge.
///
/// # Errors
/// The check cannot be run.
pub(crate) fn check(device: &Path) -> Result<(), StepError> {
    let device = device.to_string_lossy();
    let run = |mode: &str| {
        program::output(E2FSCK, &[mode, &device]).map_err(StepError::of("check the data partition"))
    };
    let first = run("-p")?;
    match verdict(first.status.code()) {
        Verdict::Clean => return Ok(()),
        Verdict::Mended => {
            tell("data partition mended", &first);
            return Ok(());
        }
        Verdict::NeedsMore => {}
    }
    say("data partition is damaged, mending what can be mended");
    let second = run("-y")?;
    match verdict(second.status.code()) {
        Verdict::Clean => say("data partition is whole again"),
        Verdict::Mended => tell("data partition mended", &second),
        Verdict::NeedsMore => tell("data partition could not be mended", &second),
    }
    Ok(())
}

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Clean,
    Mended,
    NeedsMore,
}

/// Reads e2fsck's exit code: a sum of 1 and 2 for what was mended, 4 for what was not, 8 and more
/// for a check that did not come to an end; none if a signal ended it.
fn verdict(code: Option<i32>) -> Verdict {
    match code {
        Some(0) => Verdict::Clean,
        // 2 asks for a reboot after the root was mended; this one is not even mounted.
        Some(1..=3) => Verdict::Mended,
        Some(_) | None => Verdict::NeedsMore,
    }
}

/// Most lines of a check that are shown.
const LINES_MAX: usize = 12;

fn tell(what: &str, check: &Output) {
    say(what);
    let text = String::from_utf8_lossy(&check.stdout);
    for line in text.lines().filter(|line| !line.trim().is_empty()).take(LINES_MAX) {
        say(&format!("  {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read_as_documented() {
        for (code, expected) in [
            (Some(0), Verdict::Clean),
            (Some(1), Verdict::Mended),
            (Some(2), Verdict::Mended),
            (Some(4), Verdict::NeedsMore),
            (Some(5), Verdict::NeedsMore),
            (Some(8), Verdict::NeedsMore),
            (None, Verdict::NeedsMore),
        ] {
            assert_eq!(verdict(code), expected, "{code:?}");
        }
    }
}
