//! The end of a board's run: nothing is left running, nothing is left unwritten.

use std::time::Duration;

use bramble_runtime::clock::monotonic_ms;
use bramble_runtime::restart::{BoardRestart, restart};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::messages::say;
use crate::mounts;
use crate::paths::{BOOT, DATA};

/// How long processes have to end by themselves, in milliseconds.
const END_MS: u64 = 2_000;

/// Ends all processes, unmounts and restarts or powers off. The children that are supervised have
/// been stopped already.
pub(crate) fn end(how: BoardRestart) -> ! {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // All but this one.
        let _none_left = kill(Pid::from_raw(-1), signal);
        if all_ended(END_MS) {
            break;
        }
    }
    rustix::fs::sync();
    for left in mounts::give_back(DATA).into_iter().chain(mounts::give_back(BOOT)) {
        say(&format!("not unmounted: {left}"));
    }
    rustix::fs::sync();
    say(match how {
        BoardRestart::Reboot => "starting again",
        BoardRestart::RebootWith(_) => "starting again, to try the other slot",
        BoardRestart::PowerOff => "switching off",
    });
    let error = restart(how);
    say(&format!("the kernel refuses: {error}"));
    loop {
        // Nothing is left to do; the power may be pulled.
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Reaps until nothing is left; every process is this one's child by now.
fn all_ended(within_ms: u64) -> bool {
    let until = monotonic_ms() + within_ms;
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(nix::sys::wait::WaitStatus::StillAlive) => {
                if monotonic_ms() >= until {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(_) | Err(_) => {}
        }
    }
}
