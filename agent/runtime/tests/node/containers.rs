//! Real containers through a real runtime process. Needs root.

use std::fs;
use std::time::Duration;

use bramble_runtime::client::CallError;
use bramble_runtime::protocol::{ContainerState, Event, ExecContainer, Failure, FailureReason};

use crate::harness::{self, Node, kill, wait_until};

pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, CallError>) -> Failure {
    let Err(CallError::Failed(failure)) = result else { panic!("{result:?}") };
    failure
}

pub(crate) fn exec(id: &str, args: &[&str]) -> ExecContainer {
    ExecContainer {
        id: id.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: vec![("EXTRA".to_owned(), "more".to_owned())],
        cwd: None,
        timeout_ms: 10_000,
        output_len_max: 100,
    }
}

#[test]
fn a_container_runs_ends_and_leaves_nothing() {
    let mut node = Node::start("supervise");
    node.client.subscribe().unwrap();
    let spec = node.script("web", "echo hello; echo oops >&2; exit 7");
    let pid = node.run("web", &spec);
    assert!(matches!(
        node.client.next_event(Duration::from_secs(5)).unwrap(),
        Some(Event::Started { id, pid: started, .. }) if id == "web" && started == pid
    ));
    let (id, exit) = node.next_exit_event();
    assert_eq!((id.as_str(), exit.code, exit.signal, exit.known), ("web", 7, None, true));
    assert_eq!(exit.reason(), "Error");
    node.client.delete("web", false).unwrap();
    node.wait_log("web", |text| text.contains("hello\n") && text.contains("oops\n"));
    wait_until("nothing is left", || node.left_overs().is_empty());
    // Clean-up may be repeated.
    node.client.delete("web", false).unwrap();
}

#[test]
fn signals_end_containers_and_running_ones_are_deleted_only_by_force() {
    let mut node = Node::runtime();
    let spec = node.spec("a", &["sleep", "1000"]);
    node.run("a", &spec);
    assert_eq!(failure(node.client.delete("a", false)).reason, FailureReason::WrongState);
    assert_eq!(failure(node.client.start("a")).reason, FailureReason::WrongState);
    node.client.kill("a", 9, false).unwrap();
    let exit = node.wait_exit("a");
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let spec = node.script("b", "trap 'exit 3' TERM; while true; do sleep 0.05; done");
    node.run("b", &spec);
    std::thread::sleep(Duration::from_millis(200));
    node.client.kill("b", 15, false).unwrap();
    assert_eq!(node.wait_exit("b").code, 3);
    let spec = node.script("c", "sleep 1000 & sleep 1000 & wait");
    let pid = node.run("c", &spec);
    node.client.delete("c", true).unwrap();
    assert!(!bramble_runtime::process::runs(
        pid,
        bramble_runtime::process::start_ticks(pid).unwrap_or(0)
    ));
    assert_eq!(failure(node.client.kill("c", 9, false)).reason, FailureReason::NotFound);
    assert_eq!(failure(node.client.kill("a", 999, false)).reason, FailureReason::Invalid);
}

#[test]
fn programs_that_cannot_run_say_so_in_words_that_users_know() {
    let mut node = Node::runtime();
    let mut check = |args: &[&str], reason, message: &str| {
        let request = node.create_request("x", &node.spec("x", args));
        let found = failure(node.client.create(request));
        assert_eq!((found.reason, found.message.as_str()), (reason, message));
        assert_eq!(node.left_overs(), Vec::<String>::new());
    };
    check(
        &["nope"],
        FailureReason::CommandNotFound,
        "exec: \"nope\": executable file not found in $PATH",
    );
    check(
        &["/bin/nope"],
        FailureReason::CommandNotFound,
        "exec: \"/bin/nope\": stat /bin/nope: no such file or directory",
    );
    check(
        &["/bin/data"],
        FailureReason::CommandNotExecutable,
        "exec: \"/bin/data\": permission denied",
    );
}

#[test]
fn specs_and_ids_that_make_no_sense_are_refused() {
    let mut node = Node::runtime();
    let good = node.create_request("x", &node.spec("x", &["true"]));
    let mut bad = good.clone();
    bad.id = "../x".to_owned();
    assert_eq!(failure(node.client.create(bad)).reason, FailureReason::Invalid);
    let mut bad = good.clone();
    bad.spec_json = b"{}".to_vec();
    assert_eq!(failure(node.client.create(bad)).reason, FailureReason::Invalid);
    node.client.create(good.clone()).unwrap();
    assert_eq!(failure(node.client.create(good)).reason, FailureReason::AlreadyExists);
    // Created, never started.
    node.client.delete("x", false).unwrap();
    let mut spec = node.spec("y", &["true"]);
    spec.rootfs = "/nonexistent/rootfs".to_owned();
    let request = node.create_request("y", &spec);
    let found = failure(node.client.create(request));
    assert_eq!(found.reason, FailureReason::Internal);
    assert_eq!(node.left_overs(), Vec::<String>::new());
}

#[test]
fn a_container_over_its_memory_limit_is_oom_killed() {
    let mut node = Node::runtime();
    let mut spec = node.script("hog", "x=a; while true; do x=$x$x; done");
    spec.resources.memory_limit_bytes = Some(16 * 1024 * 1024);
    node.run("hog", &spec);
    let exit = node.wait_exit("hog");
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!((exit.code, exit.reason()), (137, "OOMKilled"));
    node.client.delete("hog", false).unwrap();
}

#[test]
fn the_inside_is_closed_down() {
    let mut node = Node::start("supervise");
    let mut spec = node.script(
        "in",
        "id -u; id -G; echo $$; cat /proc/1/oom_score_adj; \
         grep -E 'Seccomp:|NoNewPrivs|SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd; \
         echo x > /proc/sys/kernel/hostname; echo y > /sys/x; echo z > /root-file; \
         hostname; ls /dev; exit 0",
    );
    spec.uid = 1000;
    spec.gid = 1000;
    spec.additional_gids = vec![2000];
    spec.oom_score_adj = 500;
    spec.readonly_root = true;
    spec.hostname = Some("inside".to_owned());
    node.run("in", &spec);
    assert_eq!(node.wait_exit("in").code, 0);
    node.client.delete("in", false).unwrap();
    let log = node.wait_log("in", |text| text.contains("urandom"));
    for wanted in [
        "1000\n1000 2000\n1\n500\n",
        "NoNewPrivs:\t1\n",
        "Seccomp:\t2\n",
        "SigBlk:\t0000000000000000\n",
        "inside\n",
        "can't create /proc/sys/kernel/hostname: Read-only file system",
        "can't create /sys/x: Read-only file system",
        "can't create /root-file: Read-only file system",
    ] {
        assert!(log.contains(wanted), "`{wanted}` is not in:\n{log}");
    }
    // Rust's start-up code ignores SIGPIPE (bit 12), a container's program does not expect that.
    let ignored = log.split_once("SigIgn:\t").unwrap().1.lines().next().unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & (1 << 12), 0);
    // Standard streams and the listing's own directory, nothing inherited.
    assert!(log.contains("\n0\n1\n2\n3\n") && !log.contains("\n3\n4\n"), "{log}");
}

#[test]
fn exec_returns_code_and_output_and_leaves_no_socket() {
    let mut node = Node::runtime();
    let spec = node.spec("web", &["sleep", "1000"]);
    node.run("web", &spec);
    let done =
        node.client.exec(exec("web", &["sh", "-c", "echo $EXTRA; echo e >&2; exit 5"])).unwrap();
    assert_eq!((done.exit_code, done.timed_out), (5, false));
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b"more\n"[..], &b"e\n"[..]));
    let done = node.client.exec(exec("web", &["seq", "1000"])).unwrap();
    assert_eq!(done.stdout.len(), 100);
    let mut slow = exec("web", &["sleep", "1000"]);
    slow.timeout_ms = 200;
    let done = node.client.exec(slow).unwrap();
    assert_eq!((done.exit_code, done.timed_out), (137, true));
    let found = failure(node.client.exec(exec("web", &["nope"])));
    assert_eq!(found.message, "exec: \"nope\": executable file not found in $PATH");
    let sockets = fs::read_dir(node.run_dir().libcontainer().join("web"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("tenant"))
        .count();
    assert_eq!(sockets, 0);
    assert!(matches!(node.client.list().unwrap()[0].state, ContainerState::Running { .. }));
    node.client.delete("web", true).unwrap();
    assert_eq!(failure(node.client.exec(exec("web", &["true"]))).reason, FailureReason::NotFound);
}

#[test]
fn a_killed_runtime_process_costs_no_container_and_no_line() {
    let mut node = Node::supervised();
    let spec = node.script(
        "web",
        "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo $i; sleep 0.001; done; exit 9",
    );
    let pid = node.run("web", &spec);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        let runtime = harness::child_named(node.process_pid(), "bramble-runtime").unwrap();
        kill(runtime, 9);
        node.reconnect();
        let state = node.client.list().unwrap()[0].state.clone();
        assert_eq!(state, ContainerState::Running { pid });
    }
    let exit = node.wait_exit("web");
    assert_eq!((exit.code, exit.known), (9, true));
    node.client.delete("web", false).unwrap();
    let log = node.wait_log("web", |text| text.ends_with("\n2000\n"));
    let numbers: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=2000).collect::<Vec<u32>>());
    wait_until("nothing is left", || node.left_overs().is_empty());
}

#[test]
fn a_container_that_ends_while_no_runtime_process_runs_still_has_its_exit_code() {
    let mut node = Node::supervised();
    let spec = node.script("web", "sleep 0.5; exit 4");
    node.run("web", &spec);
    let supervisor = node.process_pid();
    // Every runtime process is killed as soon as it shows up, for as long as the container runs.
    let until = bramble_runtime::clock::monotonic_ms() + 900;
    while bramble_runtime::clock::monotonic_ms() < until {
        if let Some(runtime) = harness::child_named(supervisor, "bramble-runtime") {
            let _gone = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(runtime),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    node.reconnect();
    let exit = node.wait_exit("web");
    assert_eq!((exit.code, exit.known), (4, true));
}

#[test]
fn a_killed_log_writer_repeats_no_line_and_loses_none() {
    let mut node = Node::supervised();
    let spec =
        node.script("web", "i=0; while [ $i -lt 1500 ]; do i=$((i+1)); echo $i; sleep 0.001; done");
    node.run("web", &spec);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(250));
        if let Some(writer) = harness::child_named(node.process_pid(), "bramble-logs") {
            kill(writer, 9);
        }
    }
    node.wait_exit("web");
    node.client.delete("web", false).unwrap();
    let log = node.wait_log("web", |text| text.ends_with("\n1500\n"));
    let numbers: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=1500).collect::<Vec<u32>>());
}

#[test]
fn a_killed_supervisor_costs_no_container() {
    let mut node = Node::supervised();
    let spec = node.spec("web", &["sleep", "1000"]);
    let pid = node.run("web", &spec);
    node.replace_first_process("supervise");
    let list = node.client.list().unwrap();
    assert_eq!(list[0].state, ContainerState::Running { pid });
    node.client.kill("web", 9, false).unwrap();
    let exit = node.wait_exit("web");
    // Whose child it is by now does not tell how it ended.
    assert_eq!((exit.code, exit.known, exit.reason()), (255, false, "ContainerStatusUnknown"));
    node.client.delete("web", false).unwrap();
}

#[test]
fn stopping_keeps_containers_unless_they_are_to_be_stopped() {
    let mut node = Node::supervised();
    let spec = node.spec("web", &["sleep", "1000"]);
    let pid = node.run("web", &spec);
    let ticks = bramble_runtime::process::start_ticks(pid).unwrap();
    node.terminate();
    assert!(bramble_runtime::process::runs(pid, ticks));
    drop(node);
    let mut node = Node::start("supervise-stop");
    let spec = node.spec("web", &["sleep", "1000"]);
    let pid = node.run("web", &spec);
    let ticks = bramble_runtime::process::start_ticks(pid).unwrap();
    node.terminate();
    assert!(!bramble_runtime::process::runs(pid, ticks));
}

#[test]
fn a_flood_of_output_is_held_up_but_not_lost() {
    let mut node = Node::supervised();
    let spec = node.script("web", "seq 1 200000");
    node.run("web", &spec);
    node.wait_exit("web");
    node.client.delete("web", false).unwrap();
    let log = node.wait_log("web", |text| text.ends_with("\n200000\n"));
    assert_eq!(log.lines().count(), 200_000);
}

#[test]
fn output_that_nobody_takes_does_not_block_a_container() {
    // No log writer here.
    let mut node = Node::runtime();
    let spec = node.script("web", "seq 1 200000");
    node.run("web", &spec);
    assert_eq!(node.wait_exit("web").code, 0);
    assert!(node.client.list().unwrap()[0].output_bytes_lost > 0);
}

#[test]
fn many_containers_are_created_side_by_side() {
    use bramble_runtime::client::RuntimeClient;
    let mut node = Node::runtime();
    let requests: Vec<_> = (0..12)
        .map(|number| {
            let id = format!("c{number}");
            node.create_request(&id, &node.script(&id, &format!("exit {number}")))
        })
        .collect();
    let socket = node.run_dir().runtime_socket();
    let threads: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let mut client = RuntimeClient::connect(&socket).unwrap();
            std::thread::spawn(move || {
                let id = request.id.clone();
                client.create(request).unwrap();
                client.start(&id).unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for number in 0..12 {
        let id = format!("c{number}");
        assert_eq!(node.wait_exit(&id).code, number);
        node.client.delete(&id, false).unwrap();
    }
}
