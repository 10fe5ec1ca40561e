//! The power goes at any moment, and the board comes up again with nobody's help.
//!
//! A moment is a number of bytes that go to the card before: the power goes in the middle of that
//! write. The card loses what was not flushed, in sectors of 512 bytes. `BRAMBLE_SEED` repeats the
//! moments of a run, `BRAMBLE_QEMU=all` tries more of them.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]
#![allow(clippy::print_stdout, reason = "helpers of tests, too, print what was measured")]

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::qemu::cluster::QemuCluster;
use bramble_tests::qemu::console::last_lines;
use bramble_tests::qemu::image::Change;
use bramble_tests::qemu::model::Model;
use bramble_tests::qemu::network::REGISTRY_NAME;
use bramble_tests::qemu::{PATIENCE, all_wanted, image, upgrade};
use bramble_tests::seed::Seed;
use bramble_tests::skip_unless_boards_can_run;
use bramble_tests::state::{condition, pod_phase, text};
use bramble_tests::wait::{now, pause, wait_until};

/// The board whose power goes.
const BOARD: &str = "pi-2";
/// Bytes of the image that is pulled: enough for a pull to be met in the middle.
const PULLED_LEN: usize = 24 << 20;
/// Bytes that a pull writes: the image as it came, and unpacked.
const PULL_WRITES: u64 = 52 << 20;
/// Bytes that an upgrade writes: the slot, and the first boot of the new system.
const UPGRADE_WRITES: u64 = 132 << 20;

/// How often the power goes.
struct Counts {
    first_boots: usize,
    pulls: usize,
    upgrades: usize,
}

#[test]
fn board_without_power_at_any_moment_comes_up_again() {
    skip_unless_boards_can_run!();
    let counts = if all_wanted() {
        Counts { first_boots: 12, pulls: 4, upgrades: 4 }
    } else {
        Counts { first_boots: 3, pulls: 1, upgrades: 1 }
    };
    let root = image::sources().unwrap();
    let original = image::card_image(root).unwrap();
    let busybox = image::board_busybox(root).unwrap();
    let cluster = QemuCluster::flash(43, &original, &[Model::Virt, Model::Virt]).unwrap();
    let mut story = Story { cluster, original, seed: Seed::from_env() };

    story.cluster.power_on().unwrap();
    story.cluster.wait_until_ready(2, PATIENCE).unwrap();
    let whole = story.first_boot_without_cut();
    for _ in 0..counts.first_boots {
        story.first_boot_with_cut(whole);
    }
    for number in 0..counts.pulls {
        story.pull_with_cut(number, &busybox);
    }
    for _ in 0..counts.upgrades {
        story.upgrade_with_cut();
    }
    story.cluster.stop_and_check().unwrap();
}

struct Story {
    cluster: QemuCluster,
    original: PathBuf,
    seed: Seed,
}

impl Story {
    /// Returns the bytes that a first boot writes until Ready.
    fn first_boot_without_cut(&mut self) -> u64 {
        self.cut();
        self.cluster.replace_card(BOARD, &self.original).unwrap();
        self.power_on_until_ready("a first boot without a cut");
        self.cluster.board(BOARD).unwrap().disk().wear().bytes
    }

    fn first_boot_with_cut(&mut self, whole: u64) {
        self.cut();
        self.cluster.replace_card(BOARD, &self.original).unwrap();
        let planned = self.plan_cut(whole);
        let mark = self.cluster.board(BOARD).unwrap().console().mark();
        self.cluster.board_mut(BOARD).unwrap().power_on().unwrap();
        self.wait_for_cut(|story| {
            let board = story.cluster.board(BOARD).unwrap();
            board.console().ready(mark)
        });
        let seen = self.cluster.board(BOARD).unwrap().console().text_from(mark);
        let last = last_lines(&seen, 1);
        let lost = self.cut();
        self.power_on_until_ready(&format!(
            "a cut {planned} into a first boot, at `{}` {lost}",
            last.trim()
        ));
    }

    fn pull_with_cut(&mut self, number: usize, busybox: &Path) {
        let mut program = std::fs::read(busybox).unwrap();
        while program.len() < PULLED_LEN {
            program.extend(self.seed.next_number().to_le_bytes());
        }
        let file = self.cluster.folder().join("program");
        std::fs::write(&file, program).unwrap();
        let name = format!("large-{number}");
        self.cluster.push_hello(&file, &format!("{name}:1")).unwrap();
        let kubectl = self.kubectl();
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: {BOARD}\n  \
             restartPolicy: OnFailure\n  containers:\n  - name: a\n    \
             image: {REGISTRY_NAME}/{name}:1\n    command: [/bin/busybox, sha256sum, /bin/busybox]\n"
        );
        let planned = self.plan_cut(PULL_WRITES);
        kubectl.apply(&pod).unwrap();
        self.wait_for_cut(|_| pod_phase(&kubectl, &name, "Succeeded").is_ok_and(|no| no.is_none()));
        let lost = self.cut();
        self.power_on_until_ready(&format!("a cut {planned} into a pull {lost}"));
        let took = self
            .cluster
            .wait_until("the pod ends well", PATIENCE, || pod_phase(&kubectl, &name, "Succeeded"));
        println!("the pod ended well {:.1} s later", took.unwrap().as_secs_f64());
        // What was pulled is what was pushed.
        let sum = bramble_tests::programs::run("sha256sum", &[&file.to_string_lossy()]).unwrap();
        let logs = kubectl.run(&["logs", &name]).unwrap();
        let first = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
        assert_eq!(first(&logs), first(&sum));
    }

    fn upgrade_with_cut(&mut self) {
        let changes = [Change::Version("9.9.1")];
        let image = upgrade::altered_image(&self.cluster, &self.original, &changes).unwrap();
        let planned = self.plan_cut(UPGRADE_WRITES);
        let mut command = upgrade::command(&self.cluster, BOARD, &image).unwrap();
        let mut broken = command.stdin(Stdio::null()).spawn().unwrap();
        self.wait_for_cut(|_| broken.try_wait().unwrap().is_some());
        let lost = self.cut();
        self.power_on_until_ready(&format!("a cut {planned} into an upgrade {lost}"));
        // Whoever upgrades is told; the same command then does it.
        println!("the upgrade ended with {:?}", ended(&mut broken));
        let again = upgrade::upgrade(&self.cluster, BOARD, &image).unwrap();
        assert_eq!(again.status, Some(0), "{}", again.text);
    }

    /// Has the power go within this many bytes that are written from now on; says when.
    fn plan_cut(&mut self, within: u64) -> String {
        let bytes = self.seed.below(within);
        self.cluster.board(BOARD).unwrap().disk().plan_cut(bytes, &mut self.seed);
        format!("{} KiB", bytes >> 10)
    }

    /// Waits for the planned cut, or until what it was planned for is over.
    fn wait_for_cut(&self, mut over: impl FnMut(&Self) -> bool) {
        wait_until("the power goes", PATIENCE, || {
            // Looked at often, since the board's processor goes on without its card.
            for _ in 0..500 {
                if !self.cluster.board(BOARD)?.disk().powered() {
                    return Ok(None);
                }
                pause(Duration::from_millis(2));
            }
            Ok((!over(self)).then(|| "it has power".to_owned()))
        })
        .unwrap();
    }

    /// Cuts the power; says what the card lost.
    fn cut(&mut self) -> String {
        let board = self.cluster.board_mut(BOARD).unwrap();
        let (lost, unflushed) = board.cut_power(&mut self.seed).unwrap();
        format!("({lost} of {unflushed} unflushed sectors lost)")
    }

    fn power_on_until_ready(&mut self, after: &str) -> Duration {
        let kubectl = self.kubectl();
        let boot = |node: &serde_json::Value| text(node, "/status/nodeInfo/bootID").to_owned();
        let before = kubectl.json(&["get", "node", BOARD]).map(|node| boot(&node)).unwrap();
        let start = now();
        let board = self.cluster.board_mut(BOARD).unwrap();
        let mark = board.console().mark();
        board.power_on().unwrap();
        let up = board.console().wait_until_ready(mark, PATIENCE);
        up.with_context(|| format!("after {after}")).unwrap();
        self.cluster
            .wait_until("the master calls it Ready", PATIENCE, || {
                let node = kubectl.json(&["get", "node", BOARD])?;
                let there = condition(&node, "Ready") == "True" && boot(&node) != before;
                Ok((!there).then(|| node.to_string()))
            })
            .unwrap();
        let took = start.elapsed();
        println!("{:.1} s to Ready after {after}", took.as_secs_f64());
        let seen = self.cluster.board(BOARD).unwrap().console().text_from(mark);
        for line in seen.lines().filter(|line| line.contains("mended") || line.contains("damaged"))
        {
            println!("  {line}");
        }
        assert!(!seen.contains("could not be mended"));
        took
    }

    fn kubectl(&self) -> Kubectl {
        self.cluster.kubectl().unwrap()
    }
}

/// Waits for the end of a command and returns its exit code.
fn ended(command: &mut Child) -> Option<i32> {
    let mut code = None;
    wait_until("the upgrade ends", PATIENCE, || {
        let status = command.try_wait()?;
        code = status.and_then(|status| status.code());
        Ok(status.is_none().then(|| "it runs".to_owned()))
    })
    .unwrap();
    code
}
