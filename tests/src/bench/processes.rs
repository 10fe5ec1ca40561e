//! What the kernel counts for processes: CPU time and bytes written to disks.

use std::fs;
use std::time::Duration;

use crate::board::{Board, command_line};

/// The kernel's tick in `/proc/PID/stat`, in microseconds: 100 per second on every architecture.
const TICK_US: u64 = 10_000;

/// CPU time of a process and its ended threads, user and system.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name in parentheses, which may hold anything.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_micros(ticks * TICK_US)
}

/// CPU time of several processes.
#[must_use]
pub fn cpu_times(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu_time(*pid)).sum()
}

/// Bytes that processes have sent towards disks (memory file systems do not count).
#[must_use]
pub fn written(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            text.lines()
                .find_map(|line| line.strip_prefix("write_bytes: "))
                .and_then(|value| value.parse::<u64>().ok())
        })
        .sum()
}

/// All processes of a board but the workload, which sleeps (as does the board's own holder).
///
/// # Errors
/// The board's cgroup cannot be read.
pub fn beside_workload(board: &Board) -> anyhow::Result<Vec<u32>> {
    let mut pids = board.processes()?;
    pids.retain(|pid| {
        let line = command_line(*pid);
        !line.is_empty() && !line.starts_with("sleep ")
    });
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::cpu_time;

    #[test]
    fn cpu_time_of_a_busy_process_grows() {
        let pid = std::process::id();
        let before = cpu_time(pid);
        let mut sum = 0_u64;
        while cpu_time(pid) <= before {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0);
    }
}
