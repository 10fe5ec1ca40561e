//! Cases of reading logs: parts of one, rotation, and what a reader costs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::window::WINDOW_LEN;
use super::*;
use crate::log_writer::{TEXT_LEN_MAX, rotated_path};

const LOG: &str = "1970-01-01T00:00:01.000000000Z stdout F one\n\
    1970-01-01T00:00:02.000000000Z stdout P tw\n\
    1970-01-01T00:00:02.000000000Z stdout F o\n\
    1970-01-01T00:00:03.000000000Z stderr F three\n";

/// A log in a folder of its own, written and rotated as the log writer does it.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("0.log")
    }

    fn memory(&self) -> PathBuf {
        self.root.path().join("newest.log")
    }

    fn files(&self) -> LogFiles {
        LogFiles { disk: self.path(), memory: Some(self.memory()) }
    }

    fn say(&self, text: &str) {
        Self::append(&self.path(), text);
    }

    /// As the log writer does while a budget is used up.
    fn say_in_memory(&self, text: &str) {
        Self::append(&self.memory(), text);
    }

    fn append(path: &Path, text: &str) {
        let line = format!("1970-01-01T00:00:04.000000000Z stdout F {text}\n");
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }

    fn rotate(&self, kept: u32) {
        Self::rotate_at(&self.path(), kept);
    }

    fn rotate_at(path: &Path, kept: u32) {
        for number in (1..kept).rev() {
            let _none = fs::rename(rotated_path(path, number), rotated_path(path, number + 1));
        }
        fs::rename(path, rotated_path(path, 1)).unwrap();
    }

    fn open(&self, options: &LogOptions) -> LogFollower {
        LogFollower::open(&self.files(), options).unwrap()
    }

    fn read(&self, options: &LogOptions) -> String {
        all(&mut self.open(options))
    }
}

/// Reads what is there; no piece and no window may be larger than its bound.
fn all(follower: &mut LogFollower) -> String {
    let mut text = Vec::new();
    loop {
        let piece = follower.read().unwrap();
        assert!(piece.len() <= WINDOW_LEN, "{} bytes in one piece", piece.len());
        assert!(follower.held() <= WINDOW_LEN, "{} bytes kept", follower.held());
        if piece.is_empty() {
            return String::from_utf8(text).unwrap();
        }
        text.extend(piece);
    }
}

fn tail(lines: u64) -> LogOptions {
    LogOptions { tail_lines: Some(lines), ..LogOptions::default() }
}

fn check(options: &LogOptions, expected: &str) {
    let bench = Bench::new();
    fs::write(bench.path(), LOG).unwrap();
    assert_eq!(bench.read(options), expected);
}

#[test]
fn tail_since_limit_and_timestamps() {
    let all = LogOptions::default();
    check(&all, "one\ntwo\nthree\n");
    check(&tail(2), "two\nthree\n");
    check(&tail(0), "");
    check(&tail(9), "one\ntwo\nthree\n");
    check(&LogOptions { since_us: Some(2_000_000), ..all.clone() }, "two\nthree\n");
    check(&LogOptions { limit_bytes: Some(5), ..all.clone() }, "one\nt");
    check(
        &LogOptions { timestamps: true, tail_lines: Some(2), ..all },
        "1970-01-01T00:00:02.000000000Z two\n1970-01-01T00:00:03.000000000Z three\n",
    );
}

#[test]
fn tail_reaches_into_rotated_files() {
    let bench = Bench::new();
    bench.say("zero");
    bench.rotate(3);
    fs::write(bench.path(), LOG).unwrap();
    bench.rotate(3);
    bench.say("four");
    assert_eq!(bench.read(&tail(3)), "two\nthree\nfour\n");
    assert_eq!(bench.read(&tail(99)), "zero\none\ntwo\nthree\nfour\n");
    assert_eq!(bench.read(&tail(0)), "");
}

#[test]
fn tail_finds_its_line_whatever_the_windows_cut() {
    let bench = Bench::new();
    // Lines of all lengths around those of windows and of what the log writer splits.
    let lens: Vec<usize> = (0..40).map(|number| number * 977 % (TEXT_LEN_MAX + 1)).collect();
    for (number, len) in lens.iter().enumerate() {
        bench.say(&format!("{number}:{}", "x".repeat(*len)));
        if number % 13 == 12 {
            bench.rotate(5);
        }
    }
    for wanted in 0..=lens.len() {
        let text = bench.read(&tail(u64::try_from(wanted).unwrap()));
        let first = lens.len() - wanted;
        let numbers: Vec<String> =
            text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        let expected: Vec<String> = (first..lens.len()).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "tail of {wanted}");
    }
}

#[test]
fn an_unfinished_line_at_the_end_is_after_the_tail() {
    let bench = Bench::new();
    fs::write(bench.path(), format!("{LOG}1970-01-01T00:00:04.000000000Z stdout F fo")).unwrap();
    let mut follower = bench.open(&tail(1));
    assert_eq!(all(&mut follower), "three\n");
    fs::write(bench.path(), format!("{LOG}1970-01-01T00:00:04.000000000Z stdout F four\n"))
        .unwrap();
    assert_eq!(all(&mut follower), "four\n");
}

#[test]
fn following_goes_on_over_a_rotation_and_over_half_lines() {
    let bench = Bench::new();
    let mut follower = bench.open(&LogOptions::default());
    assert_eq!(all(&mut follower), "");
    fs::write(bench.path(), &LOG[..60]).unwrap();
    assert_eq!(all(&mut follower), "one\n");
    fs::write(bench.path(), LOG).unwrap();
    bench.rotate(3);
    bench.say("four");
    assert_eq!(all(&mut follower), "two\nthree\nfour\n");
    assert_eq!(all(&mut follower), "");
}

#[test]
fn a_reader_that_stood_still_over_rotations_loses_and_repeats_nothing_that_is_kept() {
    let bench = Bench::new();
    bench.say("a");
    let mut follower = bench.open(&LogOptions::default());
    assert_eq!(follower.read().unwrap(), b"a\n");
    for text in ["b", "c", "d"] {
        bench.say(text);
        bench.rotate(3);
    }
    bench.say("e");
    // The file that it reads is the oldest of four and has no name any more; it is still read.
    bench.rotate(3);
    bench.say("f");
    assert_eq!(all(&mut follower), "b\nc\nd\ne\nf\n");
}

#[test]
fn a_file_that_rotation_removed_is_let_go_and_reading_goes_on_with_what_is_kept() {
    let bench = Bench::new();
    bench.say("a");
    let mut follower = bench.open(&LogOptions::default());
    assert_eq!(follower.read().unwrap(), b"a\n");
    bench.say("b");
    follower.release_removed();
    assert_eq!(all(&mut follower), "b\n");
    bench.say("lost");
    for text in ["c", "d", "e"] {
        bench.rotate(2);
        bench.say(text);
    }
    follower.release_removed();
    assert_eq!(all(&mut follower), "c\nd\ne\n");
}

#[test]
fn a_long_log_comes_in_small_pieces() {
    let bench = Bench::new();
    let line = "y".repeat(1000);
    let count = 3000;
    for _ in 0..count {
        bench.say(&line);
    }
    assert_eq!(bench.read(&LogOptions::default()).lines().count(), count);
    assert_eq!(read_end(&bench.files(), 80, 2048).unwrap().len(), 2048);
}

#[test]
fn bytes_that_are_no_log_are_left_out_and_end_with_their_line() {
    let bench = Bench::new();
    fs::write(bench.path(), format!("{}\n{LOG}", "z".repeat(3 * WINDOW_LEN))).unwrap();
    assert_eq!(bench.read(&LogOptions::default()), "one\ntwo\nthree\n");
    assert_eq!(bench.read(&tail(2)), "two\nthree\n");
    assert_eq!(bench.read(&tail(9)), "one\ntwo\nthree\n");
}

#[test]
fn what_memory_has_comes_after_the_disk_and_the_disk_goes_on_after_it() {
    let bench = Bench::new();
    bench.say("a");
    bench.say("used up");
    let mut follower = bench.open(&LogOptions::default());
    assert_eq!(all(&mut follower), "a\nused up\n");
    bench.say_in_memory("b");
    assert_eq!(all(&mut follower), "b\n");
    bench.say_in_memory("c");
    assert_eq!(bench.read(&tail(2)), "b\nc\n");
    assert_eq!(bench.read(&tail(3)), "used up\nb\nc\n");
    assert_eq!(bench.read(&LogOptions::default()), "a\nused up\nb\nc\n");
    let mut late = bench.open(&tail(1));
    assert_eq!(all(&mut late), "c\n");
    assert_eq!(all(&mut follower), "c\n");
    // The next day.
    bench.say("left out");
    bench.say("d");
    fs::remove_file(bench.memory()).unwrap();
    assert_eq!(all(&mut follower), "left out\nd\n");
    assert_eq!(all(&mut late), "left out\nd\n");
    // And its end.
    bench.rotate(3);
    bench.say("used up again");
    bench.say_in_memory("e");
    assert_eq!(all(&mut follower), "used up again\ne\n");
}

#[test]
fn memory_that_was_rotated_past_a_slow_reader_does_not_send_it_back_to_the_disk() {
    let bench = Bench::new();
    bench.say("a");
    bench.say_in_memory("b");
    let mut follower = bench.open(&LogOptions::default());
    assert_eq!(all(&mut follower), "a\nb\n");
    bench.say_in_memory("c");
    for text in ["d", "e"] {
        Bench::rotate_at(&bench.memory(), 1);
        bench.say_in_memory(text);
    }
    follower.release_removed();
    assert_eq!(all(&mut follower), "c\nd\ne\n");
}
