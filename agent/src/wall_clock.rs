//! The board's wall clock: boards have no battery, so the master says what time it is, and NTP
//! servers tell the master's own board.
//!
//! What time it was is kept on the card, so that the next boot does not start in 1970. Nothing of
//! bramble's own depends on the wall clock; logs, certificates of registries and people do.

mod ask;
mod discipline;
mod journal;
mod ntp;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bramble_runtime::slew::slew_by;
use bramble_runtime::whole_file;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use journal::Journal;

/// Name of the file in the data directory: seconds since 1970, decimal.
const FILE: &str = "last-time";
/// Differences from the master up to which the clock is left alone, in milliseconds: a message may
/// take as long.
const LEFT_MS: u64 = 200;
/// Differences from the master beyond which the clock is set instead of slewed, in milliseconds.
const SLEWED_MS: u64 = 2_000;
/// Interval at which it is looked whether a write is due.
const LOOK: Duration = Duration::from_secs(60);
/// What has passed for sure, in seconds since 1970: 2025. For boards that know nothing better.
const EARLIEST_S: u64 = 1_735_689_600;

/// What makes our clock the master's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Correction {
    /// They are the same.
    Leave,
    /// Run faster, or slower if it is negative, to make up for this, in microseconds.
    Slew(i64),
    /// Set it, to milliseconds since 1970.
    Set(u64),
    /// What the master says has passed already.
    Refuse,
}

fn correction(own_ms: u64, master_ms: u64, floor_ms: u64) -> Correction {
    match own_ms.abs_diff(master_ms) {
        0..=LEFT_MS => Correction::Leave,
        _ if master_ms < floor_ms => Correction::Refuse,
        // So far apart that a slew would take hours.
        far if far > SLEWED_MS => Correction::Set(master_ms),
        _ => Correction::Slew(master_ms.wrapping_sub(own_ms).cast_signed() * 1_000),
    }
}

/// The wall clock of a board, and what is remembered of it.
#[derive(Debug)]
pub(crate) struct WallClock {
    path: PathBuf,
    /// What has passed for sure when the process began, in seconds since 1970.
    begun_s: u64,
    journal: Mutex<Journal>,
}

impl WallClock {
    /// Reads what was written down in the data directory.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE);
        let noted = whole_file::read(&path).ok().flatten().and_then(|bytes| parse(&bytes));
        let journal = Journal::new(noted, now_s(), uptime());
        let begun_s = bramble_init::build_time_s().unwrap_or(EARLIEST_S).max(EARLIEST_S);
        Self { path, begun_s, journal: Mutex::new(journal) }
    }

    /// Asks these NTP servers, names or addresses, for ever.
    pub(crate) async fn follow_servers(&self, servers: Vec<String>) {
        ntp::follow_servers(servers, || self.floor_s().saturating_mul(1_000_000)).await;
    }

    /// Makes the clock the master's, if they differ.
    pub(crate) fn follow(&self, master_ms: u64) {
        let own_ms = bramble_clock::time_of_day_ms();
        let done = match correction(own_ms, master_ms, self.floor_s().saturating_mul(1_000)) {
            Correction::Leave => return,
            Correction::Refuse => {
                let floor_s = self.floor_s();
                tracing::warn!(master_ms, floor_s, "the master says a time that has passed");
                return;
            }
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

    /// Writes the time down now and then, for ever.
    pub(crate) async fn keep(&self) {
        loop {
            // First waits: a clock that was not set yet is nothing to remember.
            tokio::time::sleep(LOOK).await;
            let now_s = now_s();
            if self.journal().due(now_s, uptime()) {
                self.write(now_s);
            }
        }
    }

    /// Writes the time down, at the end.
    pub(crate) fn note(&self) {
        let now_s = now_s();
        if self.journal().last(now_s, uptime()) {
            self.write(now_s);
        }
    }

    /// What has passed for sure, in seconds since 1970.
    fn floor_s(&self) -> u64 {
        self.journal().noted_s().map_or(self.begun_s, |noted| noted.max(self.begun_s))
    }

    fn write(&self, now_s: u64) {
        match whole_file::replace_durably(&self.path, format!("{now_s}\n").as_bytes(), 0o644) {
            Ok(()) => self.journal().written(now_s),
            Err(error) => tracing::warn!(%error, "the time could not be written down"),
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_s() -> u64 {
    bramble_clock::time_of_day_ms() / 1000
}

fn uptime() -> Duration {
    Duration::from_millis(bramble_runtime::clock::monotonic_ms())
}

/// Sets the clock, to microseconds since 1970. Ends what is left of a slew.
fn set_us(us: u64) -> io::Result<()> {
    let time = TimeSpec::from(Duration::from_micros(us));
    Ok(clock_settime(ClockId::CLOCK_REALTIME, time)?)
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
        let check = |own_ms, master_ms, expected| {
            assert_eq!(correction(own_ms, master_ms, 5_000), expected);
        };
        check(0, 1_800_000_000_000, set(1_800_000_000_000));
        check(1_800_000_000_000, 1_700_000_000_000, set(1_700_000_000_000));
        check(12_001, 10_000, set(10_000));
        check(10_000, 12_000, Correction::Slew(2_000_000));
        check(10_201, 10_000, Correction::Slew(-201_000));
        check(10_200, 10_000, Correction::Leave);
        check(10_000, 4_999, Correction::Refuse);
        check(5_100, 4_999, Correction::Leave);
    }

    #[test]
    fn what_was_written_is_the_floor_of_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let clock = WallClock::open(folder.path());
        assert_eq!(clock.floor_s(), EARLIEST_S);
        clock.note();
        let bytes = whole_file::read(&folder.path().join(FILE)).unwrap().unwrap();
        assert!(parse(&bytes).unwrap().abs_diff(now_s()) < 60);
        let next = WallClock::open(folder.path());
        assert_eq!(Some(next.floor_s()), parse(&bytes));
    }
}
