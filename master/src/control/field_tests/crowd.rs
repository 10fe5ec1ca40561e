//! Crowds of idle connections: nobody else may notice them.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::*;
use crate::open_files;

/// Connections of a crowd that say nothing, and of those that are silent after their handshake.
#[derive(Default)]
struct Crowd {
    silent: Vec<TcpStream>,
    encrypted: Vec<tokio_rustls::client::TlsStream<TcpStream>>,
}

impl Crowd {
    /// Adds connections from one address; every tenth makes its handshake.
    async fn add(&mut self, master: &Master, from: Ipv4Addr, count: usize) {
        for number in 0..count {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).unwrap();
            let stream = socket.connect(master.address).await.unwrap();
            if number % 10 == 0 {
                // One that was put out for the sake of others meanwhile is no matter.
                self.encrypted.extend(master.encrypt(stream, b"http/1.1", None).await.ok());
            } else {
                self.silent.push(stream);
            }
        }
    }
}

impl Master {
    pub(super) fn administrator(&self) -> (Vec<u8>, Vec<u8>) {
        let (certificates, key) = self.identity.admin_certificate().unwrap();
        (certificates[0].to_vec(), key.secret_der().to_vec())
    }

    /// Asks the API server and returns the whole answer.
    pub(super) async fn ask(&self, certificate: Option<(Vec<u8>, Vec<u8>)>, path: &str) -> String {
        let mut stream = self.connect(b"http/1.1", certificate).await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_crowds_disturb_nobody() {
    open_files::raise_limit();
    let master = Master::start().await;
    let mut linked = master.board("pi-1", "s1").await;
    linked.hear_until(|it| matches!(it, ToAgent::Synced { .. })).await;
    // Somebody who watches all the time.
    let mut watcher = master.connect(b"http/1.1", Some(master.administrator())).await;
    let watch = b"GET /api/v1/pods?watch=true HTTP/1.1\r\nHost: m\r\n\r\n";
    watcher.write_all(watch).await.unwrap();

    let mut crowd = Crowd::default();
    let one = Ipv4Addr::LOCALHOST;
    let twenty: Vec<_> = (1..=20).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect();
    for (sources, count) in [(vec![one], 1_500), (twenty, 60)] {
        for source in sources {
            crowd.add(&master, source, count).await;
        }
        let answer = master.ask(Some(master.administrator()), "/api/v1/namespaces").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(master.ask(None, "/readyz").await.ends_with("ok"));
        let name = format!("late-{count}");
        let mut late = master.board(&name, &name).await;
        late.hear_until(|it| matches!(it, ToAgent::Synced { .. })).await;
    }

    // Those who were there before are there still.
    linked.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    master.create("pods", pod("a")).await;
    let mut seen = String::new();
    while !seen.contains("\"ADDED\"") {
        let mut piece = [0; 4_096];
        let len = watcher.read(&mut piece).await.unwrap();
        assert!(len > 0, "the watch has ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..len]));
    }
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_says_nothing_is_put_out() {
    let master = Master::start().await;
    let mut stream = master.connect(b"http/1.1", None).await;
    let mut nothing = [0; 16];
    let read = tokio::time::timeout(BOUND, stream.read(&mut nothing)).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "it is still there: {read:?}");
}
