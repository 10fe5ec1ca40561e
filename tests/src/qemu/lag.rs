//! How late timers are while boards are emulated: a figure of time is worth no more than this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::qemu::console::Console;
use crate::wait::{now, pause};

/// What is asked for each time.
const INTERVAL: Duration = Duration::from_millis(10);

/// How late timers were, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// Half of them were less late.
    pub median_ms: f64,
    /// 99 of 100 were less late.
    pub p99_ms: f64,
    /// None was later.
    pub max_ms: f64,
}

/// A measurement on this machine, beside the emulators.
#[derive(Debug)]
pub struct HostLag {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

impl HostLag {
    /// Begins.
    #[must_use]
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut late = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let start = now();
                pause(INTERVAL);
                late.push(start.elapsed().saturating_sub(INTERVAL).as_secs_f64() * 1e3);
            }
            late
        });
        Self { stop, thread }
    }

    /// Ends and returns what was seen.
    ///
    /// # Errors
    /// Nothing was.
    pub fn stop(self) -> Result<Lag> {
        self.stop.store(true, Ordering::Relaxed);
        Lag::of(self.thread.join().ok().context("the thread panicked")?)
    }
}

/// Measures on a board, at its console: how much longer each of `count` sleeps of 0.1 s takes by
/// the board's own clock. The start of a program is part of it, some milliseconds when emulated.
///
/// # Errors
/// It has no shell.
pub fn on_board(console: &Console, count: u32) -> Result<Lag> {
    // The clock of /proc/uptime has hundredths; ten sleeps in a row are one value.
    let command = format!(
        "for i in $(seq {count}); do read a b < /proc/uptime; usleep 100000; usleep 100000; \
         usleep 100000; usleep 100000; usleep 100000; read c d < /proc/uptime; echo $a $c; done"
    );
    let text = console.run_ok(&command, Duration::from_secs(60 + u64::from(count)))?;
    Lag::of(text.lines().filter_map(sleep_lag_ms).collect())
}

/// Lateness of one sleep of five on a line `BEFORE AFTER`, in seconds.
fn sleep_lag_ms(line: &str) -> Option<f64> {
    let (before, after) = line.split_once(' ')?;
    let passed = after.trim().parse::<f64>().ok()? - before.parse::<f64>().ok()?;
    Some((passed - 0.5) * 1e3 / 5.0)
}

impl Lag {
    fn of(mut late: Vec<f64>) -> Result<Self> {
        late.sort_by(f64::total_cmp);
        ensure!(!late.is_empty(), "no timer was measured");
        let at = |percent: usize| late.get((late.len() - 1) * percent / 100).copied();
        let value = |percent| at(percent).context("no value");
        Ok(Self { median_ms: value(50)?, p99_ms: value(99)?, max_ms: value(100)? })
    }
}

impl std::fmt::Display for Lag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "median {:.1} ms, p99 {:.1} ms, most {:.1} ms",
            self.median_ms, self.p99_ms, self.max_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_told_by_its_ranks() {
        let late: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        let lag = Lag::of(late).unwrap();
        assert_eq!(lag, Lag { median_ms: 51.0, p99_ms: 100.0, max_ms: 101.0 });
        assert_eq!(lag.to_string(), "median 51.0 ms, p99 100.0 ms, most 101.0 ms");
        assert!(Lag::of(Vec::new()).is_err());
        let late = sleep_lag_ms("12.00 12.60").unwrap();
        assert!((late - 20.0).abs() < 1e-6, "{late}");
        assert_eq!(sleep_lag_ms("x"), None);
    }
}
