//! Memory of a process: its proportional set size.

use std::fs;

/// PSS in bytes from `/proc/PID/smaps_rollup`; 0 if the process is gone.
#[must_use]
pub fn pss(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .map_or(0, |kib: u64| kib * 1024)
}

/// PSS of several processes, in megabytes.
#[must_use]
pub fn pss_mb(pids: &[u32]) -> f64 {
    let kib: u64 = pids.iter().map(|pid| pss(*pid) / 1024).sum();
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1000.0 * 1.024
}
