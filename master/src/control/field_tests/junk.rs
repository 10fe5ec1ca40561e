//! A flood of junk at the heartbeats' port: no heartbeat is lost for it, and nobody is judged.

use bramble_shared::ids::SessionIndex;
use bramble_shared::wire::{Header, PacketKind};

use super::*;

/// Datagrams of each kind of junk: about a second of what a fast sender can do.
const JUNK: u64 = 100_000;

/// Junk that no filter can tell from a heartbeat: only its seal is wrong.
fn plausible(session: SessionIndex, counter: u64) -> Vec<u8> {
    let header = Header { kind: PacketKind::Heartbeat, key_epoch: 1, session, counter };
    let mut packet = header.encode().to_vec();
    packet.resize(120, 0x5a);
    packet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_junk_costs_no_heartbeat_and_no_verdict() {
    let master = Master::start().await;
    let mut board = master.board("pi-1", "s1").await;
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;

    let port = SocketAddr::new(master.address.ip(), board.accepted.heartbeat_port);
    let session = board.accepted.session;
    let flood = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(port).unwrap();
        for number in 0..JUNK {
            // A full queue refuses some of it, which is as good.
            let _ = socket.send(&[0xa5; 200]);
            let _ = socket.send(&plausible(session, number));
        }
        // Nothing of it was answered.
        socket.set_nonblocking(true).unwrap();
        let answer = socket.recv(&mut [0; 512]).map_err(|error| error.kind());
        assert_eq!(answer, Err(std::io::ErrorKind::WouldBlock));
    });
    let mut lease = board.heart.lease.clone();
    while !flood.is_finished() {
        lease.changed().await.unwrap();
    }
    flood.await.unwrap();
    for _ in 0..3 {
        lease.changed().await.unwrap();
    }
    let node = master.get("nodes", "", "pi-1").await;
    assert!(ready(node.as_ref(), "True"), "{node:#?}");
    let events = Objects::resource("", "events");
    let events = master.objects.list(events, "", &ListOptions::default()).await.unwrap().items;
    assert_eq!(events.iter().find(|event| event["reason"] == "NodeNotReady"), None);
}
