//! Cases of moving output: once and whole, over rotation, kills, full disks and used-up budgets.

use std::collections::BTreeMap;

use super::super::chain::rotated_path;
use super::*;
use crate::output::{OutputRing, Stream};

struct Bench {
    root: tempfile::TempDir,
    ring: OutputRing,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("logs/web/0.log");
        let ring =
            OutputRing::create(root.path().join("out"), target.to_str().unwrap(), 0).unwrap();
        Self { root, ring }
    }

    fn say(&mut self, text: &str) {
        self.ring.append(Stream::Stdout, 0, text.as_bytes()).unwrap();
    }

    fn open(&self) -> Transfer {
        Transfer::open(self.root.path().join("out")).unwrap()
    }

    fn texts(&self) -> Vec<String> {
        let target = self.root.path().join("logs/web/0.log");
        let mut all = String::new();
        for number in (1..5).rev() {
            all += &fs::read_to_string(rotated_path(&target, number)).unwrap_or_default();
        }
        all += &fs::read_to_string(&target).unwrap_or_default();
        all.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    }
}

/// A step without a budget.
fn step(transfer: &mut Transfer, file_len_max: u64) -> io::Result<Step> {
    step_within(transfer, &mut Budgets::default(), file_len_max, 0)
}

fn step_within(
    transfer: &mut Transfer,
    budgets: &mut Budgets,
    file_len_max: u64,
    now_ms: u64,
) -> io::Result<Step> {
    let bounds = Bounds { file_len_max, files_max: 3 };
    transfer.step(&mut Means { bounds, budgets, now_ms, now_us: 0 })
}

#[test]
fn lines_arrive_once_and_the_output_goes_when_it_has_ended() {
    let mut bench = Bench::new();
    let mut transfer = bench.open();
    bench.say("a\nb");
    assert!(!step(&mut transfer, 1000).unwrap().finished);
    bench.say("c\nd");
    step(&mut transfer, 1000).unwrap();
    assert_eq!(bench.texts(), ["a", "bc"]);
    bench.ring.end().unwrap();
    assert!(step(&mut transfer, 1000).unwrap().finished);
    assert_eq!(bench.texts(), ["a", "bc", "d"]);
    assert!(!bench.root.path().join("out").exists());
}

#[test]
fn a_successor_repeats_nothing_even_if_the_note_was_not_written() {
    let mut bench = Bench::new();
    bench.say("a\nb");
    step(&mut bench.open(), 1000).unwrap();
    let noted = fs::read(bench.root.path().join("out/position")).unwrap();
    bench.say("c\nd\n");
    step(&mut bench.open(), 1000).unwrap();
    // Killed after the lines were written and before the note was.
    fs::write(bench.root.path().join("out/position"), noted).unwrap();
    bench.say("e\n");
    step(&mut bench.open(), 1000).unwrap();
    assert_eq!(bench.texts(), ["a", "bc", "d", "e"]);
}

#[test]
fn files_are_rotated_and_the_oldest_goes() {
    let mut bench = Bench::new();
    let mut transfer = bench.open();
    for number in 0..6 {
        bench.say(&format!("{number}\n"));
        step(&mut transfer, 60).unwrap();
    }
    assert_eq!(bench.texts(), ["3", "4", "5"]);
}

#[test]
fn a_disk_that_takes_nothing_loses_lines_and_blocks_nobody() {
    let mut bench = Bench::new();
    fs::write(bench.root.path().join("logs"), "in the way").unwrap();
    let mut transfer = bench.open();
    bench.say("a\nb\n");
    assert!(!step(&mut transfer, 1000).unwrap().more);
    assert_eq!(transfer.position.lines_lost, 2);
    fs::remove_file(bench.root.path().join("logs")).unwrap();
    bench.say("c\n");
    step(&mut transfer, 1000).unwrap();
    assert_eq!(bench.texts(), ["c"]);
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Budgets of two lines of one letter: 42 bytes each in the log.
fn two_lines() -> Budgets {
    Budgets::new(Some(2 * 42), BTreeMap::new())
}

impl Bench {
    fn newest(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.path().join("out/newest.log")).unwrap_or_default();
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    }

    /// What the log says of its budget.
    fn notices(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.path().join("logs/web/0.log")).unwrap();
        let said = text.lines().filter_map(|line| line.split_once("stderr F bramble: "));
        said.map(|(_, said)| said.to_owned()).collect()
    }
}

#[test]
fn a_used_up_budget_leaves_the_disk_alone_and_the_newest_lines_in_memory() {
    let mut bench = Bench::new();
    let mut budgets = two_lines();
    let mut transfer = bench.open();
    bench.say("a\nb\n");
    step_within(&mut transfer, &mut budgets, 10_000, 0).unwrap();
    bench.say("c\nd\n");
    step_within(&mut transfer, &mut budgets, 10_000, 1).unwrap();
    let len = |bench: &Bench| fs::metadata(bench.root.path().join("logs/web/0.log")).unwrap().len();
    let before = len(&bench);
    assert_eq!(bench.notices().len(), 1, "{:?}", bench.notices());
    assert!(bench.notices()[0].contains("used up the 84 bytes"), "{:?}", bench.notices());
    assert_eq!(bench.newest(), ["c", "d"]);
    for _ in 0..100 {
        bench.say(&"e\n".repeat(1000));
        while step_within(&mut transfer, &mut budgets, 10_000, 2).unwrap().more {}
    }
    assert_eq!(len(&bench), before, "nothing more is written");
    let memory: u64 = ["newest.log", "newest.log.1"]
        .iter()
        .filter_map(|name| Some(fs::metadata(bench.root.path().join("out").join(name)).ok()?.len()))
        .sum();
    assert!(memory <= 64 * 1024, "{memory} bytes in memory");
    bench.say("last\n");
    step_within(&mut transfer, &mut budgets, 10_000, 2).unwrap();
    assert_eq!(bench.newest().last().unwrap(), "last");
}

#[test]
fn the_next_day_the_log_says_what_is_missing_and_goes_on() {
    let mut bench = Bench::new();
    let mut budgets = two_lines();
    let mut transfer = bench.open();
    bench.say("a\nb\n");
    step_within(&mut transfer, &mut budgets, 10_000, 0).unwrap();
    bench.say("c\nd\ne\n");
    step_within(&mut transfer, &mut budgets, 10_000, 1).unwrap();
    bench.say("f\n");
    step_within(&mut transfer, &mut budgets, 10_000, DAY_MS).unwrap();
    assert!(bench.notices()[1].starts_with("3 lines (126 bytes) were left out"));
    assert_eq!(bench.texts(), ["a", "b", "memory", "follow", "c", "d", "e", "f"]);
    assert_eq!(bench.newest(), [""; 0]);
}

#[test]
fn the_end_of_a_container_brings_its_newest_lines_to_the_disk() {
    let mut bench = Bench::new();
    let mut budgets = two_lines();
    let mut transfer = bench.open();
    bench.say("a\nb\nc\n");
    step_within(&mut transfer, &mut budgets, 10_000, 0).unwrap();
    bench.say("why it ended");
    bench.ring.end().unwrap();
    assert!(step_within(&mut transfer, &mut budgets, 10_000, 1).unwrap().finished);
    assert_eq!(bench.texts(), ["memory", "follow", "a", "b", "c", "ended"]);
}

#[test]
fn a_successor_goes_on_in_silence_and_repeats_nothing() {
    let mut bench = Bench::new();
    let mut budgets = two_lines();
    bench.say("a\nb\nc\n");
    step_within(&mut bench.open(), &mut budgets, 10_000, 0).unwrap();
    let noted = fs::read(bench.root.path().join("out/position")).unwrap();
    bench.say("d\n");
    step_within(&mut bench.open(), &mut budgets, 10_000, 1).unwrap();
    // Killed after the lines were written and before the note was.
    fs::write(bench.root.path().join("out/position"), noted).unwrap();
    bench.say("e\n");
    step_within(&mut bench.open(), &mut budgets, 10_000, 2).unwrap();
    assert_eq!(bench.newest(), ["a", "b", "c", "d", "e"]);
    assert_eq!(bench.notices().len(), 1);
}

#[test]
fn the_last_lines_are_whole_and_fit() {
    let check =
        |len_max, expected: &[u8]| assert_eq!(last_lines(b"ab\ncd\nef\n", len_max), expected);
    check(9, b"ab\ncd\nef\n");
    check(8, b"cd\nef\n");
    check(6, b"cd\nef\n");
    check(5, b"ef\n");
    check(2, b"");
}
