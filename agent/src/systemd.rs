//! The agent as a service of a board that runs systemd.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use bramble_runtime::whole_file;

/// Where the unit is.
pub(crate) const UNIT: &str = "/etc/systemd/system/bramble-agent.service";

/// Why the service could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The unit file.
    #[error("could not write `{UNIT}`")]
    Unit(#[source] io::Error),
    /// A command.
    #[error("could not run `systemctl {command}`")]
    Run {
        command: String,
        #[source]
        source: io::Error,
    },
    /// A command said no.
    #[error("`systemctl {command}` failed: {output}")]
    Failed { command: String, output: String },
}

/// Whether systemd is in charge of this board.
pub(crate) fn present() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Installs and starts the service.
///
/// # Errors
///
/// When the unit cannot be written or systemd refuses.
pub(crate) fn install(program: &Path, arguments: &[String]) -> Result<(), ServiceError> {
    let text = unit(program, arguments);
    whole_file::replace_durably(Path::new(UNIT), text.as_bytes(), 0o644)
        .map_err(ServiceError::Unit)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--now", "bramble-agent.service"])
}

/// Stops and removes the service; one that is not there is fine.
///
/// # Errors
///
/// When systemd refuses.
pub(crate) fn remove() -> Result<bool, ServiceError> {
    if !Path::new(UNIT).exists() {
        return Ok(false);
    }
    systemctl(&["disable", "--now", "bramble-agent.service"])?;
    fs::remove_file(UNIT).map_err(ServiceError::Unit)?;
    systemctl(&["daemon-reload"])?;
    Ok(true)
}

fn unit(program: &Path, arguments: &[String]) -> String {
    let mut line = program.display().to_string();
    line.push_str(" run");
    for argument in arguments {
        line.push(' ');
        line.push_str(argument);
    }
    // Containers are children of the service and outlive its restarts: only the supervisor is
    // told to stop.
    format!(
        "[Unit]\n\
         Description=bramble agent\n\
         After=network-online.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         ExecStart={line}\n\
         KillMode=process\n\
         Delegate=yes\n\
         Restart=always\n\
         RestartSec=1\n\
         OOMScoreAdjust=-999\n\
         TasksMax=infinity\n\
         LimitNOFILE=65536\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

fn systemctl(arguments: &[&str]) -> Result<(), ServiceError> {
    let command = arguments.join(" ");
    let output = Command::new("systemctl")
        .args(arguments)
        .output()
        .map_err(|source| ServiceError::Run { command: command.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ServiceError::Failed { command, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_lets_containers_outlive_the_service() {
        let text = unit(Path::new("/usr/local/bin/bramble-agent"), &["--data-dir=/d".to_owned()]);
        assert!(text.contains("ExecStart=/usr/local/bin/bramble-agent run --data-dir=/d\n"));
        assert!(text.contains("KillMode=process\n"));
    }
}
