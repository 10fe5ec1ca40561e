//! Deals cluster addresses and node ports to Services.
//!
//! Pure but for its dice: what is taken comes in, and what was dealt stands in the Service. That
//! nobody else has it is the transaction's to check; see `allocation.rs`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bramble_api::status::FieldError;
use bramble_api::{Holds, Resource, Status};
use bramble_shared::link::Ipv4Range;
use serde_json::{Map, Value, json};

use super::allocation::{ip_key, port_key};
use super::meta;
use crate::random;

/// Addresses at the start of the range that are only given to those who ask for them by number,
/// as upstream: a sixteenth of the range, 16 to 256.
const STATIC_MIN: u32 = 16;
const STATIC_MAX: u32 = 256;

/// Ranges from which cluster addresses and node ports are dealt.
#[derive(Debug)]
pub(crate) struct Addresses {
    range: Ipv4Range,
    ports: (u16, u16),
}

/// Services that every cluster has, by namespace and name, with their addresses as numbers within
/// the range. Nobody else gets these.
const KEPT: [(&str, &str, u32); 2] =
    [("default", "kubernetes", API_HOST), ("kube-system", "kube-dns", DNS_HOST)];
/// Number of the API's address in the Service range, as upstream.
pub(crate) const API_HOST: u32 = 1;
/// Number of cluster DNS' address in the Service range: what kubeadm takes.
pub(crate) const DNS_HOST: u32 = 10;

/// Keys of what is taken.
pub(super) type Taken = BTreeSet<String>;

impl Addresses {
    /// Deals from these ranges.
    pub(super) fn new(range: Ipv4Range, ports: (u16, u16)) -> Self {
        Self { range, ports }
    }

    /// Fills what the client left out of an update from the old state, as upstream does for
    /// clients that replace without knowing what was dealt.
    pub(super) fn carry_over(&self, resource: &Resource, old: &Value, new: &mut Value) {
        if !is_service(resource) {
            return;
        }
        give_up(old, new);
        if service_type(new) == "ExternalName" {
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

    /// Deals to a Service what it needs and does not have, and writes it into `new`; other objects
    /// get nothing.
    ///
    /// # Errors
    ///
    /// 422 when it asks for something that is taken or outside the range, 500 when nothing is
    /// left.
    pub(super) fn deal(
        &self,
        taken: &mut Taken,
        resource: &Resource,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), Status> {
        if !is_service(resource) {
            return Ok(());
        }
        let name = meta::text(new, "name").to_owned();
        self.deal_ip(taken, new, old.and_then(service_ip))
            .and_then(|()| self.deal_ports(taken, new, old.map(node_ports).unwrap_or_default()))
            .map_err(|problem| match problem {
                Problem::Field(error) => Status::invalid(resource, &name, &[error]),
                Problem::Exhausted(message) => Status::internal(message),
            })
    }

    fn deal_ip(
        &self,
        taken: &mut Taken,
        service: &mut Value,
        had: Option<Ipv4Addr>,
    ) -> Result<(), Problem> {
        let wants = service_type(service) != "ExternalName";
        // What every cluster has finds its address free at every start.
        let own = KEPT.iter().find(|(namespace, name, _)| {
            meta::text(service, "namespace") == *namespace && meta::text(service, "name") == *name
        });
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
            "" => self.free_ip(taken)?.to_string(),
            asked => {
                let invalid = |detail: &str| {
                    Problem::Field(FieldError::invalid("spec.clusterIPs[0]", asked, detail))
                };
                let ip: Ipv4Addr =
                    asked.parse().map_err(|_| invalid("must be an IPv4 address or None"))?;
                if had != Some(ip) {
                    if !self.contains(ip) {
                        return Err(invalid(&format!(
                            "failed to allocate IP {ip}: the provided IP is not in the valid range \
                             {}/{}",
                            self.range.network, self.range.prefix_len
                        )));
                    }
                    let number = ip.to_bits() - self.range.network.to_bits();
                    let reserved = own.is_none_or(|(.., kept)| *kept != number)
                        && KEPT.iter().any(|(.., kept)| *kept == number);
                    if reserved || !taken.insert(ip_key(ip)) {
                        return Err(invalid(&format!(
                            "failed to allocate IP {ip}: provided IP is already allocated"
                        )));
                    }
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

    fn deal_ports(
        &self,
        taken: &mut Taken,
        service: &mut Value,
        mut own: BTreeSet<(String, u16)>,
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
                    let dealt = self.free_port(taken, &protocol)?;
                    port.insert("nodePort".to_owned(), Value::from(dealt));
                }
                continue;
            }
            let key = port_key(&protocol, asked);
            if !own.insert((protocol, asked)) {
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
            if !taken.insert(key) {
                return Err(invalid("provided port is already allocated"));
            }
        }
        Ok(())
    }

    /// Takes a free address above the static part, starting at a random one.
    fn free_ip(&self, taken: &mut Taken) -> Result<Ipv4Addr, Problem> {
        let size = 1_u32 << (32 - u32::from(self.range.prefix_len));
        let reserved = (size / 16).clamp(STATIC_MIN, STATIC_MAX);
        // The last address would be the broadcast address.
        let usable = size.saturating_sub(reserved + 1).max(1);
        let start = u32::from_ne_bytes(random::bytes());
        (0..usable)
            .map(|step| reserved + start.wrapping_add(step) % usable)
            .map(|offset| Ipv4Addr::from_bits(self.range.network.to_bits() + offset))
            .find(|ip| taken.insert(ip_key(ip)))
            .ok_or_else(|| Problem::Exhausted("no cluster address is left for Services".to_owned()))
    }

    fn free_port(&self, taken: &mut Taken, protocol: &str) -> Result<u16, Problem> {
        let (low, high) = self.ports;
        let count = u32::from(high - low) + 1;
        let start = u32::from_ne_bytes(random::bytes());
        (0..count)
            .filter_map(|step| u16::try_from(start.wrapping_add(step) % count).ok())
            .map(|offset| low + offset)
            .find(|&port| taken.insert(port_key(protocol, port)))
            .ok_or_else(|| Problem::Exhausted("no node port is left for Services".to_owned()))
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        let shift = 32 - u32::from(self.range.prefix_len);
        ip.to_bits() >> shift == self.range.network.to_bits() >> shift
    }
}

/// Drops what belonged to the old type of a Service and was not changed with the type: a client
/// that changes one field need not know what else hangs on it.
fn give_up(old: &Value, new: &mut Value) {
    let (was, is) = (service_type(old).to_owned(), service_type(new).to_owned());
    if was == is {
        return;
    }
    let outside = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let before: BTreeSet<u16> = ports(old).iter().map(|port| port.node_port).collect();
    let kept =
        ports(new).iter().all(|port| port.node_port == 0 || before.contains(&port.node_port));
    let Some(spec) = meta::child(new, "spec") else {
        return;
    };
    if outside(&was) && !outside(&is) && kept {
        let list = spec.get_mut("ports").and_then(Value::as_array_mut);
        for port in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
    let same = |field: &str, spec: &Map<String, Value>| {
        old.get("spec").and_then(|old| old.get(field)) == spec.get(field)
    };
    let mut unneeded: Vec<&str> = Vec::new();
    if outside(&was) && !outside(&is) {
        unneeded.extend(["externalTrafficPolicy", "healthCheckNodePort"]);
    }
    if was == "LoadBalancer" {
        unneeded.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if is == "ExternalName" {
        unneeded.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
        unneeded.push("internalTrafficPolicy");
    }
    for field in unneeded {
        if same(field, spec) {
            spec.remove(field);
        }
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

pub(super) fn is_service(resource: &Resource) -> bool {
    resource.strategy.holds == Holds::ServiceAddresses
}

fn service_type(service: &Value) -> &str {
    meta::text_at(service, "/spec/type")
}

/// Cluster address of a Service; none if it is headless.
pub(super) fn service_ip(service: &Value) -> Option<Ipv4Addr> {
    meta::text_at(service, "/spec/clusterIP").parse().ok()
}

/// Node ports of a Service, with their protocols.
pub(super) fn node_ports(service: &Value) -> BTreeSet<(String, u16)> {
    let dealt = ports(service).into_iter().filter(|port| port.node_port != 0);
    dealt.map(|port| (port.protocol, port.node_port)).collect()
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
    use super::{Addresses, Taken, node_ports};

    fn addresses() -> Addresses {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 24 };
        Addresses::new(range, (30_000, 30_001))
    }

    fn service(spec: &Value) -> Value {
        json!({"metadata": {"name": "web"}, "spec": spec})
    }

    fn deal(taken: &mut Taken, old: Option<&Value>, new: &mut Value) -> Result<(), String> {
        let resource = Objects::resource("", "services");
        addresses().deal(taken, resource, old, new).map_err(|status| status.message)
    }

    #[test]
    fn service_gets_an_address_above_the_static_part() {
        let mut taken = Taken::new();
        for _ in 0..239 {
            let mut object = service(&json!({"type": "ClusterIP"}));
            deal(&mut taken, None, &mut object).unwrap();
            let ip: Ipv4Addr = object["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
            assert!((16..255).contains(&ip.octets()[3]), "{ip}");
        }
        let error = deal(&mut taken, None, &mut service(&json!({"type": "ClusterIP"})));
        assert!(error.unwrap_err().contains("no cluster address is left"));
    }

    #[test]
    fn address_is_given_once() {
        let mut taken = Taken::new();
        let mut first = service(&json!({"type": "ClusterIP", "clusterIP": "10.43.0.9"}));
        let mut second = first.clone();
        deal(&mut taken, None, &mut first).unwrap();
        let error = deal(&mut taken, None, &mut second).unwrap_err();
        assert!(error.contains("already allocated"), "{error}");
        deal(&mut taken, Some(&first), &mut second).unwrap();
    }

    #[test]
    fn what_every_cluster_has_keeps_its_addresses() {
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.43.0.10"});
        let error = deal(&mut Taken::new(), None, &mut service(&spec)).unwrap_err();
        assert!(error.contains("already allocated"), "{error}");
        let mut dns = json!({"metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": spec});
        deal(&mut Taken::new(), None, &mut dns).unwrap();
        let mut api = json!({"metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"type": "ClusterIP", "clusterIP": "10.43.0.10"}});
        deal(&mut Taken::new(), None, &mut api).unwrap_err();
    }

    #[test]
    fn the_first_address_is_kept_for_the_api() {
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.43.0.1"});
        let error = deal(&mut Taken::new(), None, &mut service(&spec)).unwrap_err();
        assert!(error.contains("already allocated"), "{error}");
        let mut api = json!({"metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": spec});
        deal(&mut Taken::new(), None, &mut api).unwrap();
    }

    #[test]
    fn a_new_type_takes_what_hung_on_the_old_one_with_it() {
        let resource = Objects::resource("", "services");
        let carried = |old: &Value, change: &Value| {
            let mut new = old.clone();
            bramble_api::patch::merge::apply(&mut new["spec"], change);
            addresses().carry_over(resource, old, &mut new);
            new["spec"].clone()
        };
        let old = service(&json!({"type": "NodePort", "clusterIP": "10.43.0.9",
            "clusterIPs": ["10.43.0.9"], "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30_000}]}));
        assert_eq!(
            carried(&old, &json!({"type": "ClusterIP"})),
            json!({"type": "ClusterIP", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"],
                "ports": [{"port": 80, "protocol": "TCP"}]})
        );
        assert_eq!(
            carried(&old, &json!({"type": "ExternalName", "externalName": "a.example"})),
            json!({"type": "ExternalName", "externalName": "a.example",
                "ports": [{"port": 80, "protocol": "TCP"}]})
        );
        // A port that comes with the new type is refused later, not lost.
        let other = json!({"type": "ClusterIP",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30_001}]});
        assert_eq!(carried(&old, &other)["ports"][0]["nodePort"], json!(30_001));
    }

    #[test]
    fn change_of_type_gives_the_node_port_back() {
        let mut taken = Taken::new();
        let mut old = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        deal(&mut taken, None, &mut old).unwrap();
        assert_eq!(node_ports(&old).len(), 1);
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        deal(&mut taken, Some(&old), &mut new).unwrap();
        assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
        assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    }

    #[test]
    fn replaced_service_keeps_what_it_was_dealt() {
        let mut taken = Taken::new();
        let mut old = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        deal(&mut taken, None, &mut old).unwrap();
        let mut new = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        addresses().carry_over(Objects::resource("", "services"), &old, &mut new);
        deal(&mut taken, Some(&old), &mut new).unwrap();
        assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
        assert_eq!(new["spec"]["ports"], old["spec"]["ports"]);
    }

    #[test]
    fn headless_service_takes_nothing() {
        let mut taken = Taken::new();
        let mut object = service(&json!({"type": "ClusterIP", "clusterIP": "None"}));
        deal(&mut taken, None, &mut object).unwrap();
        assert!(taken.is_empty());
        assert_eq!(object["spec"]["clusterIPs"], json!(["None"]));
    }

    #[test]
    fn foreign_addresses_and_ports_are_refused() {
        let mut taken = Taken::new();
        let mut object = service(&json!({"type": "ClusterIP", "clusterIP": "10.99.0.1"}));
        assert!(deal(&mut taken, None, &mut object).unwrap_err().contains("valid range"));
        let ports = json!([{"port": 1, "nodePort": 80}]);
        let mut object = service(&json!({"type": "NodePort", "ports": ports}));
        assert!(deal(&mut taken, None, &mut object).unwrap_err().contains("valid range"));
    }
}
