//! Reads what the board is and has.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bramble_agent_core::facts as parse;
use bramble_runtime::fence::client::FenceClient;
use bramble_runtime::run_dir::RunDir;
use bramble_shared::ids::BootId;
use bramble_shared::link::{FenceKind, NodeFacts};

use crate::boot_report;
use crate::config::Config;

/// Longest wait for the fence; it answers within microseconds.
const FENCE_ANSWER_MAX: Duration = Duration::from_millis(200);

/// The kernel's boot id.
///
/// # Errors
///
/// When `/proc` is not there.
pub(crate) fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    parse::uuid_bytes(&text)
        .map(BootId)
        .ok_or_else(|| io::Error::other("the kernel's boot id is malformed"))
}

/// The board's serial: the device tree's, the processor's, or else the machine id.
pub(crate) fn serial(machine_id: &str) -> String {
    let tree = text("/proc/device-tree/serial-number");
    let tree = tree.trim_end_matches('\0').trim();
    if !tree.is_empty() {
        return tree.to_owned();
    }
    parse::cpuinfo_serial(&text("/proc/cpuinfo")).unwrap_or_else(|| machine_id.to_owned())
}

/// The board's own name, in the form that a node's must have.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// What the board is and has.
pub(crate) fn gather(config: &Config, name: &str, address: Ipv4Addr) -> NodeFacts {
    let cpuinfo = text("/proc/cpuinfo");
    let meminfo = text("/proc/meminfo");
    let machine = rustix::system::uname();
    let machine_id = text("/etc/machine-id").trim().to_owned();
    // Two boards with one name are two nodes only if something tells them apart.
    let machine_id = if machine_id.is_empty() { name.to_owned() } else { machine_id };
    let processors = std::thread::available_parallelism()
        .ok()
        .and_then(|count| u64::try_from(count.get()).ok())
        .unwrap_or_else(|| parse::processors(&cpuinfo));
    NodeFacts {
        architecture: parse::go_architecture(&machine.machine().to_string_lossy()).to_owned(),
        os_image: parse::os_image(&text("/etc/os-release")),
        kernel_version: machine.release().to_string_lossy().into_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        machine_id,
        hostname: name.to_owned(),
        address,
        cpu_milli: processors.saturating_mul(1000),
        memory_bytes: parse::meminfo_bytes(&meminfo, "MemTotal").unwrap_or(0),
        storage_bytes: storage_bytes(config),
        pods_max: config.pods_max,
        fence: fence_kind(config),
        labels: config.labels.clone(),
        boot: boot_report::for_master(config.boot_report.as_deref()),
    }
}

/// How hard this node's fence is: what the fence itself says, since a device that is configured
/// may not be there. The fence is started before the agent.
fn fence_kind(config: &Config) -> FenceKind {
    let socket = RunDir::new(&config.run_dir).fence_socket();
    let hard = config.watchdog.is_some()
        && FenceClient::connect(&socket, FENCE_ANSWER_MAX)
            .and_then(|mut fence| fence.status())
            .is_ok_and(|status| status.hard);
    if hard { FenceKind::Watchdog } else { FenceKind::Soft }
}

fn storage_bytes(config: &Config) -> u64 {
    rustix::fs::statvfs(&config.data_dir)
        .map(|stat| stat.f_blocks.saturating_mul(stat.f_frsize))
        .unwrap_or(0)
}

/// A file's text, empty if it is not there: every fact may be missing somewhere.
pub(crate) fn text(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_facts() {
        let flags =
            crate::config::File { data_dir: Some("/tmp".into()), ..crate::config::File::default() };
        let empty = tempfile::NamedTempFile::new().unwrap();
        let config = Config::load(Some(empty.path()), &flags).unwrap();
        let facts = gather(&config, "n1", Ipv4Addr::LOCALHOST);
        assert!(facts.cpu_milli >= 1000);
        assert!(facts.memory_bytes > 1 << 20);
        assert!(facts.storage_bytes > 1 << 20);
        assert_ne!(boot_id().unwrap().0, [0; 16]);
        assert!(!serial(&facts.machine_id).is_empty());
    }
}
