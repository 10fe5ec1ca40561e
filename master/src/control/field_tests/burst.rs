//! A burst of the largest requests there are: heartbeats and others go on meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;

use super::*;

/// Requests of the burst.
const BURST: usize = 60;
/// Keys of each ConfigMap: as many as fit into a body of 3 MiB.
const KEYS: usize = 220_000;

/// A request to create a ConfigMap with very many keys and hardly anything in them, which upstream
/// allows.
fn large_request(number: usize) -> Vec<u8> {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("\"{key:06}\":\"\"")).collect();
    let body = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"n{number}\"}},\"data\":{{{}}}}}",
        keys.join(",")
    );
    let head = format!(
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_of_large_requests_delays_neither_heartbeats_nor_others() {
    let master = Arc::new(Master::start().await);
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    let mut board = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;

    let answered = Arc::new(AtomicUsize::new(0));
    let request = Arc::new(large_request(0));
    let burst: Vec<_> = (0..BURST)
        .map(|_| {
            let (master, answered) = (Arc::clone(&master), Arc::clone(&answered));
            let request = Arc::clone(&request);
            tokio::spawn(async move {
                let mut stream = master.connect(b"http/1.1", Some(master.administrator())).await;
                let _ = stream.write_all(&request).await;
                let mut answer = Vec::new();
                let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
                answered.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();

    // Ten rounds of everybody else's life, each of which must come to its end meanwhile.
    for round in 0..10 {
        let mut lease = board.heart.lease.clone();
        lease.mark_unchanged();
        for _ in 0..3 {
            lease.changed().await.unwrap();
        }
        assert!(master.ask(None, "/readyz").await.ends_with("ok"), "in round {round}");
        let answer = master.ask(Some(credentials.clone()), "/api/v1/pods").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "in round {round}: {answer}");
    }
    let done = answered.load(Ordering::Relaxed);
    assert!(done < BURST, "the burst was over too early to tell anything");
    burst.iter().for_each(tokio::task::JoinHandle::abort);

    // The control loop decides and stores, too, and nobody was taken for dead.
    let created = master.create("pods", pod("a")).await;
    board.hear_until(|it| matches!(it, ToAgent::Change(Change::Pod(_)))).await;
    assert!(created["metadata"]["uid"].is_string());
    let events = Objects::resource("", "events");
    let events = master.objects.list(events, "", &ListOptions::default()).await.unwrap().items;
    let dead = events.iter().find(|event| event["reason"] == "NodeNotReady");
    assert_eq!(dead, None);
}
