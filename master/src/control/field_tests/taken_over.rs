//! One node that was taken over: it has its certificate, and says what it likes.

use bramble_shared::limits::{HELLO_LEN_MAX, REPORT_LEN_MAX};
use bramble_shared::link::{ContainerState, ContainerStatus, Event};

use super::*;

/// A node with a pod of one container, and the pod's uid.
async fn node_with_pod(master: &Master) -> (Board, String) {
    let mut board = master.board("pi-1", "s1").await;
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    let created = master.create("pods", pod("a")).await;
    board.hear_until(|it| matches!(it, ToAgent::Change(Change::Pod(_)))).await;
    (board, created["metadata"]["uid"].as_str().unwrap().to_owned())
}

fn container(name: String) -> ContainerStatus {
    ContainerStatus {
        name,
        container_id: String::new(),
        image: String::new(),
        image_id: String::new(),
        restart_count: 0,
        ready: true,
        started: true,
        state: ContainerState::Running { started_ms: 1_000 },
        last_state: None,
        resources: None,
    }
}

/// Whether the master has ended a link.
async fn ended(control: &mut Stream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(5), control.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_say_nothing_are_in_nobodys_way() {
    let master = Master::start().await;
    let evil = master.join("pi-1", &master.token().await).await.unwrap();
    let other = master.join("pi-2", &master.token().await).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        let (mut control, streams, _) = master.dial(evil.clone()).await;
        // A stream exists once something was written to it.
        control.write_all(&[0]).await.unwrap();
        control.flush().await.unwrap();
        silent.push((control, streams));
    }
    let _other = master.link("pi-2", "s2", other).await.unwrap();
    let _itself = master.link("pi-1", "s1", evil).await.unwrap();
    for (control, _) in silent.iter_mut().take(18) {
        assert!(ended(control).await, "all but the newest have made room");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_would_be_too_long_ends_its_link_at_once() {
    let master = Master::start().await;
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    let (mut control, _streams, _) = master.dial(credentials).await;
    let len = u32::try_from(HELLO_LEN_MAX + 1).unwrap();
    control.write_all(&len.to_le_bytes()).await.unwrap();
    control.flush().await.unwrap();
    assert!(ended(&mut control).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_a_pod_has_not_are_not_stored_and_words_are_cut() {
    let master = Master::start().await;
    let (mut board, uid) = node_with_pod(&master).await;
    let mut wide = status(&uid, "a", PodPhase::Running);
    wide.containers = (0..5_000).map(|number| container(format!("x{number}"))).collect();
    wide.containers.push(container("c".to_owned()));
    wide.message = "m".repeat(500_000);
    board.say(&ToMaster::Pod(Box::new(wide.clone()))).await;
    let running = |pod: Option<&Value>| pod.is_some_and(|pod| pod["status"]["phase"] == "Running");
    let stored = master.wait("pods", "default", "a", running).await.unwrap();
    let containers = stored["status"]["containerStatuses"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0]["name"], "c");
    assert_eq!(stored["status"]["message"].as_str().unwrap().len(), 1_024);
    // Longer than any report: it is not even read.
    wide.message = "m".repeat(REPORT_LEN_MAX);
    let said = frame::encode(&ToMaster::Pod(Box::new(wide))).unwrap();
    // The link may end while this is being written.
    let _ = board.control.write_all(&said).await;
    assert!(
        tokio::time::timeout(BOUND, async { while board.hear().await.is_some() {} }).await.is_ok()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_at_addresses_of_their_own_node() {
    let master = Master::start().await;
    let (mut board, uid) = node_with_pod(&master).await;
    for (number, foreign) in
        [[192, 0, 2, 200], [127, 0, 0, 1], [10, 42, 1, 2], [8, 8, 8, 8], [10, 42, 0, 1]]
            .into_iter()
            .enumerate()
    {
        let mut lie = status(&uid, "a", PodPhase::Running);
        lie.pod_ip = Some(foreign.into());
        lie.reason = format!("R{number}");
        board.say(&ToMaster::Pod(Box::new(lie))).await;
        let reason = format!("R{number}");
        let said = |pod: Option<&Value>| pod.is_some_and(|pod| pod["status"]["reason"] == *reason);
        let stored = master.wait("pods", "default", "a", said).await.unwrap();
        assert!(stored["status"].get("podIP").is_none(), "{foreign:?}: {stored:#?}");
    }
    board.say(&ToMaster::Pod(Box::new(status(&uid, "a", PodPhase::Running)))).await;
    let own = |pod: Option<&Value>| pod.is_some_and(|pod| pod["status"]["podIP"] == "10.42.0.2");
    master.wait("pods", "default", "a", own).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_no_address_of_another() {
    let master = Master::start().await;
    let _other = master.board("pi-2", "s2").await;
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    for foreign in [[192, 0, 2, 2], [10, 42, 0, 9], [10, 43, 0, 1], [224, 0, 0, 1]] {
        let mut lie = hello("pi-1", "s1");
        lie.facts.address = foreign.into();
        let refused = master.link_as(&lie, credentials.clone()).await.err().unwrap();
        assert!(refused.contains("cannot be where it says it is"), "{refused}");
        assert!(master.get("nodes", "", "pi-1").await.is_none());
    }
    let _board = master.link("pi-1", "s1", credentials).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_node_are_bounded_in_length_and_number() {
    let master = Master::start().await;
    let (mut board, uid) = node_with_pod(&master).await;
    for number in 0..1_500 {
        let event = Event {
            namespace: "default".to_owned(),
            pod: "a".to_owned(),
            uid: uid.clone(),
            field_path: String::new(),
            warning: true,
            reason: format!("Evil{number}"),
            message: "x".repeat(10_000),
        };
        board.say(&ToMaster::Event(event)).await;
    }
    let mut last = status(&uid, "a", PodPhase::Running);
    last.reason = "Last".to_owned();
    board.say(&ToMaster::Pod(Box::new(last))).await;
    master
        .wait("pods", "default", "a", |pod| pod.is_some_and(|it| it["status"]["reason"] == "Last"))
        .await;
    let events = Objects::resource("", "events");
    let events = master.objects.list(events, "default", &ListOptions::default()).await.unwrap();
    let evil = |event: &&Value| event["reason"].as_str().unwrap().starts_with("Evil");
    let evil: Vec<&Value> = events.items.iter().filter(evil).collect();
    assert!((600..700).contains(&evil.len()), "{} events", evil.len());
    assert!(evil.iter().all(|event| event["message"].as_str().unwrap().len() == 1_024));
}
