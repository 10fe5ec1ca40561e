//! What each name of a small cluster is answered with.

use bramble_shared::link::{Endpoint, EndpointHost};

use super::*;
use crate::message::tests::ask;

fn port(name: &str, protocol: Protocol, number: u16, lasts: &[u8]) -> ServicePort {
    let endpoint = |last: &u8| Endpoint {
        ip: Ipv4Addr::new(10, 42, 0, *last),
        port: number + 8000,
        node: Some(NodeId(u16::from(*last))),
        terminating: false,
    };
    let endpoints = lasts.iter().map(endpoint).collect();
    ServicePort { name: name.to_owned(), protocol, port: number, node_port: 0, endpoints }
}

fn host(last: u8, hostname: &str) -> EndpointHost {
    let node = Some(NodeId(u16::from(last)));
    EndpointHost { ip: Ipv4Addr::new(10, 42, 0, last), hostname: hostname.to_owned(), node }
}

fn services() -> BTreeMap<(String, String), Service> {
    let named = |namespace: &str, name: &str| Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Service::default()
    };
    let external = |name: &str, target: &str| Service {
        external_name: target.to_owned(),
        ..named("default", name)
    };
    [
        Service {
            cluster_ip: Some(Ipv4Addr::new(10, 43, 0, 9)),
            ports: vec![
                port("http", Protocol::Tcp, 80, &[2, 3]),
                port("dns", Protocol::Udp, 53, &[2, 3]),
            ],
            ..named("default", "web")
        },
        Service {
            ports: vec![port("sql", Protocol::Tcp, 5432, &[4, 5])],
            hosts: vec![host(4, "db-0"), host(5, "")],
            ..named("data", "db")
        },
        Service { hosts: vec![host(6, "x")], publish_not_ready: true, ..named("data", "early") },
        named("data", "nobody"),
        external("out", "db.example.com"),
        external("in", "web.default.svc.cluster.local"),
        external("me", "me.default.svc.cluster.local"),
        external("number", "192.0.2.7"),
    ]
    .into_iter()
    .map(|service| ((service.namespace.clone(), service.name.clone()), service))
    .collect()
}

fn look_up(name: &str, kind: u16, lost: &[u16]) -> Found {
    let services = services();
    let zone = Zone {
        domain: &Name::parse("cluster.local").unwrap(),
        dns: Ipv4Addr::new(10, 43, 0, 10),
        ranges: [
            Ipv4Range { network: Ipv4Addr::new(10, 42, 0, 0), prefix_len: 16 },
            Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 16 },
        ],
        services: &services,
        lost: |node: NodeId| lost.contains(&node.0),
        turn: 0,
    };
    zone.look_up(&Query::parse(&ask(name, kind, None)).unwrap())
}

/// The answer in words: code, records, and `soa` if a "no" may be kept.
fn words(found: &Found) -> String {
    let text = |record: &Record| match &record.data {
        Data::A(ip) => ip.to_string(),
        Data::Cname(name) => format!("cname {name}"),
        Data::Ptr(name) => format!("ptr {name}"),
        Data::Ns(name) => format!("ns {name}"),
        Data::Txt(text) => format!("txt {text}"),
        Data::Srv { weight, port, target, .. } => format!("srv {weight} {port} {target}"),
        Data::Soa { .. } => "soa".to_owned(),
        Data::Aaaa(ip) => ip.to_string(),
    };
    match found {
        Found::Elsewhere => "elsewhere".to_owned(),
        Found::Alias(reply, name) => {
            let texts: Vec<_> = reply.answers.iter().map(text).collect();
            format!("{} -> {name}", texts.join(", "))
        }
        Found::Reply(reply) => {
            let records = reply.answers.iter().chain(&reply.authority).chain(&reply.additional);
            let texts: Vec<_> = records.map(text).collect();
            format!("{:?}: {}", reply.code, texts.join(", "))
        }
    }
}

#[track_caller]
fn check(name: &str, kind: u16, wanted: &str) {
    assert_eq!(words(&look_up(name, kind, &[])), wanted, "{name}");
}

#[test]
fn services_with_an_address() {
    check("web.default.svc.cluster.local", kind::A, "NoError: 10.43.0.9");
    check("WEB.default.svc.Cluster.Local", kind::A, "NoError: 10.43.0.9");
    check("web.default.svc.cluster.local", kind::AAAA, "NoError: soa");
    check("web.default.svc.cluster.local", kind::TXT, "NoError: soa");
    check("web.data.svc.cluster.local", kind::A, "NxDomain: soa");
    let srv = "srv 100 80 web.default.svc.cluster.local., 10.43.0.9";
    check("_http._tcp.web.default.svc.cluster.local", kind::SRV, &format!("NoError: {srv}"));
    check("_http._udp.web.default.svc.cluster.local", kind::SRV, "NxDomain: soa");
    check("_tcp.web.default.svc.cluster.local", kind::A, "NoError: soa");
    check("10-42-0-2.web.default.svc.cluster.local", kind::A, "NoError: 10.42.0.2");
    check("10-42-0-9.web.default.svc.cluster.local", kind::A, "NxDomain: soa");
}

#[test]
fn headless_services() {
    check("db.data.svc.cluster.local", kind::A, "NoError: 10.42.0.4, 10.42.0.5");
    check("db-0.db.data.svc.cluster.local", kind::A, "NoError: 10.42.0.4");
    check("10-42-0-5.db.data.svc.cluster.local", kind::A, "NoError: 10.42.0.5");
    check("db-1.db.data.svc.cluster.local", kind::A, "NxDomain: soa");
    check("nobody.data.svc.cluster.local", kind::A, "NxDomain: soa");
    check(
        "_sql._tcp.db.data.svc.cluster.local",
        kind::SRV,
        "NoError: srv 50 13432 db-0.db.data.svc.cluster.local., \
         srv 50 13432 10-42-0-5.db.data.svc.cluster.local., 10.42.0.4, 10.42.0.5",
    );
}

#[test]
fn hosts_of_lost_nodes_are_left_out_unless_their_state_does_not_matter() {
    let found = look_up("db.data.svc.cluster.local", kind::A, &[4, 6]);
    assert_eq!(words(&found), "NoError: 10.42.0.5");
    let found = look_up("early.data.svc.cluster.local", kind::A, &[4, 6]);
    assert_eq!(words(&found), "NoError: 10.42.0.6");
}

#[test]
fn external_names_are_followed_inside_and_told_outside() {
    check(
        "in.default.svc.cluster.local",
        kind::A,
        "NoError: cname web.default.svc.cluster.local., 10.43.0.9",
    );
    check("out.default.svc.cluster.local", kind::A, "cname db.example.com. -> db.example.com.");
    check("out.default.svc.cluster.local", kind::CNAME, "NoError: cname db.example.com.");
    check("me.default.svc.cluster.local", kind::A, "ServFail: ");
    check("number.default.svc.cluster.local", kind::A, "NoError: 192.0.2.7");
}

#[test]
fn pods_by_their_address() {
    check("10-42-0-7.default.pod.cluster.local", kind::A, "NoError: 10.42.0.7");
    check("web.default.pod.cluster.local", kind::A, "NxDomain: soa");
}

#[test]
fn names_above_and_beside() {
    check("cluster.local", kind::SOA, "NoError: soa");
    check("cluster.local", kind::NS, "NoError: ns ns.dns.cluster.local., 10.43.0.10");
    check("cluster.local", kind::A, "NoError: soa");
    check("default.svc.cluster.local", kind::A, "NoError: soa");
    check("empty.svc.cluster.local", kind::A, "NxDomain: soa");
    check("ns.dns.cluster.local", kind::A, "NoError: 10.43.0.10");
    check("dns-version.cluster.local", kind::TXT, "NoError: txt 1.1.0");
    check("example.com.default.svc.cluster.local", kind::A, "NxDomain: soa");
    check("example.com", kind::A, "elsewhere");
}

#[test]
fn addresses_have_names() {
    check("9.0.43.10.in-addr.arpa", kind::PTR, "NoError: ptr web.default.svc.cluster.local.");
    check("4.0.42.10.in-addr.arpa", kind::PTR, "NoError: ptr db-0.db.data.svc.cluster.local.");
    check(
        "2.0.42.10.in-addr.arpa",
        kind::PTR,
        "NoError: ptr 10-42-0-2.web.default.svc.cluster.local.",
    );
    check("99.0.43.10.in-addr.arpa", kind::PTR, "NxDomain: soa");
    check("1.2.0.192.in-addr.arpa", kind::PTR, "elsewhere");
    check("0.192.in-addr.arpa", kind::PTR, "elsewhere");
}
