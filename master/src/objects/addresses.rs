//! Deals cluster addresses and node ports to Services.
//!
//! What is taken is kept in memory and rebuilt from the stored Services at every start; a claim
//! gives back what it took unless its write succeeded.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bramble_api::status::FieldError;
use bramble_api::{Resource, Status};
use bramble_shared::link::Ipv4Range;
use serde_json::{Map, Value, json};

use super::meta;
use crate::random;

/// Addresses at the start of the range that are only given to those who ask for them by number,
/// as upstream: a sixteenth of the range, 16 to 256.
const STATIC_MIN: u32 = 16;
const STATIC_MAX: u32 = 256;

/// Cluster addresses and node ports of all Services.
#[derive(Debug)]
pub(crate) struct Addresses {
    range: Ipv4Range,
    ports: (u16, u16),
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    ips: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<(String, u16)>,
}

/// What one Service holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holding {
    ips: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<(String, u16)>,
}

/// What a write has taken and will give up.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    addresses: &'a Addresses,
    taken: Holding,
    freed: Holding,
    kept: bool,
}

impl Claim<'_> {
    /// The write succeeded: what was given up is free, what was taken stays taken.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let gone = if self.kept { &self.freed } else { &self.taken };
        self.addresses.free(gone);
    }
}

impl Addresses {
    /// Deals from these ranges; nothing is taken yet.
    pub(super) fn new(range: Ipv4Range, ports: (u16, u16)) -> Self {
        Self { range, ports, taken: Mutex::default() }
    }

    /// Notes what a stored Service holds.
    pub(super) fn adopt(&self, service: &Value) {
        let Holding { ips, ports } = holding(service);
        let mut taken = self.lock();
        taken.ips.extend(ips);
        taken.ports.extend(ports);
    }

    /// Frees what a Service held that is gone.
    pub(super) fn release(&self, resource: &Resource, object: &Value) {
        if is_service(resource) {
            self.free(&holding(object));
        }
    }

    /// Fills what the client left out of an update from the old state, as upstream does for
    /// clients that replace without knowing what was dealt.
    pub(super) fn carry_over(&self, resource: &Resource, old: &Value, new: &mut Value) {
        if !is_service(resource) || service_type(new) == "ExternalName" {
            return;
        }
        let old_ports = ports(old);
        let Some(spec) = meta::child(new, "spec") else {
            return;
        };
        let cluster_ip = meta::text_at(old, "/spec/clusterIP");
        if !cluster_ip.is_empty() && service_type(old) != "ExternalName" {
            if text(spec, "clusterIP").is_empty() {
                spec.insert("clusterIP".to_owned(), Value::from(cluster_ip));
            }
            if spec.get("clusterIPs").is_none() && text(spec, "clusterIP") == cluster_ip {
                spec.insert("clusterIPs".to_owned(), json!([cluster_ip]));
            }
        }
        let wants_node_ports = matches!(text(spec, "type"), "NodePort" | "LoadBalancer");
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(port) = port.as_object_mut() else {
                continue;
            };
            let dealt = old_ports
                .iter()
                .find(|dealt| {
                    dealt.port == number(port, "port") && dealt.protocol == protocol(port)
                })
                .map_or(0, |dealt| dealt.node_port);
            if wants_node_ports && number(port, "nodePort") == 0 && dealt != 0 {
                port.insert("nodePort".to_owned(), Value::from(dealt));
            }
        }
    }

    /// Deals to a Service what it needs and does not have, and writes it into `new`.
    ///
    /// # Errors
    ///
    /// 422 when it asks for something that is taken or outside the range, 500 when nothing is
    /// left.
    pub(super) fn claim(
        &self,
        resource: &Resource,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<Claim<'_>, Status> {
        let mut claim = Claim {
            addresses: self,
            taken: Holding::default(),
            freed: Holding::default(),
            kept: false,
        };
        if !is_service(resource) {
            return Ok(claim);
        }
        let had = old.map(holding).unwrap_or_default();
        let name = meta::text(new, "name").to_owned();
        self.claim_ip(new, &had, &mut claim)
            .and_then(|()| self.claim_ports(new, &had, &mut claim))
            .map_err(|problem| match problem {
                Problem::Field(error) => Status::invalid(resource, &name, &[error]),
                Problem::Exhausted(message) => Status::internal(message),
            })?;
        let has = holding(new);
        claim.freed.ips = had.ips.difference(&has.ips).copied().collect();
        claim.freed.ports = had.ports.difference(&has.ports).cloned().collect();
        Ok(claim)
    }

    fn claim_ip(
        &self,
        service: &mut Value,
        had: &Holding,
        claim: &mut Claim<'_>,
    ) -> Result<(), Problem> {
        let wants = service_type(service) != "ExternalName";
        let Some(spec) = meta::child(service, "spec") else {
            return Ok(());
        };
        if !wants {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.remove(field);
            }
            return Ok(());
        }
        let first = spec.get("clusterIPs").and_then(|ips| ips.get(0)).and_then(Value::as_str);
        let asked = match text(spec, "clusterIP") {
            "" => first.unwrap_or("").to_owned(),
            asked => asked.to_owned(),
        };
        let ip = match asked.as_str() {
            "None" => "None".to_owned(),
            "" => {
                let ip = self.deal_ip()?;
                claim.taken.ips.insert(ip);
                ip.to_string()
            }
            asked => {
                let invalid = |detail: &str| {
                    Problem::Field(FieldError::invalid("spec.clusterIPs[0]", asked, detail))
                };
                let ip: Ipv4Addr =
                    asked.parse().map_err(|_| invalid("must be an IPv4 address or None"))?;
                if !had.ips.contains(&ip) {
                    if !self.contains(ip) {
                        return Err(invalid(&format!(
                            "failed to allocate IP {ip}: the provided IP is not in the valid range \
                             {}/{}",
                            self.range.network, self.range.prefix_len
                        )));
                    }
                    if !self.lock().ips.insert(ip) {
                        return Err(invalid(&format!(
                            "failed to allocate IP {ip}: provided IP is already allocated"
                        )));
                    }
                    claim.taken.ips.insert(ip);
                }
                ip.to_string()
            }
        };
        spec.insert("clusterIPs".to_owned(), json!([ip]));
        spec.insert("clusterIP".to_owned(), Value::from(ip));
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
        Ok(())
    }

    fn claim_ports(
        &self,
        service: &mut Value,
        had: &Holding,
        claim: &mut Claim<'_>,
    ) -> Result<(), Problem> {
        let wants = match service_type(service) {
            "NodePort" => true,
            "LoadBalancer" => {
                service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false))
            }
            _ => false,
        };
        let keeps = wants || service_type(service) == "LoadBalancer";
        let list = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for (index, port) in list.into_iter().flatten().enumerate() {
            let Some(port) = port.as_object_mut() else {
                continue;
            };
            let protocol = protocol(port);
            let asked = number(port, "nodePort");
            if !keeps {
                port.remove("nodePort");
                continue;
            }
            if asked == 0 {
                if wants {
                    let dealt = self.deal_port(&protocol)?;
                    claim.taken.ports.insert((protocol, dealt));
                    port.insert("nodePort".to_owned(), Value::from(dealt));
                }
                continue;
            }
            let entry = (protocol, asked);
            if had.ports.contains(&entry) || claim.taken.ports.contains(&entry) {
                continue;
            }
            let invalid = |detail: &str| {
                let field = format!("spec.ports[{index}].nodePort");
                Problem::Field(FieldError::invalid(field, asked, detail))
            };
            let (low, high) = self.ports;
            if !(low..=high).contains(&asked) {
                return Err(invalid(&format!(
                    "provided port is not in the valid range. The range of valid ports is \
                     {low}-{high}"
                )));
            }
            if !self.lock().ports.insert(entry.clone()) {
                return Err(invalid("provided port is already allocated"));
            }
            claim.taken.ports.insert(entry);
        }
        Ok(())
    }

    /// Takes a free address above the static part, starting at a random one.
    fn deal_ip(&self) -> Result<Ipv4Addr, Problem> {
        let size = 1_u32 << (32 - u32::from(self.range.prefix_len));
        let reserved = (size / 16).clamp(STATIC_MIN, STATIC_MAX);
        // The last address would be the broadcast address.
        let usable = size.saturating_sub(reserved + 1).max(1);
        let start = u32::from_ne_bytes(random::bytes());
        let mut taken = self.lock();
        (0..usable)
            .map(|step| reserved + start.wrapping_add(step) % usable)
            .map(|offset| Ipv4Addr::from_bits(self.range.network.to_bits() + offset))
            .find(|&ip| taken.ips.insert(ip))
            .ok_or_else(|| Problem::Exhausted("no cluster address is left for Services".to_owned()))
    }

    fn deal_port(&self, protocol: &str) -> Result<u16, Problem> {
        let (low, high) = self.ports;
        let count = u32::from(high - low) + 1;
        let start = u32::from_ne_bytes(random::bytes());
        let mut taken = self.lock();
        (0..count)
            .filter_map(|step| u16::try_from(start.wrapping_add(step) % count).ok())
            .map(|offset| low + offset)
            .find(|&port| taken.ports.insert((protocol.to_owned(), port)))
            .ok_or_else(|| Problem::Exhausted("no node port is left for Services".to_owned()))
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        let shift = 32 - u32::from(self.range.prefix_len);
        ip.to_bits() >> shift == self.range.network.to_bits() >> shift
    }

    fn free(&self, holding: &Holding) {
        let mut taken = self.lock();
        for ip in &holding.ips {
            taken.ips.remove(ip);
        }
        for port in &holding.ports {
            taken.ports.remove(port);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a Service cannot have what it needs.
enum Problem {
    Field(FieldError),
    Exhausted(String),
}

struct Port {
    port: u16,
    protocol: String,
    node_port: u16,
}

fn is_service(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.kind == "Service"
}

fn service_type(service: &Value) -> &str {
    meta::text_at(service, "/spec/type")
}

fn holding(service: &Value) -> Holding {
    let mut holding = Holding::default();
    holding.ips.extend(meta::text_at(service, "/spec/clusterIP").parse::<Ipv4Addr>().ok());
    for port in ports(service).into_iter().filter(|port| port.node_port != 0) {
        holding.ports.insert((port.protocol, port.node_port));
    }
    holding
}

fn ports(service: &Value) -> Vec<Port> {
    let list = service.pointer("/spec/ports").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(|port| Port {
            port: number(port, "port"),
            protocol: protocol(port),
            node_port: number(port, "nodePort"),
        })
        .collect()
}

fn text<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or("")
}

fn number(map: &Map<String, Value>, field: &str) -> u16 {
    map.get(field).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
}

fn protocol(port: &Map<String, Value>) -> String {
    match text(port, "protocol") {
        "" => "TCP".to_owned(),
        protocol => protocol.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bramble_shared::link::Ipv4Range;
    use serde_json::{Value, json};

    use super::super::Objects;
    use super::Addresses;

    fn addresses() -> Addresses {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 24 };
        Addresses::new(range, (30_000, 30_001))
    }

    fn service(spec: &Value) -> Value {
        json!({"metadata": {"name": "web"}, "spec": spec})
    }

    fn claim(addresses: &Addresses, old: Option<&Value>, new: &mut Value) -> Result<(), String> {
        let resource = Objects::resource("", "services");
        addresses.claim(resource, old, new).map(|claim| claim.keep()).map_err(|s| s.message)
    }

    #[test]
    fn service_gets_an_address_above_the_static_part() {
        let addresses = addresses();
        for _ in 0..239 {
            let mut object = service(&json!({"type": "ClusterIP"}));
            claim(&addresses, None, &mut object).unwrap();
            let ip: Ipv4Addr = object["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
            assert!((16..255).contains(&ip.octets()[3]), "{ip}");
        }
        let error = claim(&addresses, None, &mut service(&json!({"type": "ClusterIP"})));
        assert!(error.unwrap_err().contains("no cluster address is left"));
    }

    #[test]
    fn address_is_given_once_and_given_back() {
        let addresses = addresses();
        let mut first = service(&json!({"type": "ClusterIP", "clusterIP": "10.43.0.9"}));
        let mut second = first.clone();
        claim(&addresses, None, &mut first).unwrap();
        assert!(claim(&addresses, None, &mut second).unwrap_err().contains("already allocated"));
        addresses.release(Objects::resource("", "services"), &first);
        claim(&addresses, None, &mut second).unwrap();
    }

    #[test]
    fn failed_write_gives_everything_back() {
        let addresses = addresses();
        let resource = Objects::resource("", "services");
        let spec = json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]});
        for _ in 0..3 {
            drop(addresses.claim(resource, None, &mut service(&spec)).unwrap());
        }
        assert!(addresses.lock().ports.is_empty() && addresses.lock().ips.is_empty());
    }

    #[test]
    fn change_of_type_frees_the_node_port() {
        let addresses = addresses();
        let mut old = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        claim(&addresses, None, &mut old).unwrap();
        assert_eq!(addresses.lock().ports.len(), 1);
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        claim(&addresses, Some(&old), &mut new).unwrap();
        assert!(addresses.lock().ports.is_empty());
        assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
        assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    }

    #[test]
    fn replaced_service_keeps_what_it_was_dealt() {
        let addresses = addresses();
        let mut old = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        claim(&addresses, None, &mut old).unwrap();
        let mut new = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        addresses.carry_over(Objects::resource("", "services"), &old, &mut new);
        claim(&addresses, Some(&old), &mut new).unwrap();
        assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
        assert_eq!(new["spec"]["ports"], old["spec"]["ports"]);
    }

    #[test]
    fn headless_service_takes_nothing() {
        let addresses = addresses();
        let mut object = service(&json!({"type": "ClusterIP", "clusterIP": "None"}));
        claim(&addresses, None, &mut object).unwrap();
        assert!(addresses.lock().ips.is_empty());
        assert_eq!(object["spec"]["clusterIPs"], json!(["None"]));
    }

    #[test]
    fn foreign_addresses_and_ports_are_refused() {
        let addresses = addresses();
        let mut object = service(&json!({"type": "ClusterIP", "clusterIP": "10.99.0.1"}));
        assert!(claim(&addresses, None, &mut object).unwrap_err().contains("valid range"));
        let ports = json!([{"port": 1, "nodePort": 80}]);
        let mut object = service(&json!({"type": "NodePort", "ports": ports}));
        assert!(claim(&addresses, None, &mut object).unwrap_err().contains("valid range"));
    }
}
