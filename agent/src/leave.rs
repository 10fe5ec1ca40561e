//! Undoes a join: stops everything that the agent runs and removes everything that it made.
//!
//! Goes on after an error and tells all of them at the end.

use std::path::PathBuf;
use std::time::Duration;

use bramble_network::{NodeNetwork, NodeNetworkConfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroups;
use crate::config::Config;
use crate::control;
use crate::records;
use crate::remove_folder::remove_folder;
use crate::systemd;
use crate::volumes;

/// Rounds of killing; new processes of a container may be born during one.
const KILL_ROUNDS: u32 = 50;

/// What could not be undone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaveError {
    /// The agent runs outside systemd.
    #[error("an agent is running with `{}`; stop it first", run_dir.display())]
    Running { run_dir: PathBuf },
    /// Something is left.
    #[error("some of it could not be removed: {}", .0.join("; "))]
    Incomplete(Vec<String>),
}

/// Undoes a join and returns what was done, in words.
///
/// # Errors
///
/// When an agent still runs, or something is left.
pub(crate) async fn leave(config: &Config) -> Result<Vec<String>, LeaveError> {
    let mut done = Vec::new();
    let mut errors = Vec::new();
    match systemd::remove() {
        Ok(true) => done.push("stopped and removed the service bramble-agent".to_owned()),
        Ok(false) => {}
        Err(error) => errors.push(crate::telemetry::Chain(&error).to_string()),
    }
    if std::os::unix::net::UnixStream::connect(control::socket(&config.run_dir)).is_ok() {
        return Err(LeaveError::Running { run_dir: config.run_dir.clone() });
    }
    let killed = kill_all(&config.cgroup_root).await;
    done.push(format!("stopped {killed} processes of pods"));
    if let Err(error) = remove_network(config).await {
        errors.push(error);
    }
    errors.extend(cgroups::remove(&config.cgroup_root));
    for folder in [&config.run_dir, &config.data_dir] {
        match volumes::remove(folder) {
            Ok(()) => done.push(format!("removed `{}`", folder.display())),
            Err(error) => errors.push(format!("`{}`: {error}", folder.display())),
        }
        if let Err(error) = remove_folder(folder) {
            errors.push(format!("`{}`: {error}", folder.display()));
        }
    }
    if errors.is_empty() { Ok(done) } else { Err(LeaveError::Incomplete(errors)) }
}

async fn remove_network(config: &Config) -> Result<(), String> {
    let Some(accepted) = records::read_accepted(&config.run_dir.join("records")) else {
        // Nothing was made on this boot.
        return Ok(());
    };
    let network = NodeNetwork::open(NodeNetworkConfig {
        bridge: config.bridge.clone(),
        pod_range: accepted.pod_range,
        service_range: accepted.service_range,
        run_dir: config.run_dir.clone(),
    });
    let network = network.await.map_err(|error| crate::telemetry::Chain(&error).to_string())?;
    let rules = network.apply_rules("table ip bramble\ndelete table ip bramble\n").await;
    let destroyed = network.destroy().await;
    rules.and(destroyed).map_err(|error| crate::telemetry::Chain(&error).to_string())
}

/// Kills whatever runs beneath the agent's cgroup and returns how many processes there were.
async fn kill_all(cgroup_root: &str) -> usize {
    let own = std::process::id();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..KILL_ROUNDS {
        let pids: Vec<i32> = cgroups::folders(cgroup_root)
            .iter()
            .flat_map(|folder| cgroups::processes(folder))
            .filter(|pid| u32::try_from(*pid) != Ok(own))
            .collect();
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            seen.insert(pid);
            // It may have ended since it was read.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    seen.len()
}
