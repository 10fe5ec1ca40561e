//! `/etc/hosts`, `/etc/resolv.conf` and the host name of a pod, as the kubelet writes them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use bramble_shared::link::{DnsSource, Pod};

/// Name servers that a resolver still reads (glibc's bound).
const NAMESERVERS_MAX: usize = 3;
/// Domains of a search list, and its bytes, that the kubelet still writes.
const SEARCHES_MAX: usize = 32;
const SEARCHES_LEN_MAX: usize = 2048;

/// What a pod's resolver configuration is made from.
#[derive(Clone, Copy, Debug)]
pub struct Dns<'a> {
    /// Address of cluster DNS.
    pub address: Ipv4Addr,
    /// Domain of cluster DNS.
    pub domain: &'a str,
    /// The node's own `/etc/resolv.conf`.
    pub node_resolv_conf: &'a str,
}

/// The pod's `/etc/hosts`.
#[must_use]
pub fn hosts(pod: &Pod, pod_ip: Ipv4Addr, domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    if pod.subdomain.is_empty() {
        let _ = writeln!(text, "{pod_ip}\t{}", pod.hostname);
    } else {
        let full = format!("{}.{}.{}.svc.{domain}", pod.hostname, pod.subdomain, pod.namespace);
        let _ = writeln!(text, "{pod_ip}\t{full}\t{}", pod.hostname);
    }
    text.push_str(&aliases(pod));
    text
}

/// `/etc/hosts` of a pod in the node's network: the node's own, and the pod's aliases.
#[must_use]
pub fn hosts_of_host_network(pod: &Pod, node_hosts: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}{}", aliases(pod))
}

fn aliases(pod: &Pod) -> String {
    let mut text = String::new();
    if !pod.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in &pod.host_aliases {
        let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
    }
    text
}

/// The pod's `/etc/resolv.conf`.
#[must_use]
pub fn resolv_conf(pod: &Pod, dns: &Dns<'_>) -> String {
    let mut config = match pod.dns.source {
        DnsSource::Cluster => ResolvConf {
            nameservers: vec![dns.address.to_string()],
            searches: vec![
                format!("{}.svc.{}", pod.namespace, dns.domain),
                format!("svc.{}", dns.domain),
                dns.domain.to_owned(),
            ],
            options: vec!["ndots:5".to_owned()],
        },
        DnsSource::Node => {
            let mut own = ResolvConf::parse(dns.node_resolv_conf);
            // A loopback address is the pod's own inside of it; cluster DNS asks the node's.
            for nameserver in own.nameservers.iter_mut().filter(|_| !pod.host_network) {
                if is_loopback(nameserver) {
                    *nameserver = dns.address.to_string();
                }
            }
            own.nameservers.dedup();
            own
        }
        DnsSource::None => ResolvConf::default(),
    };
    if pod.dns.source == DnsSource::Cluster {
        // A cluster name server that does not know a name asks further; the node's own search
        // list is kept so that names of the local network go on working, as upstream does.
        config.extend_searches(&ResolvConf::parse(dns.node_resolv_conf).searches);
    }
    for nameserver in &pod.dns.nameservers {
        if !config.nameservers.contains(nameserver) {
            config.nameservers.push(nameserver.clone());
        }
    }
    config.extend_searches(&pod.dns.searches);
    for option in &pod.dns.options {
        let name = option.split(':').next().unwrap_or_default();
        config.options.retain(|old| old.split(':').next() != Some(name));
        config.options.push(option.clone());
    }
    config.text()
}

/// Whether a `resolv.conf` names no resolver that another network namespace could reach.
#[must_use]
pub fn only_loopback_nameservers(resolv_conf: &str) -> bool {
    let nameservers = ResolvConf::parse(resolv_conf).nameservers;
    !nameservers.is_empty() && nameservers.iter().all(|nameserver| is_loopback(nameserver))
}

fn is_loopback(nameserver: &str) -> bool {
    nameserver.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[derive(Default)]
struct ResolvConf {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => config.nameservers.extend(words.next()),
                // The last search line counts.
                Some("search") => config.searches = words.filter(|name| name != ".").collect(),
                Some("options") => config.options.extend(words),
                Some(_) | None => {}
            }
        }
        config
    }

    fn extend_searches(&mut self, more: &[String]) {
        for search in more {
            if !self.searches.contains(search) {
                self.searches.push(search.clone());
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut searches =
            self.searches.iter().take(SEARCHES_MAX).fold(String::new(), |line, search| {
                match line.len() + 1 + search.len() <= SEARCHES_LEN_MAX {
                    true => line + " " + search,
                    false => line,
                }
            });
        if !searches.is_empty() {
            searches.insert_str(0, "search");
            let _ = writeln!(text, "{searches}");
        }
        for nameserver in self.nameservers.iter().take(NAMESERVERS_MAX) {
            let _ = writeln!(text, "nameserver {nameserver}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_worker::example::pod;
    use bramble_shared::link::HostAlias;

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let mut pod = pod();
        pod.subdomain = "sub".to_owned();
        pod.host_aliases =
            vec![HostAlias { ip: "1.2.3.4".to_owned(), hostnames: vec!["a".into(), "b".into()] }];
        let text = hosts(&pod, Ipv4Addr::new(10, 42, 0, 5), "cluster.local");
        assert!(text.contains("10.42.0.5\tweb.sub.default.svc.cluster.local\tweb\n"));
        assert!(text.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
    }

    #[test]
    fn cluster_dns_comes_first_and_options_are_replaced() {
        let mut pod = pod();
        pod.dns.options = vec!["ndots:2".to_owned(), "edns0".to_owned()];
        pod.dns.searches = vec!["lab".to_owned()];
        let dns = Dns {
            address: Ipv4Addr::new(10, 43, 0, 10),
            domain: "cluster.local",
            node_resolv_conf: "nameserver 192.168.1.1\nsearch home\n",
        };
        assert_eq!(
            resolv_conf(&pod, &dns),
            "search default.svc.cluster.local svc.cluster.local cluster.local home lab\n\
             nameserver 10.43.0.10\noptions ndots:2 edns0\n"
        );
    }

    #[test]
    fn loopback_resolvers_of_the_node_are_reached_through_cluster_dns() {
        let mut pod = pod();
        pod.dns.source = DnsSource::Node;
        let node_resolv_conf = "nameserver 127.0.0.1\nnameserver ::1\nnameserver 192.168.1.1\n";
        let dns = Dns {
            address: Ipv4Addr::new(10, 43, 0, 10),
            domain: "cluster.local",
            node_resolv_conf,
        };
        assert_eq!(resolv_conf(&pod, &dns), "nameserver 10.43.0.10\nnameserver 192.168.1.1\n");
        pod.host_network = true;
        assert!(resolv_conf(&pod, &dns).starts_with("nameserver 127.0.0.1\n"));
        assert!(only_loopback_nameservers("nameserver 127.0.0.53\n"));
        assert!(!only_loopback_nameservers(node_resolv_conf));
        assert!(!only_loopback_nameservers(""));
    }

    #[test]
    fn search_lists_are_as_long_as_the_kubelet_writes_them() {
        let mut pod = pod();
        pod.dns.source = DnsSource::None;
        pod.dns.searches = (0..40).map(|number| format!("s{number}")).collect();
        let dns = Dns { address: Ipv4Addr::LOCALHOST, domain: "x", node_resolv_conf: "" };
        assert_eq!(resolv_conf(&pod, &dns).split_whitespace().count(), 33);
        pod.dns.searches = vec!["a".repeat(2000), "b".repeat(200), "c".to_owned()];
        assert!(resolv_conf(&pod, &dns).ends_with("a c\n"));
    }

    #[test]
    fn default_policy_takes_the_nodes_own() {
        let mut pod = pod();
        pod.dns.source = DnsSource::Node;
        let dns = Dns {
            address: Ipv4Addr::new(10, 43, 0, 10),
            domain: "cluster.local",
            node_resolv_conf: "# by hand\nnameserver 192.168.1.1\nsearch home\noptions rotate\n",
        };
        assert_eq!(
            resolv_conf(&pod, &dns),
            "search home\nnameserver 192.168.1.1\noptions rotate\n"
        );
    }
}
