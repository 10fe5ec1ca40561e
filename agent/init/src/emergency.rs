//! A board that cannot be started as it should be: says why, and lets a person look.
//!
//! It does not start again by itself, since that would only hide the message, unless it tries a
//! new system: then the old one gets its turn.

use bramble_runtime::clock::monotonic_ms;
use bramble_runtime::restart::BoardRestart;
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::supervisor::{StopReason, SuperviseError, Supervisor, SupervisorConfig};

use crate::messages::say;
use crate::paths::{AGENT_RUN, PODS_CGROUP};
use crate::{console, identity, shutdown, trial};

/// Stays until somebody reboots. `trying`: this boot tries a new system.
pub(crate) fn stay(why: &str, mend: &str, trying: bool) -> ! {
    say(&format!("this board cannot start: {why}"));
    say(mend);
    let banner = format!(
        "\nThis board cannot start: {why}\n{mend}\n`reboot` tries again; `dmesg` and /run/log may \
         tell more.\n"
    );
    if let Err(error) = identity::make_home().and_then(|()| console::write_profile(&banner)) {
        say(&format!("the shell has no profile: {error}"));
    }
    let how = match wait(trying) {
        Ok(Some(StopReason::PowerOff)) => BoardRestart::PowerOff,
        Ok(Some(StopReason::End)) => BoardRestart::Reboot,
        Ok(None) => {
            say("the trial has failed, the old system gets its turn");
            BoardRestart::Reboot
        }
        Err(error) => {
            say(&format!("no shell either: {error}"));
            std::thread::sleep(std::time::Duration::from_secs(30));
            BoardRestart::Reboot
        }
    };
    shutdown::end(how)
}

fn wait(trying: bool) -> Result<Option<StopReason>, SuperviseError> {
    let mut supervisor = Supervisor::open(&SupervisorConfig {
        run_dir: RunDir::new(AGENT_RUN),
        stop_pods: false,
        cgroup_root: PODS_CGROUP.to_owned(),
        protect_from_oom: false,
        first_process: true,
    })?;
    for shell in console::shells() {
        supervisor.put(shell);
    }
    loop {
        supervisor.turn(Some(1000))?;
        if let Some(reason) = supervisor.stopping() {
            supervisor.stop()?;
            return Ok(Some(reason));
        }
        if trying && monotonic_ms() >= trial::DEADLINE_MS {
            return Ok(None);
        }
    }
}
