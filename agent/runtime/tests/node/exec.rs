//! Programs that are run in a container beside its own: what they are and may do, and what is left
//! of them. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use bramble_runtime::client::CallError;
use bramble_runtime::protocol::{ExecStreams, FailureReason, OpenExec};
use bramble_runtime::session::{self, Session};
use bramble_runtime::spec::{ContainerSpec, Rlimit};
use bramble_runtime::terminal::{TerminalSize, resize};

use crate::containers::{exec, failure};
use crate::harness::{Node, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
const ALL: ExecStreams = ExecStreams::Pipes { stdin: true, stdout: true, stderr: true };

fn open(node: &Node, streams: ExecStreams, args: &[&str]) -> Result<Session, CallError> {
    let exec = exec("web", args);
    session::open(&node.run_dir().runtime_socket(), OpenExec { exec, streams }, PATIENCE)
}

fn files<const N: usize>(session: &mut Session) -> [File; N] {
    let descriptors = std::mem::take(&mut session.descriptors);
    let files: Vec<File> = descriptors.into_iter().map(|fd: OwnedFd| File::from(fd)).collect();
    files.try_into().unwrap()
}

fn read(file: &mut File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Processes of the container, its init among them.
fn processes(node: &Node) -> usize {
    let cgroups = bramble_runtime::cgroup::Cgroups::detect().unwrap();
    cgroups.processes(&format!("{}/web", node.cgroup)).len()
}

/// What a process is allowed and limited to, in a form that can be compared.
const SELF: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNew|Seccomp:|Sig(Blk|Ign))' /proc/self/status; \
    cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj; pwd; \
    for n in mnt pid net ipc uts cgroup user; do stat -L -c '%i' /proc/self/ns/$n; done; \
    ls /proc/self/fd | head -4";

fn check_same(node: &mut Node, id: &str, change: impl FnOnce(&mut ContainerSpec)) {
    let mut spec = node.script(id, &format!("{{ {SELF}; }} 2>&1; echo the end; exec sleep 1000"));
    change(&mut spec);
    node.run(id, &spec);
    let own = node.wait_log(id, |text| text.contains("the end"));
    let own: Vec<&str> = own.lines().filter(|line| *line != "the end").collect();
    let mut request = exec(id, &["sh", "-c", &format!("{{ {SELF}; }} 2>&1")]);
    request.output_len_max = 64 * 1024;
    let done = node.client.exec(request).unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, own, "what an exec is differs from what the container's own process is");
    node.client.delete(id, true).unwrap();
}

#[test]
fn what_is_run_in_a_container_is_what_its_own_process_is() {
    let mut node = Node::supervised();
    check_same(&mut node, "plain", |_| {});
    check_same(&mut node, "other-user", |spec| {
        (spec.uid, spec.gid, spec.additional_gids) = (1000, 1001, vec![1002, 1003]);
        spec.cwd = "/tmp".to_owned();
        spec.oom_score_adj = 500;
        spec.capabilities_drop = vec!["ALL".to_owned()];
        let name = "RLIMIT_NOFILE".to_owned();
        spec.rlimits = vec![Rlimit { name, soft: 100, hard: 200 }];
    });
    check_same(&mut node, "may-gain", |spec| spec.no_new_privileges = false);
}

#[test]
fn streams_are_handed_over_and_nothing_is_left() {
    let mut node = Node::runtime();
    let spec = node.spec("web", &["sleep", "1000"]);
    node.run("web", &spec);
    let mut session = open(&node, ALL, &["sh", "-c", "cat; echo done >&2; exit 7"]).unwrap();
    let [mut stdin, mut stdout, mut stderr] = files(&mut session);
    // Far more than pipes hold, with nobody between the two ends.
    let data = "0123456789abcdef".repeat(256 * 1024);
    let writer = std::thread::spawn({
        let data = data.clone();
        move || stdin.write_all(data.as_bytes()).unwrap()
    });
    assert!(read(&mut stdout) == data);
    writer.join().unwrap();
    assert_eq!(read(&mut stderr), "done\n");
    let end = session.wait_end(PATIENCE).unwrap();
    assert_eq!((end.exit_code, end.timed_out), (7, false));
    // Only what is asked for comes; the rest is the container's null device.
    let some = ExecStreams::Pipes { stdin: false, stdout: true, stderr: false };
    let mut session = open(&node, some, &["sh", "-c", "cat; echo lost >&2; echo out"]).unwrap();
    let [mut stdout] = files(&mut session);
    assert_eq!(read(&mut stdout), "out\n");
    assert_eq!(session.wait_end(PATIENCE).unwrap().exit_code, 0);
    let refused = failure(open(&node, ALL, &["nope"]));
    assert_eq!(refused.reason, FailureReason::CommandNotFound);
    assert_eq!(refused.message, "exec: \"nope\": executable file not found in $PATH");
    let refused = failure(open(&node, ALL, &["/bin/data"]));
    assert_eq!(refused.reason, FailureReason::CommandNotExecutable);
    wait_until("only the init is left", || processes(&node) == 1);
    node.client.delete("web", true).unwrap();
    assert_eq!(failure(open(&node, ALL, &["true"])).reason, FailureReason::NotFound);
}

#[test]
fn a_terminal_is_the_containers_own_and_can_be_resized() {
    let mut node = Node::runtime();
    let mut spec = node.spec("web", &["sleep", "1000"]);
    spec.uid = 1000;
    node.run("web", &spec);
    let size = ExecStreams::Terminal { columns: 100, rows: 40 };
    let script = "tty; stty size; echo $TERM; read line; echo got $line; stty size; exit 3";
    let mut session = open(&node, size, &["sh", "-c", script]).unwrap();
    let [mut terminal] = files(&mut session);
    let mut said = String::new();
    let mut read_until = |wanted: &str, terminal: &mut File| {
        let mut chunk = [0; 256];
        while !said.contains(wanted) {
            // The end of a terminal is an error.
            let Ok(len) = terminal.read(&mut chunk) else { break };
            said.push_str(std::str::from_utf8(&chunk[..len]).unwrap());
        }
        assert!(said.contains(wanted), "`{wanted}` is not in `{said}`");
    };
    read_until("/dev/pts/0\r\n40 100\r\nxterm\r\n", &mut terminal);
    resize(&terminal, TerminalSize { columns: 132, rows: 50 }).unwrap();
    terminal.write_all(b"hello\n").unwrap();
    read_until("got hello\r\n50 132\r\n", &mut terminal);
    assert_eq!(session.wait_end(PATIENCE).unwrap().exit_code, 3);
}

#[test]
fn what_nobody_waits_for_is_killed_with_its_children() {
    let mut node = Node::runtime();
    let spec = node.spec("web", &["sleep", "1000"]);
    node.run("web", &spec);
    for streams in [ALL, ExecStreams::Terminal { columns: 80, rows: 24 }] {
        let script = "sleep 1000 & sleep 1000";
        let session = open(&node, streams, &["sh", "-c", script]).unwrap();
        wait_until("its processes run", || processes(&node) >= 3);
        drop(session);
        wait_until("its processes are gone", || processes(&node) == 1);
    }
    let mut slow = exec("web", &["sh", "-c", "sleep 1000 & sleep 1000"]);
    slow.timeout_ms = 100;
    assert!(node.client.exec(slow).unwrap().timed_out);
    wait_until("its processes are gone", || processes(&node) == 1);
    // One that ends lets go on what it began.
    let done = node.client.exec(exec("web", &["sh", "-c", "sleep 1000 & exit 0"])).unwrap();
    assert_eq!((done.exit_code, processes(&node)), (0, 2));
}

#[test]
fn programs_in_one_container_are_bounded_and_the_node_goes_on() {
    let mut node = Node::runtime();
    let spec = node.spec("web", &["sleep", "1000"]);
    node.run("web", &spec);
    let mut sessions = Vec::new();
    let refused = loop {
        match open(&node, ALL, &["sleep", "1000"]) {
            Ok(session) => sessions.push(session),
            refused @ Err(_) => break failure(refused),
        }
    };
    assert_eq!((refused.reason, sessions.len()), (FailureReason::Busy, 48));
    assert_eq!(node.client.list().unwrap().len(), 1);
    drop(sessions);
    wait_until("only the init is left", || processes(&node) == 1);
    wait_until("there is room again", || open(&node, ALL, &["true"]).is_ok());
    // A container whose processes are used up says so, and keeps nothing of it.
    let left = fs_descriptors(&node);
    wait_until("descriptors are closed", || fs_descriptors(&node) <= left);
}

fn fs_descriptors(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.process_pid())).unwrap().count()
}
