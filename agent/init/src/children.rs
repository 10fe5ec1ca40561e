//! The processes that the first process keeps running.

use std::path::PathBuf;

use bramble_runtime::supervisor::{ChildCommand, Program, Restart, Streams};

use crate::paths::{AGENT, AGENT_CONFIG, BUSYBOX, DHCP_EVENT, SERVER, SERVER_CONFIG};
use crate::program::environment;

/// Name of the DHCP client.
pub(crate) const DHCP: &str = "udhcpc";
/// Name of the agent.
pub(crate) const NODE_AGENT: &str = "agent";
/// Name of the server.
pub(crate) const MASTER_SERVER: &str = "server";

fn child(name: &str, program: &str, args: &[&str]) -> ChildCommand {
    let environment = Some(environment());
    ChildCommand { environment, ..ChildCommand::of_file(name, program, args) }
}

/// What every node runs beside its agent. The fence is first, so that it is stopped last.
pub(crate) fn node() -> Vec<ChildCommand> {
    ["fence", "log-writer", "runtime"].map(own).to_vec()
}

/// The agent.
pub(crate) fn agent() -> ChildCommand {
    own(NODE_AGENT)
}

/// This program from the card's system, which nobody can write: no container can change the file
/// that its init was, so no copy in memory is needed.
fn own(name: &str) -> ChildCommand {
    let config = format!("--config={AGENT_CONFIG}");
    let parks = name == "runtime";
    ChildCommand { parks, ..child(name, AGENT, &[name, &config]) }
}

/// The server of a master.
pub(crate) fn server() -> ChildCommand {
    child(MASTER_SERVER, SERVER, &["server", "--config", SERVER_CONFIG])
}

/// The DHCP client of an interface.
pub(crate) fn udhcpc(interface: &str, node: &str) -> ChildCommand {
    let host_name = format!("hostname:{node}");
    let args = [
        "udhcpc", "-f", "-i", interface, "-s", DHCP_EVENT, "-x", &host_name,
        // Asks every second at first, and then every 3 s, for ever.
        "-t", "5", "-T", "1", "-A", "3",
        // Servers do not send these unless they are asked to.
        "-O", "ntpsrv",
    ];
    child(DHCP, BUSYBOX, &args)
}

/// The Wi-Fi client of an interface.
pub(crate) fn wpa_supplicant(interface: &str, config: &str) -> ChildCommand {
    let args = ["-i", interface, "-D", "nl80211", "-c", config];
    child("wpa_supplicant", "/usr/sbin/wpa_supplicant", &args)
}

/// The SSH server: keys only.
pub(crate) fn dropbear() -> ChildCommand {
    child("dropbear", "/usr/sbin/dropbear", &["-F", "-E", "-R", "-s", "-P", "/run/dropbear.pid"])
}

/// A shell on a terminal.
pub(crate) fn shell(terminal: &str) -> ChildCommand {
    let mut environment = environment();
    // Whoever is at the other end of a serial line understands at least this.
    let kind = if is_screen(terminal) { "linux" } else { "vt102" };
    environment.insert("TERM".to_owned(), kind.to_owned());
    ChildCommand {
        name: format!("shell-{terminal}"),
        program: Program::File(BUSYBOX.into()),
        args: ["sh", "-l"].map(str::to_owned).to_vec(),
        environment: Some(environment),
        streams: Streams::Terminal(PathBuf::from("/dev").join(terminal)),
        parks: false,
        restart: Restart::Always,
    }
}

fn is_screen(terminal: &str) -> bool {
    terminal.strip_prefix("tty").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_apart() {
        assert!(is_screen("tty1"));
        assert!(!is_screen("ttyAMA0"));
        assert!(!is_screen("ttyS1"));
    }

    #[test]
    fn the_fence_is_started_first_and_only_the_runtime_parks() {
        let node = node();
        assert_eq!(node[0].name, "fence");
        let parking: Vec<&str> =
            node.iter().filter(|child| child.parks).map(|child| child.name.as_str()).collect();
        assert_eq!(parking, ["runtime"]);
    }
}
