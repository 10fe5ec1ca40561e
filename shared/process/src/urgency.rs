//! Threads that must run on time, and those that can wait for them.

use crate::sys::scheduler;

/// The most urgent nice value that there is.
const MOST_URGENT_NICE: i32 = -20;

/// Priorities of what must run on time, above everything that runs when it can; see sched(7).
/// These threads sleep nearly always, and the kernel's own interrupt threads (50) go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgent {
    /// The heartbeats' thread, of an agent or the master: late heartbeats look like a dead node.
    Heartbeat = 20,
    /// The fence: late, it lets a singleton run twice or the watchdog reset a healthy board.
    Fence = 30,
}

/// Asks the scheduler to run this thread before all others, or where it may not do that, to give
/// it as much as it may. Says so in the log, and goes on, if it gives nothing.
pub fn run_before_others(urgent: Urgent) {
    let Err(error) = scheduler::run_before_others(urgent as u8) else { return };
    tracing::info!(%error, ?urgent, "thread has no real-time priority");
    // The nice value is per thread on Linux.
    if let Err(error) = rustix::process::setpriority_process(None, MOST_URGENT_NICE) {
        tracing::info!(%error, ?urgent, "thread has no priority over others");
    }
}

/// Lets the other threads of this process go first: `by` is how much nicer than they this one is.
pub fn let_others_go_first(by: u8) {
    if let Err(error) = rustix::process::setpriority_process(None, by.into()) {
        tracing::debug!(%error, "thread has the same priority as others");
    }
}
