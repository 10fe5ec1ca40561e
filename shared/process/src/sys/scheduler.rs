//! Gives a thread real-time priority.
//!
//! No crate of the tree wraps sched_setscheduler.

use std::io;

use nix::libc;

/// Puts the calling thread, with this priority, before all threads without real-time priority.
/// What it forks does not inherit that.
///
/// # Errors
/// When the kernel refuses: without CAP_SYS_NICE, or where cgroups share out real time.
pub(crate) fn run_before_others(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority.into() };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the call reads `parameters`, which outlives it, and changes the thread's place in
    // the scheduler only; 0 is the calling thread.
    #[expect(unsafe_code, reason = "no wrapper exists")]
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_runs_before_others_where_it_may() {
        let scheduler = std::thread::spawn(|| {
            run_before_others(30)?;
            // Field 41 of stat(5) is the policy; what follows the name begins with field 3.
            let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
            let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().nth(38));
            Ok::<_, io::Error>(fields.flatten().map(str::to_owned))
        });
        match scheduler.join().unwrap() {
            Ok(policy) => assert_eq!(policy.as_deref(), Some("1")),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    }
}
