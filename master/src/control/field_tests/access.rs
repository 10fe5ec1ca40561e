//! Who may speak for a node, and what happens when two boards do.

use super::*;

/// A hello of another boot of the same board.
fn another_boot(name: &str, serial: &str) -> Hello {
    Hello { boot_id: BootId([2; 16]), ..hello(name, serial) }
}

async fn ended(board: &mut Board) {
    let ended = async { while board.hear().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(1), ended).await.expect("the session ends at once");
}

fn condition(node: Option<&Value>, kind: &str) -> Option<String> {
    let conditions = node?["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|it| it["type"] == kind)?;
    Some(found["status"].as_str().unwrap_or_default().to_owned())
}

fn tainted(node: Option<&Value>, key: &str) -> bool {
    let taints = node.and_then(|node| node["spec"]["taints"].as_array());
    taints.into_iter().flatten().any(|taint| taint["key"] == key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_does_not_take_a_node_over() {
    let master = Master::start().await;
    let token = master.token().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let owner = master.join_with("pi-1", &token, &key, None).await.unwrap();
    let _board = master.link("pi-1", "s1", owner.clone()).await.unwrap();
    let refused = master.join("pi-1", &token).await.unwrap_err();
    assert!(refused.contains("`bramble node replace pi-1`"), "{refused}");
    assert!(!refused.contains("s1"), "{refused}");
    assert!(master.told_of("pi-1").await.contains("JoinRefused"));
    // The board itself may come again, and its key may vouch for a new one.
    master.join_with("pi-1", &token, &key, None).await.unwrap();
    let next = rcgen::KeyPair::generate().unwrap();
    let next = master.join_with("pi-1", &token, &next, Some(owner)).await.unwrap();
    let _board = master.link("pi-1", "s1", next).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_node_vouches_for_nothing() {
    let master = Master::start().await;
    let token = master.token().await;
    let _owner = master.board("pi-1", "s1").await;
    let other = master.join("pi-2", &token).await.unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let refused = master.join_with("pi-1", &token, &key, Some(other)).await.unwrap_err();
    assert!(refused.contains("another key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_takes_a_name_over_once_an_administrator_lets_it() {
    let master = Master::start().await;
    let mut old = master.board("pi-1", "s1").await;
    let nodes = &master.control.nodes;
    assert_eq!(nodes.permit_replace("pi-9", 60).await.unwrap_err().code, 404);
    nodes.permit_replace("pi-1", 60).await.unwrap();
    let new = master.join("pi-1", &master.token().await).await.unwrap();
    ended(&mut old).await;
    let _board = master.link("pi-1", "s2", new.clone()).await.unwrap();
    let refused = master.join("pi-1", &master.token().await).await.unwrap_err();
    assert!(refused.contains("another key"), "once only: {refused}");
    let refused = master.link("pi-1", "s3", new).await.err().unwrap();
    assert!(refused.contains("is another board"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_may_move_to_another_board_once_an_administrator_lets_it() {
    let master = Master::start().await;
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    let board = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    drop(board);
    master.wait("nodes", "", "pi-1", |node| ready(node, "Unknown")).await;
    master.control.nodes.permit_replace("pi-1", 60).await.unwrap();
    let _board = master.link("pi-1", "s2", credentials.clone()).await.unwrap();
    let refused = master.link("pi-1", "s1", credentials).await.err().unwrap();
    assert!(refused.contains("is another board"), "once only: {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_is_out_within_a_second_and_stays_out() {
    let master = Master::start().await;
    let (token, key) = (master.token().await, rcgen::KeyPair::generate().unwrap());
    let credentials = master.join_with("pi-1", &token, &key, None).await.unwrap();
    let mut board = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    board.heart.lease.clone().wait_for(Option::is_some).await.unwrap();

    master.control.nodes.revoke("pi-1").await.unwrap();
    ended(&mut board).await;
    // Its heart still beats: nobody listens, and its lease runs out.
    let lease = *board.heart.lease.borrow();
    master.wait("nodes", "", "pi-1", |node| ready(node, "Unknown")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(*board.heart.lease.borrow(), lease, "no acknowledgement after the end");
    assert!(ready(master.get("nodes", "", "pi-1").await.as_ref(), "Unknown"));
    let refused = master.link("pi-1", "s1", credentials.clone()).await.err().unwrap();
    assert!(refused.contains("was revoked"), "{refused}");
    let refused = master.join_with("pi-1", &token, &key, None).await.unwrap_err();
    assert!(refused.contains("was revoked"), "{refused}");
    assert!(!master.control.nodes.may_speak("pi-1", &credentials.0.clone().into()).await);
    let told = master.told_of("pi-1").await;
    assert!(told.contains("AccessRevoked") && told.contains("LinkRefused"), "{told:?}");

    master.control.nodes.permit_replace("pi-1", 60).await.unwrap();
    let again = master.join_with("pi-1", &token, &key, None).await.unwrap();
    let mut board = master.link("pi-1", "s1", again).await.unwrap();
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_restarts_quickly_waits_until_its_old_boot_is_silent() {
    let master = Master::start().await;
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    let board = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    board.heart.lease.clone().wait_for(Option::is_some).await.unwrap();
    drop(board);
    let mut board = master.link_as(&another_boot("pi-1", "s1"), credentials).await.unwrap();
    board.ready().await;
    let node = master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    assert_eq!(condition(node.as_ref(), "IdentityConflict"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_boards_with_one_certificate_are_both_quarantined() {
    let master = Master::start().await;
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    let mut first = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    first.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    let created = master.create("pods", pod("a")).await;
    first.hear_until(|it| matches!(it, ToAgent::Change(Change::Pod(_)))).await;

    let copy = another_boot("pi-1", "s1");
    let refused = master.link_as(&copy, credentials.clone()).await.err().unwrap();
    assert!(refused.contains("two boards use the certificate"), "{refused}");
    assert!(refused.contains("`bramble node replace pi-1`"), "{refused}");
    ended(&mut first).await;
    let conflict = |node: Option<&Value>| {
        condition(node, "IdentityConflict").as_deref() == Some("True")
            && tainted(node, "bramble.io/quarantined")
            && ready(node, "Unknown")
    };
    master.wait("nodes", "", "pi-1", conflict).await;
    assert!(master.told_of("pi-1").await.contains("ClonedIdentity"));
    // Neither comes back by itself, and what they say of pods is not heard.
    for hello in [hello("pi-1", "s1"), copy.clone()] {
        let refused = master.link_as(&hello, credentials.clone()).await.err().unwrap();
        assert!(refused.contains("two boards"), "{refused}");
    }
    let uid = created["metadata"]["uid"].as_str().unwrap();
    let said = frame::encode(&ToMaster::Pod(Box::new(status(uid, "a", PodPhase::Failed)))).unwrap();
    // The session may be gone altogether.
    let _ = first.control.write_all(&said).await;

    drop(first);
    master.control.nodes.permit_replace("pi-1", 60).await.unwrap();
    let mut left = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    left.ready().await;
    let mended = |node: Option<&Value>| {
        condition(node, "IdentityConflict").as_deref() == Some("False")
            && !tainted(node, "bramble.io/quarantined")
            && ready(node, "True")
    };
    master.wait("nodes", "", "pi-1", mended).await;
    let kept = master.get("pods", "default", "a").await;
    assert!(kept.is_none_or(|pod| pod["status"]["phase"] != "Failed"));
}
