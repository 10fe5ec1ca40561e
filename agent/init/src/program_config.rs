//! The configuration files of agent and server, made from the card's settings.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bramble_card::settings::{CardSettings, Role};
use serde::Serialize;

use crate::paths::{AGENT_DATA, AGENT_RUN, BOOT_REPORT, SERVER_DATA, WATCHDOG};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct AgentFile<'a> {
    node: &'a str,
    server: String,
    data_dir: &'a str,
    run_dir: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
    token: &'a str,
    mdns: bool,
    set_clock: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ntp_servers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watchdog: Option<&'a str>,
    boot_report: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_budget_mib: Option<u64>,
    plain_http_registries: &'a [String],
    labels: &'a BTreeMap<String, String>,
}

/// The agent's file. On a master it talks to the server beside it, at the board's own address.
/// `lan_time_servers` are those that the LAN's DHCP server names.
pub(crate) fn agent(
    settings: &CardSettings,
    address: Option<Ipv4Addr>,
    lan_time_servers: &[Ipv4Addr],
    watchdog: bool,
) -> String {
    let own = address.filter(|_| settings.role == Role::Master);
    let server = own
        .map_or_else(|| settings.server.clone(), |address| format!("{address}:{}", port(settings)));
    let file = AgentFile {
        node: &settings.node,
        server,
        data_dir: AGENT_DATA,
        run_dir: AGENT_RUN,
        address: own,
        token: &settings.token,
        mdns: true,
        // A master's own board asks NTP servers instead.
        set_clock: settings.role == Role::Agent,
        ntp_servers: ntp_servers(settings, lan_time_servers),
        watchdog: watchdog.then_some(WATCHDOG),
        boot_report: BOOT_REPORT,
        log_budget_mib: settings.log_budget_mib,
        plain_http_registries: &settings.plain_http_registries,
        labels: &settings.labels,
    };
    toml::to_string(&file).unwrap_or_default()
}

/// Whom a master asks if neither its card nor its LAN names a server: Debian's part of the NTP
/// pool, which is meant for Debian systems as this one.
const DEBIAN_POOL: [&str; 3] =
    ["0.debian.pool.ntp.org", "1.debian.pool.ntp.org", "2.debian.pool.ntp.org"];

fn ntp_servers(settings: &CardSettings, lan: &[Ipv4Addr]) -> Vec<String> {
    match (settings.role, &settings.ntp) {
        (Role::Agent, _) => Vec::new(),
        (Role::Master, Some(servers)) => servers.clone(),
        (Role::Master, None) if lan.is_empty() => DEBIAN_POOL.map(str::to_owned).to_vec(),
        (Role::Master, None) => lan.iter().map(Ipv4Addr::to_string).collect(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ServerFile<'a> {
    data_dir: &'a str,
    listen: String,
    advertise_address: Ipv4Addr,
    identity_from: &'a str,
}

/// The server's file.
pub(crate) fn server(settings: &CardSettings, address: Ipv4Addr) -> String {
    let file = ServerFile {
        data_dir: SERVER_DATA,
        listen: format!("0.0.0.0:{}", port(settings)),
        advertise_address: address,
        identity_from: "/boot/cluster",
    };
    toml::to_string(&file).unwrap_or_default()
}

/// The port of `HOST:PORT`; the settings were checked to have one.
fn port(settings: &CardSettings) -> &str {
    settings.server.rsplit_once(':').map_or("6443", |(_, port)| port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(role: &str) -> CardSettings {
        CardSettings::parse(&format!(
            "node = \"pi-1\"\nrole = \"{role}\"\ncluster = \"c\"\nserver = \"pi-1.local:7443\"\n\
             token = \"T\"\n[labels]\nshelf = \"top\"\n"
        ))
        .unwrap()
    }

    #[test]
    fn an_agent_is_told_of_the_master_as_the_card_says() {
        let lan = [Ipv4Addr::new(10, 0, 0, 254)];
        let text = agent(&settings("agent"), Some(Ipv4Addr::new(10, 0, 0, 2)), &lan, true);
        for line in [
            "server = \"pi-1.local:7443\"",
            "set-clock = true",
            "watchdog = \"/dev/watchdog0\"",
            "shelf = \"top\"",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("address ="), "{text}");
        assert!(!text.contains("ntp-servers"), "{text}");
        assert!(!text.contains("log-budget"), "{text}");
        let frugal = CardSettings { log_budget_mib: Some(8), ..settings("agent") };
        assert!(agent(&frugal, None, &[], false).contains("log-budget-mib = 8"));
        assert!(!agent(&settings("agent"), None, &[], false).contains("watchdog"));
    }

    #[test]
    fn a_masters_own_agent_talks_to_its_own_address() {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let text = agent(&settings("master"), Some(address), &[], false);
        for line in ["server = \"10.0.0.1:7443\"", "address = \"10.0.0.1\"", "set-clock = false"] {
            assert!(text.contains(line), "{text}");
        }
        let text = server(&settings("master"), address);
        for line in ["listen = \"0.0.0.0:7443\"", "advertise-address = \"10.0.0.1\""] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_master_asks_the_cards_servers_or_the_lans_or_debians() {
        let lan = [Ipv4Addr::new(10, 0, 0, 254)];
        let mut master = settings("master");
        assert_eq!(ntp_servers(&master, &lan), ["10.0.0.254"]);
        assert_eq!(ntp_servers(&master, &[]), DEBIAN_POOL);
        master.ntp = Some(vec!["ntp.example".to_owned()]);
        assert_eq!(ntp_servers(&master, &lan), ["ntp.example"]);
        master.ntp = Some(Vec::new());
        assert_eq!(ntp_servers(&master, &lan), [""; 0]);
    }
}
