//! An emulated 64-bit ARM board boots, joins a master on this machine, and runs a pod.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bramble_cross::board::{self, Board};
use bramble_cross::build::{Built, build, size_mb};
use bramble_cross::toolchain::Toolchain;
use bramble_images::initramfs;
use bramble_tests::cluster::Cluster;
use bramble_tests::programs::{installed, output};
use bramble_tests::qemu::{EmulatedBoard, PROGRAM};
use bramble_tests::{image, skip_unless, state};

/// Program of Debian's package qemu-user-static.
const USER_EMULATOR: &str = "qemu-aarch64-static";
/// An emulated board on a busy machine takes its time; nothing is measured here.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn emulated_board_joins_and_runs_a_pod() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    skip_unless!(installed(PROGRAM), "qemu-system-aarch64 is not installed");
    skip_unless!(Path::new("/dev/net/tun").exists(), "this kernel has no tun device");
    let board = board::find("qemu-virt").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = binaries(board, root);
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

#[test]
fn binaries_for_boards_run_on_the_boards_processor() {
    skip_unless!(installed(USER_EMULATOR), "qemu-aarch64-static is not installed");
    let board = board::find("arm64").unwrap();
    let built = binaries(board, Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    let (master, agent) = (built.master.to_string_lossy(), built.agent.to_string_lossy());
    for (program, args, wanted) in [
        (&agent, &["--help"][..], "self-check"),
        (&agent, &["version"], "0.1.0"),
        (&agent, &["self-check"], "arm64"),
        (&master, &["--help"], "server"),
    ] {
        let args = [&[program.as_ref()], args].concat();
        let printed = output(Command::new(USER_EMULATOR).args(&args)).unwrap();
        let text = String::from_utf8_lossy(&printed.stdout);
        assert!(text.contains(wanted), "no `{wanted}` in {text}");
    }
    for path in [&built.master, &built.agent] {
        let loader = interpreter(&std::fs::read(path).unwrap());
        assert!(!loader, "{} is not static: it names a loader", path.display());
        println!("{:.1} MB  {}", size_mb(path).unwrap(), path.display());
    }
}

/// Binaries for a board: those in `BRAMBLE_BOARD_BINARIES`, or built now.
fn binaries(board: &Board, root: &Path) -> Built {
    if let Some(folder) = std::env::var_os("BRAMBLE_BOARD_BINARIES").map(PathBuf::from) {
        return Built { master: folder.join("bramble"), agent: folder.join("bramble-agent") };
    }
    build(board, Toolchain::find(board, true).unwrap(), "release", root).unwrap()
}

/// `true` if a 64-bit little-endian ELF file has a program header of type `PT_INTERP`.
fn interpreter(file: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, len: usize| {
        let bytes = file.get(at..at + len).unwrap();
        bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(start + index * size, 4) == usize::try_from(PT_INTERP).unwrap())
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
