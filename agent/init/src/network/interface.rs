//! Which network interface is the board's.

use std::fs;
use std::path::Path;

/// An interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its name, such as `eth0`.
    pub(super) name: String,
    /// Its number: another one means that it went and came again.
    pub(super) index: u32,
    /// A device is behind it; bridges and the like have none.
    pub(super) device: bool,
    /// It speaks Ethernet's frames.
    pub(super) ethernet: bool,
    /// It is a radio.
    pub(super) wireless: bool,
}

/// Type of interfaces with Ethernet's frames: `ARPHRD_ETHER`.
const ETHERNET: &str = "1";

/// All interfaces, by name.
pub(super) fn all() -> Vec<Interface> {
    let mut found: Vec<Interface> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| read(&entry.path()))
        .collect();
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    found
}

fn read(folder: &Path) -> Option<Interface> {
    let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
    Some(Interface {
        name: folder.file_name()?.to_str()?.to_owned(),
        index: text("ifindex")?.trim().parse().ok()?,
        device: folder.join("device").exists(),
        ethernet: text("type")?.trim() == ETHERNET,
        wireless: folder.join("wireless").exists() || folder.join("phy80211").exists(),
    })
}

/// The first radio or the first wired interface. A board has one of each; where it has more,
/// built-in ones have the smaller names (`end0`, `eth0`, `usb0`).
pub(super) fn choose(all: &[Interface], wireless: bool) -> Option<Interface> {
    let fits = |interface: &&Interface| {
        interface.device && interface.ethernet && interface.wireless == wireless
    };
    all.iter().filter(fits).min_by(|one, other| one.name.cmp(&other.name)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, device: bool, wireless: bool) -> Interface {
        Interface { name: name.to_owned(), index: 1, device, ethernet: true, wireless }
    }

    #[test]
    fn the_first_real_interface_of_the_kind_is_chosen() {
        let all = [
            interface("bramble0", false, false),
            Interface { ethernet: false, ..interface("can0", true, false) },
            interface("eth1", true, false),
            interface("eth0", true, false),
            interface("wlan0", true, true),
        ];
        assert_eq!(choose(&all, false).unwrap().name, "eth0");
        assert_eq!(choose(&all, true).unwrap().name, "wlan0");
        assert_eq!(choose(&all[..2], false), None);
    }
}
