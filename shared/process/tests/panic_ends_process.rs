//! A panic ends the process at once, whichever thread it is in, unless the work may fail alone.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::thread;

use bramble_process::panics::{self, Panicked};

/// Tells this program, run as its own child, what to do.
const TASK: &str = "BRAMBLE_PANIC_TASK";
const SIGABRT: i32 = 6;

fn run(task: &str) -> ExitStatus {
    let own = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(own);
    child.args(["--exact", "panic_ends_the_process_unless_contained"]).env(TASK, task);
    child.output().expect("this program starts").status
}

fn slip() -> u8 {
    let empty: Vec<u8> = Vec::new();
    empty.first().copied().expect("this work slips")
}

#[test]
fn panic_ends_the_process_unless_contained() {
    match std::env::var(TASK).as_deref() {
        Ok("contained") => {
            panics::end_process();
            assert_eq!(panics::contain(slip), Err(Panicked));
        }
        Ok("thread") => {
            panics::end_process();
            // Without the hook this thread would end alone.
            let _ = thread::spawn(slip).join();
        }
        Ok("after") => {
            panics::end_process();
            let _ = panics::contain(slip);
            let _ = thread::spawn(slip).join();
        }
        Ok("torn") => panics::torn("a test"),
        Ok(_) | Err(_) => {
            assert!(run("contained").success());
            for task in ["thread", "after", "torn"] {
                assert_eq!(run(task).signal(), Some(SIGABRT), "{task}");
            }
        }
    }
}
