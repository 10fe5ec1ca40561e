//! The rules of a few Services, and whether nft takes them.

use super::*;
use std::process::Command;

fn endpoint(third: u8, last: u8, node: u16) -> Endpoint {
    Endpoint {
        ip: Ipv4Addr::new(10, 42, third, last),
        port: 8080,
        node: Some(NodeId(node)),
        terminating: false,
    }
}

fn service(name: &str, last: u8, node_port: u16, endpoints: Vec<Endpoint>) -> Service {
    Service {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        cluster_ip: Some(Ipv4Addr::new(10, 43, 0, last)),
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port,
            endpoints,
        }],
        ..Service::default()
    }
}

fn rules(services: Vec<Service>, unreachable: &[u16]) -> String {
    rules_with_dns(services, unreachable, 53).whole()
}

fn rules_with_dns(services: Vec<Service>, unreachable: &[u16], dns_port: u16) -> Ruleset {
    let host_port = |host_ip, port| HostPort {
        protocol: Protocol::Tcp,
        port,
        host_ip,
        pod_ip: Ipv4Addr::new(10, 42, 1, 9),
        pod_port: 80,
    };
    let services: BTreeMap<_, _> =
        services.into_iter().map(|s| ((s.namespace.clone(), s.name.clone()), s)).collect();
    let unreachable = unreachable.iter().map(|id| NodeId(*id)).collect();
    ruleset(&Plan {
        node: NodeId(1),
        pod_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 1, 0), prefix_len: 24 },
        cluster_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 0, 0), prefix_len: 16 },
        services: &services,
        host_ports: &[host_port(None, 8080), host_port(Some(Ipv4Addr::new(192, 168, 1, 4)), 8081)]
            .into(),
        dns: NodeDns { address: Ipv4Addr::new(10, 43, 0, 10), port: dns_port, bridge: "br0" },
        unreachable: &unreachable,
    })
}

fn many() -> Vec<Service> {
    let both = vec![endpoint(1, 2, 1), endpoint(2, 2, 2)];
    let mut sticky = service("sticky", 3, 0, both.clone());
    sticky.affinity_s = Some(10_800);
    let mut local = service("local", 4, 30_002, both.clone());
    local.external_local = true;
    local.external_ips = vec![Ipv4Addr::new(192, 168, 1, 200)];
    let mut udp = service("dns", 6, 0, both.clone());
    udp.ports[0].protocol = Protocol::Udp;
    vec![
        service("web", 1, 30_001, both.clone()),
        service("one", 2, 0, vec![endpoint(1, 2, 1)]),
        sticky,
        local,
        service("empty", 5, 30_003, vec![]),
        udp,
    ]
}

#[test]
fn rules_of_several_services() {
    insta::assert_snapshot!(rules(many(), &[]));
}

#[test]
fn endpoints_of_unreachable_nodes_are_left_out() {
    let text = rules(many(), &[2]);
    assert!(!text.contains("10.42.2.2"), "{text}");
    assert!(text.contains("dnat to 10.42.1.2:8080"));
    let text = rules(many(), &[1, 2]);
    assert!(text.contains("10.43.0.1 . tcp . 80"), "refused, not forgotten: {text}");
    assert!(!text.contains("10.42.1.2"));
}

#[test]
fn the_node_answers_for_dns_unless_somebody_else_does() {
    let dns = |endpoints| {
        let mut service = service("kube-dns", 10, 0, endpoints);
        service.ports[0].protocol = Protocol::Udp;
        service.ports[0].port = 53;
        vec![service]
    };
    let own = rules(dns(vec![]), &[]);
    assert!(!own.contains("10.43.0.10 . udp . 53"), "neither refused nor sent away: {own}");
    let moved = rules_with_dns(dns(vec![]), &[], 40_053).whole();
    assert!(moved.contains("10.43.0.10 . udp . 53 : goto node_dns"), "{moved}");
    assert!(moved.contains("dnat to 10.43.0.10:40053"), "{moved}");
    let replaced = rules_with_dns(dns(vec![endpoint(1, 2, 1)]), &[], 40_053).whole();
    assert!(replaced.contains("10.43.0.10 . udp . 53 : goto s_kube_dns"), "{replaced}");
}

#[test]
fn lost_endpoints_are_those_of_lost_nodes() {
    let services: BTreeMap<_, _> =
        many().into_iter().map(|s| ((s.namespace.clone(), s.name.clone()), s)).collect();
    let lost = |unreachable: &[u16], told: &[u16]| {
        let ids = |ids: &[u16]| ids.iter().map(|id| NodeId(*id)).collect();
        lost_endpoints(&services, [].iter(), &ids(unreachable), &ids(told))
    };
    assert_eq!(lost(&[2], &[]), [Ipv4Addr::new(10, 42, 2, 2)].into());
    assert_eq!(lost(&[2], &[2]), [].into(), "told once");
    assert_eq!(lost(&[1, 2], &[2]), [Ipv4Addr::new(10, 42, 1, 2)].into());
    assert_eq!(lost(&[], &[2]), [].into(), "a node that is back has lost nothing");
}

#[test]
fn pods_of_lost_nodes_are_lost_even_when_no_service_names_them_any_more() {
    let peer = |id| Peer {
        id: NodeId(id),
        name: format!("n{id}"),
        address: Ipv4Addr::new(10, 77, 0, 1),
        pod_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 2, 0), prefix_len: 24 },
    };
    let unreachable = [NodeId(2)].into();
    let lost = |id| {
        let none = BTreeSet::new();
        lost_endpoints(&BTreeMap::new(), [peer(id)].iter(), &unreachable, &none)
    };
    assert_eq!(lost(2).len(), 256);
    assert!(lost(2).contains(&Ipv4Addr::new(10, 42, 2, 2)));
    assert_eq!(lost(3), [].into());
}

#[test]
fn ending_endpoints_serve_as_long_as_nobody_else_does() {
    let ending = Endpoint { terminating: true, ..endpoint(1, 2, 1) };
    let text = rules(vec![service("web", 1, 0, vec![ending, endpoint(2, 2, 2)])], &[]);
    assert!(!text.contains("10.42.1.2:8080") && text.contains("10.42.2.2:8080"), "{text}");
    let text = rules(vec![service("web", 1, 0, vec![ending, endpoint(2, 2, 2)])], &[2]);
    assert!(text.contains("10.42.1.2:8080"), "{text}");
}

#[test]
fn without_an_endpoint_here_strangers_are_dropped_and_pods_are_sent_on() {
    let mut local = service("local", 4, 30_002, vec![endpoint(2, 2, 2)]);
    local.external_local = true;
    let text = rules(vec![local], &[]);
    assert!(text.contains("ip saddr 10.42.0.0/16 goto s_local"), "{text}");
    let dropped = "set dropped_node_ports {\n    type inet_proto . inet_service\n    \
                   elements = { tcp . 30002 }";
    assert!(text.contains(dropped), "{text}");
    let mut inside = service("inside", 5, 0, vec![endpoint(2, 2, 2)]);
    inside.internal_local = true;
    let text = rules(vec![inside], &[]);
    assert!(text.contains("elements = { 10.43.0.5 . tcp . 80 }"), "{text}");
    assert!(!text.contains("goto s_inside"), "{text}");
}

#[test]
fn health_checks_count_ready_endpoints_here() {
    let ending = Endpoint { terminating: true, ..endpoint(1, 4, 1) };
    let endpoints = vec![endpoint(1, 2, 1), endpoint(1, 3, 1), ending, endpoint(2, 2, 2)];
    let mut checked = service("web", 1, 30_001, endpoints);
    checked.external_local = true;
    checked.health_check_port = 32_000;
    let services = [(("default".to_owned(), "web".to_owned()), checked)].into();
    let (host_ports, unreachable) = (BTreeSet::new(), BTreeSet::new());
    let plan = Plan {
        node: NodeId(1),
        pod_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 1, 0), prefix_len: 24 },
        cluster_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 0, 0), prefix_len: 16 },
        services: &services,
        host_ports: &host_ports,
        dns: NodeDns { address: Ipv4Addr::new(10, 43, 0, 10), port: 53, bridge: "br0" },
        unreachable: &unreachable,
    };
    let checks = health_checks(&plan);
    assert_eq!(
        checks.get(&32_000).map(|(service, count)| (&*service.name, *count)),
        Some(("web", 2))
    );
}

#[test]
fn only_what_datagrams_went_to_is_lost() {
    let udp = |endpoints| {
        let mut service = service("dns", 6, 0, endpoints);
        service.ports[0].protocol = Protocol::Udp;
        service
    };
    let both = rules_with_dns(vec![udp(vec![endpoint(1, 2, 1), endpoint(2, 2, 2)])], &[], 53);
    let one = rules_with_dns(vec![udp(vec![endpoint(2, 2, 2)])], &[], 53);
    let none = rules_with_dns(vec![], &[], 53);
    let lost = |ips: &[Ipv4Addr]| ips.iter().map(|ip| (*ip, 8080)).collect::<BTreeSet<_>>();
    assert_eq!(one.lost_datagrams(&both), lost(&[Ipv4Addr::new(10, 42, 1, 2)]));
    assert_eq!(none.lost_datagrams(&one), lost(&[Ipv4Addr::new(10, 42, 2, 2)]));
    assert_eq!(both.lost_datagrams(&none), lost(&[]));
    let tcp = rules_with_dns(many(), &[], 53);
    assert_eq!(none.lost_datagrams(&tcp).len(), 2, "those of the one Service of datagrams");
}

#[test]
fn a_change_costs_what_changed() {
    let one = rules_with_dns(many(), &[], 53);
    assert_eq!(one.difference(&one), "");
    let mut services = many();
    services[0].ports[0].endpoints.push(endpoint(2, 3, 2));
    let text = rules_with_dns(services, &[], 53).difference(&one);
    assert_eq!(text.matches("flush chain").count(), 2, "inside and outside: {text}");
    assert!(!text.contains("element"), "{text}");
}

/// What the kernel has after these texts, in a network of its own; none where nft cannot be run.
fn applied(texts: &[String]) -> Option<String> {
    let script = "for t in \"$@\"; do printf %s \"$t\" | nft -f - || exit 1; done; \
                  nft -s list ruleset";
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "--user", "sh", "-c", script, "sh"])
        .args(texts)
        .output()
        .ok()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("not permitted") || stderr.contains("not found") {
        return None;
    }
    assert!(output.status.success(), "{stderr}\n{}", texts.concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Chains are listed in the order in which they were made.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    Some(lines.join("\n"))
}

#[test]
fn the_kernel_has_the_same_after_a_difference_as_after_the_whole() {
    let mut steps = vec![
        rules_with_dns(vec![], &[], 0),
        rules_with_dns(many(), &[], 53),
        rules_with_dns(many(), &[2], 40_053),
        rules_with_dns(many(), &[1, 2], 53),
    ];
    let mut fewer = many();
    fewer.truncate(3);
    fewer[2].affinity_s = Some(60);
    fewer[0].internal_local = true;
    fewer[0].external_local = true;
    steps.push(rules_with_dns(fewer, &[], 53));
    for before in &steps {
        for after in &steps {
            let whole = applied(&[after.whole()]);
            let Some(whole) = whole else {
                println!("skipped: nft may not talk to the kernel here");
                return;
            };
            let stepwise = applied(&[before.whole(), after.difference(before)]).unwrap();
            assert_eq!(stepwise, whole, "{}", after.difference(before));
        }
    }
}
