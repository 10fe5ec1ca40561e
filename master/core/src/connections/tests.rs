//! Crowds at the port, in virtual time.

use std::net::Ipv4Addr;

use super::*;

/// A port with the time.
#[derive(Default)]
struct Port {
    connections: Connections,
    now: u64,
}

impl Port {
    fn now(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn arrive(&mut self, address: u32) -> (ConnectionId, Admission) {
        let address = std::net::IpAddr::V4(Ipv4Addr::from_bits(address));
        self.now += 1;
        self.connections.accept(Source::from(address), self.now())
    }

    fn identify(&mut self, id: ConnectionId, peer: Peer) -> Admission {
        self.connections.identify(id, peer, self.now())
    }

    /// A client that is let in and known at once.
    fn client(&mut self, address: u32, user: &str) -> (ConnectionId, Admission) {
        let (id, admission) = self.arrive(address);
        assert_ne!(admission, Admission::Refuse);
        let admission = self.identify(id, Peer::Client(user.into()));
        (id, admission)
    }

    fn agent(&mut self, address: u32, node: &str) -> (ConnectionId, Admission) {
        let (id, admission) = self.arrive(address);
        assert_ne!(admission, Admission::Refuse);
        let admission = self.identify(id, Peer::Agent(node.into()));
        (id, admission)
    }

    fn is_open(&self, id: ConnectionId) -> bool {
        self.connections.open.contains_key(&id)
    }

    fn after(&mut self, time: Duration) -> Vec<ConnectionId> {
        self.now += time.as_millis();
        self.connections.expire(self.now())
    }
}

#[test]
fn crowd_from_one_address_leaves_room_for_everybody_else() {
    for silent in [true, false] {
        let mut port = Port::default();
        let (link, _) = port.agent(1, "pi-1");
        let (kubectl, _) = port.client(2, "admin");
        let (waiting, _) = port.arrive(3);
        for _ in 0..1_500 {
            let (id, admission) = port.arrive(66);
            assert_ne!(admission, Admission::Refuse, "newer ones take the place of older ones");
            if !silent {
                port.identify(id, Peer::Anonymous);
            }
        }
        assert_eq!(port.connections.len(), 3 + UNKNOWN_OF_SOURCE_MAX);
        assert!([link, kubectl, waiting].into_iter().all(|id| port.is_open(id)));
        // From the crowd's own address, too.
        assert_eq!(port.client(66, "admin").1, Admission::Admit);
        assert_eq!(port.agent(66, "pi-2").1, Admission::Admit);
    }
}

#[test]
fn crowd_from_many_addresses_pays_for_itself() {
    let mut port = Port::default();
    let (link, _) = port.agent(1, "pi-1");
    let (waiting, _) = port.arrive(3);
    for _ in 0..300 {
        for address in 100..120 {
            let (id, _) = port.arrive(address);
            port.identify(id, Peer::Anonymous);
        }
    }
    assert_eq!(port.connections.len(), 1 + UNKNOWN_MAX);
    assert!(port.is_open(link) && port.is_open(waiting), "who has few connections keeps them");
    assert_eq!(port.client(2, "admin").1, Admission::Admit);
    assert_eq!(port.agent(4, "pi-4").1, Admission::Admit);
}

#[test]
fn idle_connections_go_first_and_the_oldest_of_them() {
    let mut port = Port::default();
    let (busy, _) = port.arrive(1);
    port.identify(busy, Peer::Anonymous);
    port.connections.begin_request(busy, Instant::from_millis(port.now));
    let (arrived, _) = port.arrive(1);
    let mut idle = Vec::new();
    for _ in 2..UNKNOWN_OF_SOURCE_MAX {
        let (id, _) = port.arrive(1);
        port.identify(id, Peer::Anonymous);
        idle.push(id);
    }
    for expected in idle.into_iter().chain([arrived]) {
        let (id, admission) = port.arrive(1);
        assert_eq!(admission, Admission::AdmitAndEvict(expected));
        port.identify(id, Peer::Anonymous);
        port.connections.begin_request(id, Instant::from_millis(port.now));
    }
    assert_eq!(port.arrive(1).1, Admission::AdmitAndEvict(busy), "nothing else is left");
}

#[test]
fn user_with_too_many_clients_loses_idle_ones_and_never_those_in_use() {
    let mut port = Port::default();
    let (idle, _) = port.client(1, "eve");
    for _ in 1..CLIENTS_OF_USER_MAX {
        let (id, admission) = port.client(1, "eve");
        assert_eq!(admission, Admission::Admit);
        port.connections.begin_request(id, Instant::from_millis(port.now));
    }
    let (next, admission) = port.client(1, "eve");
    assert_eq!(admission, Admission::AdmitAndEvict(idle));
    port.connections.begin_request(next, Instant::from_millis(port.now));
    let (refused, admission) = port.client(1, "eve");
    assert_eq!(admission, Admission::Refuse);
    assert!(!port.is_open(refused));
    assert_eq!(port.client(1, "bob").1, Admission::Admit);
}

#[test]
fn node_that_dials_again_and_again_keeps_its_newest_links() {
    let mut port = Port::default();
    let links: Vec<_> = (0..AGENTS_OF_NODE_MAX).map(|_| port.agent(1, "pi-1").0).collect();
    for older in links {
        assert_eq!(port.agent(1, "pi-1").1, Admission::AdmitAndEvict(older));
    }
    assert_eq!(port.agent(2, "pi-2").1, Admission::Admit);
}

#[test]
fn every_state_but_use_ends_in_time() {
    let mut port = Port::default();
    let (arrived, _) = port.arrive(1);
    let (anonymous, _) = port.arrive(1);
    port.identify(anonymous, Peer::Anonymous);
    let (client, _) = port.client(1, "admin");
    let (watcher, _) = port.client(1, "admin");
    port.connections.begin_request(watcher, Instant::from_millis(port.now));
    let (link, _) = port.agent(1, "pi-1");
    let (stuck, _) = port.arrive(1);
    port.identify(stuck, Peer::Anonymous);
    port.connections.begin_request(stuck, Instant::from_millis(port.now));

    assert_eq!(port.after(Duration::from_secs(9)), []);
    assert_eq!(port.after(Duration::from_secs(1)), [arrived, anonymous]);
    assert_eq!(port.after(Duration::from_secs(50)), [stuck]);
    assert_eq!(port.after(Duration::from_secs(40)), [client]);
    assert_eq!(port.after(Duration::from_secs(86_400)), []);
    assert!(port.is_open(watcher) && port.is_open(link));
    port.connections.end_request(watcher, Instant::from_millis(port.now));
    assert_eq!(port.after(CLIENT_IDLE_MAX), [watcher]);
}

#[test]
fn requests_on_one_connection_are_counted() {
    let mut port = Port::default();
    let (id, _) = port.client(1, "admin");
    port.connections.begin_request(id, port.now());
    port.connections.begin_request(id, port.now());
    port.connections.end_request(id, port.now());
    assert_eq!(port.after(CLIENT_IDLE_MAX), [], "one is still going on");
    port.connections.end_request(id, port.now());
    assert_eq!(port.after(CLIENT_IDLE_MAX), [id]);
    // What comes late changes nothing.
    port.connections.begin_request(id, port.now());
    port.connections.remove(id);
    assert!(port.connections.is_empty());
}

#[test]
fn evicted_in_the_handshake_stays_out() {
    let mut port = Port::default();
    let (first, _) = port.arrive(1);
    for _ in 0..UNKNOWN_OF_SOURCE_MAX {
        port.arrive(1);
    }
    assert!(!port.is_open(first));
    assert_eq!(port.identify(first, Peer::Client("admin".into())), Admission::Refuse);
}

#[test]
fn flood_is_reported_seldom_with_its_number() {
    let mut port = Port::default();
    let mut told = Vec::new();
    for _ in 0..30_000 {
        port.arrive(66);
        told.extend(port.connections.poll_report(port.now()));
    }
    assert_eq!(told.len(), 3, "30 s of it");
    let all =
        told.iter().map(|report| report.evicted).sum::<u64>() + port.connections.report.evicted;
    assert_eq!(all, 30_000 - u64::try_from(UNKNOWN_OF_SOURCE_MAX).unwrap());
    assert_eq!(told[0].source.to_string(), "0.0.0.66");
}

#[test]
fn process_without_descriptors_gives_up_strangers_only() {
    let mut port = Port::default();
    port.client(1, "admin");
    port.agent(1, "pi-1");
    assert_eq!(port.connections.shed(), None);
    let (stranger, _) = port.arrive(1);
    assert_eq!(port.connections.shed(), Some(stranger));
}
