//! The board's wall clock: boards have no battery, so the master says what time it is, and NTP
//! servers tell the master's own board.
//!
//! What time it was is kept on the card, so that the next boot does not start in 1970. Nothing of
//! bramble's own depends on the wall clock; logs, certificates of registries and people do.

mod ask;
mod discipline;
mod ntp;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bramble_runtime::slew::slew_by;
use bramble_runtime::whole_file;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

pub(crate) use ntp::follow_servers;

/// Name of the file in the data directory: seconds since 1970, decimal.
const FILE: &str = "last-time";
/// Differences from the master up to which the clock is left alone, in milliseconds: a message may
/// take as long.
const LEFT_MS: u64 = 200;
/// Differences from the master beyond which the clock is set instead of slewed, in milliseconds.
const SLEWED_MS: u64 = 2_000;
/// Seconds between two writes: cards wear out.
const NOTE_INTERVAL_S: u64 = 3_600;
/// Interval at which it is looked whether a write is due.
const LOOK: Duration = Duration::from_secs(60);

/// What makes our clock the master's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Correction {
    /// They are the same.
    Leave,
    /// Run faster, or slower if it is negative, to make up for this, in microseconds.
    Slew(i64),
    /// Set it, to milliseconds since 1970.
    Set(u64),
}

fn correction(own_ms: u64, master_ms: u64) -> Correction {
    match own_ms.abs_diff(master_ms) {
        0..=LEFT_MS => Correction::Leave,
        // So far apart that a slew would take hours.
        far if far > SLEWED_MS => Correction::Set(master_ms),
        _ => Correction::Slew(master_ms.wrapping_sub(own_ms).cast_signed() * 1_000),
    }
}

/// Whether the time is to be written, which was written last at `noted_s`. A clock that was set
/// far back counts as well: its old time would be a wrong beginning for the next boot.
fn due(noted_s: Option<u64>, now_s: u64) -> bool {
    noted_s.is_none_or(|noted| now_s.abs_diff(noted) >= NOTE_INTERVAL_S)
}

/// Makes the clock the master's, if they differ.
pub(crate) fn follow(master_ms: u64) {
    let own_ms = bramble_clock::time_of_day_ms();
    let done = match correction(own_ms, master_ms) {
        Correction::Leave => return,
        Correction::Slew(offset_us) => {
            tracing::debug!(offset_us, "the clock is slewed to the master's");
            slew_by(offset_us)
        }
        Correction::Set(wanted_ms) => {
            tracing::info!(own_ms, master_ms, "the clock is set to the master's");
            set_us(wanted_ms.saturating_mul(1_000))
        }
    };
    if let Err(error) = done {
        tracing::warn!(%error, "the clock could not be set to the master's");
    }
}

/// Sets the clock, to microseconds since 1970. Ends what is left of a slew.
fn set_us(us: u64) -> io::Result<()> {
    let time = TimeSpec::from(Duration::from_micros(us));
    Ok(clock_settime(ClockId::CLOCK_REALTIME, time)?)
}

/// Writes the time down now and then, for ever.
pub(crate) async fn keep(data_dir: PathBuf) {
    let path = data_dir.join(FILE);
    let mut noted = whole_file::read(&path).ok().flatten().and_then(|bytes| parse(&bytes));
    loop {
        // First waits: a clock that was not set yet is nothing to remember.
        tokio::time::sleep(LOOK).await;
        let now_s = bramble_clock::time_of_day_ms() / 1000;
        if due(noted, now_s) && write(&path, now_s) {
            noted = Some(now_s);
        }
    }
}

/// Writes the time down, at the end.
pub(crate) fn note(data_dir: &Path) {
    write(&data_dir.join(FILE), bramble_clock::time_of_day_ms() / 1000);
}

fn write(path: &Path, now_s: u64) -> bool {
    let written = whole_file::replace_durably(path, format!("{now_s}\n").as_bytes(), 0o644);
    if let Err(error) = &written {
        tracing::warn!(%error, "the time could not be written down");
    }
    written.is_ok()
}

fn parse(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_set_only_when_it_is_wrong() {
        let set = Correction::Set;
        assert_eq!(correction(0, 1_800_000_000_000), set(1_800_000_000_000));
        assert_eq!(correction(1_800_000_000_000, 1_700_000_000_000), set(1_700_000_000_000));
        assert_eq!(correction(12_001, 10_000), set(10_000));
        assert_eq!(correction(10_000, 12_000), Correction::Slew(2_000_000));
        assert_eq!(correction(10_201, 10_000), Correction::Slew(-201_000));
        assert_eq!(correction(10_200, 10_000), Correction::Leave);
    }

    #[test]
    fn the_time_is_written_once_an_hour() {
        assert!(due(None, 5));
        assert!(!due(Some(1_000), 1_000 + 3_599));
        assert!(due(Some(1_000), 1_000 + 3_600));
        assert!(due(Some(1_000_000), 10));
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        note(folder.path());
        let bytes = whole_file::read(&folder.path().join(FILE)).unwrap().unwrap();
        let now_s = bramble_clock::time_of_day_ms() / 1000;
        assert!(parse(&bytes).unwrap().abs_diff(now_s) < 60);
    }
}
