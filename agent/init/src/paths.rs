//! Where things are on a running board. Agreed upon with whoever builds the system's image.

/// Where the slot is mounted that the board was started from.
pub(crate) const SLOT: &str = "/slot";
/// Where the boot partition is mounted.
pub(crate) const BOOT: &str = "/boot";
/// Where the data partition is mounted.
pub(crate) const DATA: &str = "/var";
/// Everything that init leaves for others.
pub(crate) const INIT_RUN: &str = "/run/bramble-init";
/// The agent's configuration.
pub(crate) const AGENT_CONFIG: &str = "/run/bramble-init/agent.toml";
/// The server's configuration.
pub(crate) const SERVER_CONFIG: &str = "/run/bramble-init/server.toml";
/// What the agent tells the master of this boot.
pub(crate) const BOOT_REPORT: &str = "/run/bramble-init/boot.toml";
/// How the agent wants the board to be started again: `normal` or `try`.
pub(crate) const REBOOT_REQUEST: &str = "/run/bramble-init/reboot";
/// `INTERFACE ADDRESS` once the board has an address.
pub(crate) const ADDRESS: &str = "/run/bramble-init/address";
/// NTP servers that the DHCP server names, one a line. Written before the address is.
pub(crate) const TIME_SERVERS: &str = "/run/bramble-init/time-servers";
/// The program that udhcpc calls; a link to this one.
pub(crate) const DHCP_EVENT: &str = "/run/bramble-init/dhcp-event";
/// Logs of the children.
pub(crate) const LOGS: &str = "/run/log";
/// The agent's run directory.
pub(crate) const AGENT_RUN: &str = "/run/bramble-agent";
/// Exists once the node was accepted by the master in this boot.
pub(crate) const READY: &str = "/run/bramble-agent/ready";
/// The agent's data directory.
pub(crate) const AGENT_DATA: &str = "/var/lib/bramble-agent";
/// The server's data directory.
pub(crate) const SERVER_DATA: &str = "/var/lib/bramble";
/// Time of day that the agent has noted, in seconds since 1970.
pub(crate) const LAST_TIME: &str = "/var/lib/bramble-agent/last-time";
/// Store of a master.
pub(crate) const STORE: &str = "/var/lib/bramble/cluster/store.log";
/// When this system was built, in seconds since 1970.
pub(crate) const BUILD_TIME: &str = "/etc/bramble/build-time";
/// Kernel modules and their indexes.
pub(crate) const MODULES: &str = "/usr/lib/modules";
/// This program.
pub(crate) const AGENT: &str = "/usr/bin/bramble-agent";
/// The server.
pub(crate) const SERVER: &str = "/usr/bin/bramble";
/// The small tools.
pub(crate) const BUSYBOX: &str = "/usr/bin/busybox";
/// Cgroup of everything that the agent runs.
pub(crate) const PODS_CGROUP: &str = "/bramble";
/// The watchdog of the fence.
pub(crate) const WATCHDOG: &str = "/dev/watchdog0";
