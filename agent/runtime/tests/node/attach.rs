//! A container's own program, with somebody attached to it, and with other limits than it began with.
//! Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use bramble_runtime::client::CallError;
use bramble_runtime::protocol::{Attach, FailureReason, Limits, OwnStreams};
use bramble_runtime::session::{self, Session};
use bramble_runtime::spec::ContainerSpec;
use bramble_runtime::terminal::{TerminalSize, resize};

use crate::containers::failure;
use crate::harness::{Node, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn run(node: &mut Node, spec: &ContainerSpec, streams: OwnStreams) {
    let mut request = node.create_request("web", spec);
    request.streams = streams;
    node.client.create(request).unwrap();
    node.client.start("web").unwrap();
}

fn attach(node: &Node, stdin: bool) -> Result<Session, CallError> {
    let wanted = Attach { id: "web".to_owned(), stdin, stdout: true, stderr: true };
    session::attach(&node.run_dir().runtime_socket(), wanted, PATIENCE)
}

fn files<const N: usize>(session: &mut Session) -> [File; N] {
    let descriptors = std::mem::take(&mut session.descriptors);
    let files: Vec<File> = descriptors.into_iter().map(File::from).collect();
    files.try_into().unwrap()
}

/// Reads until the text is there.
fn read_until(file: &mut File, wanted: &str) -> String {
    let (mut said, mut chunk) = (String::new(), [0; 256]);
    while !said.contains(wanted) {
        let len = file.read(&mut chunk).unwrap();
        assert!(len > 0, "`{wanted}` is not in `{said}`");
        said.push_str(std::str::from_utf8(chunk.get(..len).unwrap()).unwrap());
    }
    said
}

#[test]
fn input_and_output_are_the_programs_own_and_the_log_has_them_too() {
    let mut node = Node::supervised();
    let script = "while read line; do echo got $line; echo err $line >&2; done; echo over; exit 3";
    let mut spec = node.script("web", script);
    spec.uid = 1000;
    let once = OwnStreams { stdin: true, stdin_once: true, terminal: false };
    run(&mut node, &spec, once);
    let mut session = attach(&node, true).unwrap();
    let [mut stdin, mut stdout, mut stderr] = files(&mut session);
    stdin.write_all(b"one\n").unwrap();
    read_until(&mut stdout, "got one\n");
    read_until(&mut stderr, "err one\n");
    // Another one only looks on, and who goes away ends nothing that is not his.
    let mut second = attach(&node, false).unwrap();
    let [mut seen, seen_errors] = files(&mut second);
    stdin.write_all(b"two\n").unwrap();
    read_until(&mut seen, "got two\n");
    drop((seen, seen_errors, second));
    // The runtime process may be another one by then.
    node.wait_log("web", |text| text.contains("err two"));
    stdin.write_all(b"three\n").unwrap();
    read_until(&mut stdout, "got three\n");
    drop(stdin);
    node.client.close_input("web").unwrap();
    read_until(&mut stdout, "over\n");
    session.wait_end(PATIENCE).unwrap();
    assert_eq!(node.wait_exit("web").code, 3);
    node.wait_log("web", |text| text.contains("over"));
    assert_eq!(failure(attach(&node, true)).reason, FailureReason::WrongState);
    node.client.delete("web", true).unwrap();
}

#[test]
fn input_ends_with_the_first_who_was_attached_only_where_that_is_wanted() {
    let mut node = Node::runtime();
    let script = "while read line; do echo got $line; done; echo over";
    let spec = node.script("web", script);
    run(&mut node, &spec, OwnStreams { stdin: true, stdin_once: false, terminal: false });
    let mut first = attach(&node, true).unwrap();
    let [mut stdin, mut stdout, _stderr] = files(&mut first);
    stdin.write_all(b"one\n").unwrap();
    read_until(&mut stdout, "got one\n");
    drop((stdin, stdout, first));
    node.client.close_input("web").unwrap();
    let mut second = attach(&node, true).unwrap();
    let [mut stdin, mut stdout, _stderr] = files(&mut second);
    stdin.write_all(b"two\n").unwrap();
    read_until(&mut stdout, "got two\n");
    node.client.delete("web", true).unwrap();

    run(&mut node, &spec, OwnStreams { stdin: true, stdin_once: true, terminal: false });
    let mut first = attach(&node, true).unwrap();
    let streams: [File; 3] = files(&mut first);
    drop((streams, first));
    assert_eq!(node.wait_exit("web").code, 0);
    node.client.delete("web", true).unwrap();
}

#[test]
fn a_container_has_a_terminal_of_its_own() {
    let mut node = Node::supervised();
    let script = "tty; read line; echo got $line; stty size; read line; exit 4";
    let mut spec = node.script("web", script);
    spec.uid = 1000;
    run(&mut node, &spec, OwnStreams { stdin: true, stdin_once: false, terminal: true });
    // Who comes late has missed something, which is in the log.
    node.wait_log("web", |text| text.contains("/dev/pts/0"));
    let mut session = attach(&node, true).unwrap();
    let [mut terminal, mut shown] = files(&mut session);
    resize(&terminal, TerminalSize { columns: 132, rows: 50 }).unwrap();
    terminal.write_all(b"hello\n").unwrap();
    read_until(&mut shown, "got hello\r\n50 132\r\n");
    terminal.write_all(b"\n").unwrap();
    session.wait_end(PATIENCE).unwrap();
    assert_eq!(node.wait_exit("web").code, 4);
    node.client.delete("web", true).unwrap();
    wait_until("nothing is left", || node.left_overs().is_empty());
}

#[test]
fn who_is_attached_and_does_not_read_holds_a_container_up_but_loses_nothing() {
    let mut node = Node::runtime();
    let spec =
        node.script("web", "read go; dd if=/dev/zero bs=1024 count=600 2>/dev/null; echo end");
    run(&mut node, &spec, OwnStreams { stdin: true, stdin_once: true, terminal: false });
    let mut session = attach(&node, true).unwrap();
    let [mut stdin, mut stdout, _stderr] = files(&mut session);
    stdin.write_all(b"go\n").unwrap();
    let (mut len, mut chunk) = (0, vec![0; 64 * 1024]);
    loop {
        match stdout.read(&mut chunk).unwrap() {
            0 => break,
            read => len += read,
        }
        std::thread::yield_now();
    }
    assert_eq!(len, 600 * 1024 + 4);
    session.wait_end(PATIENCE).unwrap();
    node.client.delete("web", true).unwrap();
}

#[test]
fn limits_change_while_a_container_runs() {
    let mut node = Node::runtime();
    let files = "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us \
                 /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null";
    let mut spec = node.script("web", "exec sleep 1000");
    spec.resources.memory_limit_bytes = Some(64 << 20);
    spec.resources.cpu_limit_milli = Some(500);
    node.run("web", &spec);
    let shown = |node: &mut Node| {
        let script = format!("{files}; true");
        let mut exec = crate::containers::exec("web", &["sh", "-c", &script]);
        exec.output_len_max = 4096;
        String::from_utf8(node.client.exec(exec).unwrap().stdout).unwrap()
    };
    let before = shown(&mut node);
    assert!(before.starts_with("50000") && before.contains("67108864"), "{before}");
    for (memory_bytes, cpu_quota_us, expected) in
        [(96 << 20, 20_000, "100663296"), (32 << 20, 70_000, "33554432")]
    {
        let limits = Limits {
            cpu_shares: 512,
            cpu_quota_us: Some(cpu_quota_us),
            memory_bytes: Some(memory_bytes),
        };
        node.client.update("web", limits).unwrap();
        let after = shown(&mut node);
        assert!(after.starts_with(&cpu_quota_us.to_string()), "{after}");
        assert!(after.contains(expected), "{after}");
    }
    let little = Limits { cpu_shares: 2, cpu_quota_us: None, memory_bytes: Some(1) };
    let refused = failure(node.client.update("web", little));
    assert!(refused.message.contains("below current usage"), "{}", refused.message);
    node.client.delete("web", true).unwrap();
}
