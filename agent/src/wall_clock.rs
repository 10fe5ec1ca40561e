//! The board's wall clock: boards have no battery, so the master says what time it is.
//!
//! What time it was is kept on the card, so that the next boot does not start in 1970. Nothing of
//! bramble's own depends on the wall clock; logs, certificates of registries and people do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bramble_runtime::whole_file;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// Name of the file in the data directory: seconds since 1970, decimal.
const FILE: &str = "last-time";
/// A difference that is left alone, in milliseconds: more than the message took.
const TOLERATED_MS: u64 = 2_000;
/// Seconds between two writes: cards wear out.
const NOTE_INTERVAL_S: u64 = 3_600;
/// Interval at which it is looked whether a write is due.
const LOOK: Duration = Duration::from_secs(60);

/// The time to set, if the clock is too far from the master's.
fn correction(own_ms: u64, master_ms: u64) -> Option<u64> {
    (own_ms.abs_diff(master_ms) > TOLERATED_MS).then_some(master_ms)
}

/// Whether the time is to be written, which was written last at `noted_s`. A clock that was set
/// far back counts as well: its old time would be a wrong beginning for the next boot.
fn due(noted_s: Option<u64>, now_s: u64) -> bool {
    noted_s.is_none_or(|noted| now_s.abs_diff(noted) >= NOTE_INTERVAL_S)
}

/// Sets the clock to the master's, if they differ.
pub(crate) fn follow(master_ms: u64) {
    let own_ms = bramble_clock::time_of_day_ms();
    let Some(wanted) = correction(own_ms, master_ms) else { return };
    match set(wanted) {
        Ok(()) => tracing::info!(own_ms, master_ms, "the clock was set to the master's"),
        Err(error) => tracing::warn!(%error, "the clock could not be set to the master's"),
    }
}

fn set(ms: u64) -> io::Result<()> {
    let time = TimeSpec::from(Duration::from_millis(ms));
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
        assert_eq!(correction(0, 1_800_000_000_000), Some(1_800_000_000_000));
        assert_eq!(correction(1_800_000_000_000, 1_700_000_000_000), Some(1_700_000_000_000));
        assert_eq!(correction(10_000, 12_000), None);
        assert_eq!(correction(12_001, 10_000), Some(10_000));
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
