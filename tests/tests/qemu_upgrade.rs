//! A board gets a new system: a good one stays, a bad one does not.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]
#![allow(clippy::print_stdout, reason = "helpers of tests, too, print what was measured")]

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bramble_card::layout::{SLOT_LEN, Slot};
use bramble_tests::programs::installed;
use bramble_tests::qemu::cluster::{MASTER, QemuCluster};
use bramble_tests::qemu::image::{Change, NO_NETWORK};
use bramble_tests::qemu::machine::{EmulatedBoard, PowerEvent};
use bramble_tests::qemu::model::Model;
use bramble_tests::qemu::upgrade::{Ended, altered_image, upgrade};
use bramble_tests::qemu::{PATIENCE, all_wanted, faults, image, network};
use bramble_tests::seed::Seed;
use bramble_tests::time_server::{self, TimeServer};
use bramble_tests::{skip_unless_boards_can_run, state};

/// The board that is upgraded.
const BOARD: &str = "pi-2";

#[test]
fn new_system_is_kept_if_it_works_and_rolled_back_if_not() {
    skip_unless_boards_can_run!();
    let original = image::card_image(image::sources().unwrap()).unwrap();
    let mut cluster = QemuCluster::flash(42, &original, &[Model::Virt, Model::Virt]).unwrap();
    let hour = Duration::from_secs(3_600);
    let address = cluster.lan().host_address();
    let time = TimeServer::start(address, time_server::PORT, hour).unwrap();
    cluster.power_on().unwrap();
    cluster.wait_until_ready(2, PATIENCE).unwrap();
    boards_learn_the_time(&cluster, &time);
    person_logs_in(&cluster);

    junk_is_refused_before_anything_is_written(&cluster);
    full_card_gets_a_message(&cluster);

    let Ended { status, text } = upgrade_to(&cluster, &original, &[Change::Version("9.9.1")]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(starts(cluster.board(BOARD).unwrap()), ["a", "b on trial"]);
    assert_eq!(slot_and_version(&cluster), "b 9.9.1 kept");
    let board = cluster.board_mut(BOARD).unwrap();
    board.cut_power(&mut Seed::new(1)).unwrap();
    let mark = board.console().mark();
    board.power_on().unwrap();
    board.console().wait_until_ready(mark, PATIENCE).unwrap();
    assert_eq!(starts(board), ["a", "b on trial", "b"]);
    cluster.wait_until_ready(2, PATIENCE).unwrap();

    // The other slot now has the older system, which is replaced by one that cannot start.
    let bad = [Change::Version("9.9.2"), Change::HalfOfTheSystem];
    let Ended { status, text } = upgrade_to(&cluster, &original, &bad);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("runs its old system again"), "{text}");
    let all = ["a", "b on trial", "b", "a on trial", "b"];
    assert_eq!(starts(cluster.board(BOARD).unwrap()), all);
    let row = slot_and_version(&cluster);
    assert!(row.starts_with("b 9.9.1 rolled back"), "{row}");

    if all_wanted() {
        let changes = [Change::Version("9.9.3"), Change::CommandLine(NO_NETWORK)];
        let Ended { status, text } = upgrade_to(&cluster, &original, &changes);
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains("not Ready within 120 s"), "{text}");
        let events = starts(cluster.board(BOARD).unwrap());
        assert_eq!(events.last_chunk(), Some(&["a on trial".to_owned(), "b".to_owned()]));
        let row = slot_and_version(&cluster);
        assert!(row.starts_with("b 9.9.1 rolled back"), "{row}");
    } else {
        println!("skipped: the upgrade that waits for its time to be over (make test-qemu)");
    }
    println!("{}", cluster.bramble("node list").unwrap().text);
    cluster.stop_and_check().unwrap();
}

/// Most that a board's clock may be wrong, in seconds.
const CLOCK_ERROR_S: u64 = 5;

/// All boards started in 1970. The master asks the LAN's time server, which is an hour ahead of
/// everything that a board could know otherwise; the agent follows the master, on a standing link
/// as well.
fn boards_learn_the_time(cluster: &QemuCluster, server: &TimeServer) {
    for board in [MASTER, BOARD] {
        clock_is(cluster, board, &|| server.now());
    }
    let master = cluster.board(MASTER).unwrap().console();
    let later = Duration::from_secs(600);
    for ahead in [later, Duration::ZERO] {
        faults::set_clock(master, (server.now() + ahead).as_secs()).unwrap();
        clock_is(cluster, BOARD, &|| server.now() + ahead);
    }
}

fn clock_is(cluster: &QemuCluster, board: &str, expected: &dyn Fn() -> Duration) {
    let console = cluster.board(board).unwrap().console();
    console.wait_for_shell(PATIENCE).unwrap();
    let took = cluster
        .wait_until(&format!("the time on {board}"), Duration::from_secs(60), || {
            let earliest = expected().as_secs().saturating_sub(CLOCK_ERROR_S);
            let told = console.run_ok("date +%s", Duration::from_secs(30))?;
            let latest = expected().as_secs() + CLOCK_ERROR_S;
            let right = (earliest..=latest).contains(&told.trim().parse()?);
            Ok((!right).then(|| format!("{} is not {earliest} to {latest}", told.trim())))
        })
        .unwrap();
    println!("{board} knew the time after {:.1} s, emulated", took.as_secs_f64());
}

/// A person's first look: SSH with the flashed key, and `bramble` there without a word more.
fn person_logs_in(cluster: &QemuCluster) {
    if !(installed("ssh") && installed("ssh-keygen")) {
        println!("left out: there is no ssh here");
        return;
    }
    let table = cluster.ssh(MASTER, "bramble get nodes").unwrap();
    assert!(table.contains(BOARD), "{table}");
    let name = cluster.ssh(BOARD, "hostname").unwrap();
    assert_eq!(name.trim(), BOARD);
}

fn junk_is_refused_before_anything_is_written(cluster: &QemuCluster) {
    let before = slot_b(cluster.board(BOARD).unwrap());
    for (junk, why) in [
        (vec![b'j'; 3 << 20], "no image of a bramble card"),
        (b"\x1f\x8b junk that says to be compressed".repeat(5000), "damaged"),
        (b"x".to_vec(), "ends after 1 of"),
    ] {
        let path = cluster.folder().join("junk");
        std::fs::write(&path, junk).unwrap();
        let Ended { status, text } = upgrade(cluster, BOARD, &path).unwrap();
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains(why), "no `{why}` in {text}");
    }
    let board = cluster.board(BOARD).unwrap();
    assert!(slot_b(board) == before, "the other slot was written");
    assert_eq!(starts(board), ["a"]);
}

/// A pod for which there is no room says so, and runs once there is.
fn full_card_gets_a_message(cluster: &QemuCluster) {
    let Ok(busybox) = image::board_busybox(image::sources().unwrap()) else {
        println!("left out: there is no busybox for boards here");
        return;
    };
    let kubectl = cluster.kubectl().unwrap();
    cluster.push_hello(&busybox, "hello:1").unwrap();
    let console = cluster.board(BOARD).unwrap().console();
    console.wait_for_shell(PATIENCE).unwrap();
    println!("full card: {}", faults::fill_card(console).unwrap());
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: hello}}\nspec:\n  nodeName: {BOARD}\n  \
         containers: [{{name: a, image: \"{}/hello:1\"}}]\n",
        network::REGISTRY_NAME
    );
    kubectl.apply(&pod).unwrap();
    cluster
        .wait_until("the pod says why it does not run", PATIENCE, || {
            let text = kubectl.run(&["get", "pod", "hello", "-o", "json"])?.to_lowercase();
            Ok((!text.contains("no space") && !text.contains("full")).then_some(text))
        })
        .unwrap();
    println!("{}", kubectl.run(&["get", "pods,events"]).unwrap());
    assert!(state::nodes_ready(&kubectl, 2).unwrap().is_none());
    faults::empty_card(console).unwrap();
    cluster
        .wait_until("the pod runs", PATIENCE, || state::pod_phase(&kubectl, "hello", "Running"))
        .unwrap();
    kubectl.run(&["delete", "pod", "hello", "--grace-period=0", "--force"]).unwrap();
}

/// Upgrades the board with an altered image.
fn upgrade_to(cluster: &QemuCluster, original: &Path, changes: &[Change<'_>]) -> Ended {
    let image = altered_image(cluster, original, changes).unwrap();
    upgrade(cluster, BOARD, &image).unwrap()
}

/// Slot, version and upgrade of the board, as `bramble node list` tells.
fn slot_and_version(cluster: &QemuCluster) -> String {
    let table = cluster.bramble("node list -o wide").unwrap().text;
    // Columns are at least three spaces apart; cells may have single ones.
    let columns = |line: &str| -> Vec<String> {
        line.split("   ").map(|text| text.trim().to_owned()).filter(|it| !it.is_empty()).collect()
    };
    let mut lines = table.lines().map(columns).skip_while(|it| !it.contains(&"SLOT".to_owned()));
    let slot = lines.next().unwrap_or_default().iter().position(|text| text == "SLOT").unwrap();
    let row = lines.find(|cells| cells.first().is_some_and(|name| name == BOARD)).unwrap();
    row.get(slot..slot + 3).unwrap_or_default().join(" ")
}

/// What the firmware has started so far.
fn starts(board: &EmulatedBoard) -> Vec<String> {
    let started = |event| match event {
        PowerEvent::Started { slot, trial: false } => Some(slot),
        PowerEvent::Started { slot, trial: true } => Some(format!("{slot} on trial")),
        PowerEvent::Reset { .. } | PowerEvent::Off | PowerEvent::Failed { .. } => None,
    };
    board.events().into_iter().filter_map(|(_, event)| started(event)).collect()
}

fn slot_b(board: &EmulatedBoard) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(SLOT_LEN).unwrap()];
    let mut card = board.disk().reader();
    card.seek(SeekFrom::Start(Slot::B.start())).unwrap();
    card.read_exact(&mut bytes).unwrap();
    bytes
}
