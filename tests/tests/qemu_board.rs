//! An emulated 64-bit ARM board boots, joins a master on this machine, and runs a pod.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use bramble_cross::board;
use bramble_cross::build::build;
use bramble_cross::toolchain::Toolchain;
use bramble_images::initramfs;
use bramble_tests::cluster::Cluster;
use bramble_tests::programs::installed;
use bramble_tests::qemu::{EmulatedBoard, PROGRAM};
use bramble_tests::{image, skip_unless, state};

/// An emulated board on a busy machine takes its time; nothing is measured here.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn emulated_board_joins_and_runs_a_pod() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    skip_unless!(installed(PROGRAM), "qemu-system-aarch64 is not installed");
    skip_unless!(Path::new("/dev/net/tun").exists(), "this kernel has no tun device");
    let board = board::find("qemu-virt").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = build(board, Toolchain::find(board, true).unwrap(), "release", root).unwrap();
    let boot = initramfs::build(board, &built.agent, &root.join("target/images")).unwrap();

    let mut cluster = Cluster::start(41).unwrap();
    let layout = cluster.folder().join("arm64");
    image::write_hello(&layout, &busybox_for_arm64(root), "arm64").unwrap();
    cluster.registry().push(&layout, "hello-arm64:1").unwrap();
    let mut emulated = EmulatedBoard::boot(&cluster, &boot, "pi-1").unwrap();
    let kubectl = cluster.kubectl().unwrap();

    let booted = cluster.wait_until("the board is Ready", PATIENCE, || {
        let seen = state::nodes_ready(&kubectl, 1)?;
        Ok(seen.map(|seen| format!("{seen}; console: {}", emulated.console())))
    });
    println!("power-on to Ready: {:.1} s, emulated", booted.unwrap().as_secs_f64());
    let node = kubectl.json(&["get", "node", "pi-1"]).unwrap();
    assert_eq!(state::text(&node, "/status/nodeInfo/architecture"), "arm64");

    kubectl
        .run(&[
            "run",
            "hello",
            "--image=registry.local/hello-arm64:1",
            "--",
            "sh",
            "-c",
            "echo from the board; sleep 1000",
        ])
        .unwrap();
    cluster
        .wait_until("the pod runs", PATIENCE, || {
            let seen = state::pod_phase(&kubectl, "hello", "Running")?;
            Ok(seen.map(|seen| format!("{seen}; console: {}", emulated.console())))
        })
        .unwrap();
    cluster
        .wait_until("its log", PATIENCE, || {
            let log = kubectl.run(&["logs", "hello"])?;
            Ok((log != "from the board\n").then_some(log))
        })
        .unwrap();

    emulated.cut_power().unwrap();
    cluster
        .wait_until("the board is missed", Duration::from_secs(20), || {
            let node = kubectl.json(&["get", "node", "pi-1"])?;
            let ready = state::condition(&node, "Ready");
            Ok((ready != "Unknown").then(|| ready.to_owned()))
        })
        .unwrap();
    cluster.stop_and_check().unwrap();
}

/// The busybox that the board itself has been given.
fn busybox_for_arm64(root: &Path) -> PathBuf {
    let unpacked = root.join("target/images/packages/unpacked");
    std::fs::read_dir(unpacked)
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("busybox-static"))
        .map(|entry| entry.path().join("usr/bin/busybox"))
        .unwrap()
}
