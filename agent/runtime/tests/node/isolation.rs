//! What a container sees and can do of the node's cgroups, devices and calls. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::path::Path;

use bramble_runtime::device_rules::{DeviceAccess, DeviceKind, DeviceRule};
use bramble_runtime::protocol::FailureReason;
use bramble_runtime::spec::{ContainerSpec, Mount, MountSource, Namespace, Propagation};

use crate::containers::{exec, failure};
use crate::harness::Node;

/// Runs a script to its end and returns what it wrote.
fn run(node: &mut Node, id: &str, spec: &ContainerSpec) -> String {
    node.run(id, spec);
    node.wait_exit(id);
    node.client.delete(id, false).unwrap();
    node.wait_log(id, |text| text.ends_with("the end\n"))
}

fn script(node: &Node, id: &str, script: &str) -> ContainerSpec {
    node.script(id, &format!("exec 2>&1; {script}\necho the end"))
}

fn bind(target: &str, path: &str, device_nodes: bool) -> Mount {
    Mount {
        target: target.to_owned(),
        source: MountSource::Bind { path: path.to_owned() },
        readonly: false,
        device_nodes,
        propagation: Propagation::None,
    }
}

/// Numbers of a block device that this machine lets root read.
fn block_device() -> Option<(u32, u32)> {
    let folder = tempfile::tempdir().unwrap();
    fs::read_dir("/sys/block").ok()?.flatten().find_map(|entry| {
        let numbers = fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        let node = folder.path().join(entry.file_name());
        let device = nix::sys::stat::makedev(major.into(), minor.into());
        let (kind, mode) = (nix::sys::stat::SFlag::S_IFBLK, nix::sys::stat::Mode::S_IRUSR);
        nix::sys::stat::mknod(&node, kind, mode, device).ok()?;
        fs::File::open(&node).is_ok().then_some((major, minor))
    })
}

/// Tries everything on the cgroups that a container is shown, and says what it sees.
const TRY_CGROUPS: &str = "
    cat /proc/self/cgroup
    for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
      [ -e $f ] || continue
      echo limit $(cat $f); (echo 1073741824 > $f) && echo WRITTEN $f; echo limit $(cat $f)
    done
    for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do
      mkdir $d/zz && echo MADE $d
      (echo 0 > $d/cgroup.procs) && echo JOINED $d
    done
    mount -o remount,rw /sys/fs/cgroup && echo REMOUNTED
    ls -d /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup/bramble*
    for d in /sys/fs/cgroup/*/; do ls $d | grep bramble; done";

fn check_cgroups(node: &mut Node, id: &str, change: impl FnOnce(&mut ContainerSpec)) {
    let mut spec = script(node, id, TRY_CGROUPS);
    spec.resources.memory_limit_bytes = Some(64 << 20);
    change(&mut spec);
    let said = run(node, id, &spec);
    assert_eq!(said.matches("limit 67108864").count(), 2, "{said}");
    for word in ["WRITTEN", "MADE", "JOINED", "REMOUNTED"] {
        assert!(!said.contains(word), "{word}:\n{said}");
    }
    let shown = said.lines().filter(|line| !line.starts_with("ls: ")).collect::<Vec<_>>();
    assert!(shown.iter().all(|line| !line.contains("bramble")), "{said}");
    assert!(!shown.iter().any(|line| line.starts_with("/sys/fs/cgroup/")), "{said}");
}

#[test]
fn a_container_sees_its_own_cgroups_and_cannot_change_them() {
    let mut node = Node::start("supervise");
    check_cgroups(&mut node, "own", |_| {});
    check_cgroups(&mut node, "host", |spec| spec.network = Namespace::Host);
    // Not even one that may mount can write where it is shown the node's file systems.
    let spec = script(&node, "sys", "touch /sys/fs/cgroup/x /sys/x; ls /sys/kernel/debug");
    let said = run(&mut node, "sys", &spec);
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
}

#[test]
fn the_same_holds_on_cgroup_v1_alone() {
    let Some(mut node) = Node::legacy() else {
        println!("skipped: this machine has cgroup v2 alone");
        return;
    };
    let mut spec = node.script("own", TRY_CGROUPS);
    spec.resources.memory_limit_bytes = Some(64 << 20);
    let said = output_of(&mut node, "own", &spec);
    assert_eq!(said.matches("limit 67108864").count(), 2, "{said}");
    for word in ["WRITTEN", "MADE", "JOINED", "REMOUNTED"] {
        assert!(!said.contains(word), "{word}:\n{said}");
    }
}

/// What is left of containers; their output stays, since nobody writes logs here.
fn left_overs(node: &Node) -> Vec<String> {
    node.left_overs().into_iter().filter(|one| !one.starts_with("output ")).collect()
}

/// What a script writes, by a file in a volume: without a supervisor nobody writes logs.
fn output_of(node: &mut Node, id: &str, spec: &ContainerSpec) -> String {
    output_of_changed(node, id, spec, |_| {})
}

/// The same with a change to the finished runtime spec.
fn output_of_changed(
    node: &mut Node,
    id: &str,
    spec: &ContainerSpec,
    change: impl FnOnce(&mut serde_json::Value),
) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec.clone();
    let script = spec.args.pop().unwrap();
    spec.args.push(format!("exec > /out/text 2>&1; {script}"));
    spec.mounts.push(bind("/out", folder.path().to_str().unwrap(), false));
    let mut request = node.create_request(id, &spec);
    let mut json = serde_json::from_slice(&request.spec_json).unwrap();
    change(&mut json);
    request.spec_json = serde_json::to_vec(&json).unwrap();
    node.client.create(request).unwrap();
    node.client.start(id).unwrap();
    node.wait_exit(id);
    node.client.delete(id, false).unwrap();
    fs::read_to_string(folder.path().join("text")).unwrap()
}

#[test]
fn the_same_holds_on_cgroup_v2_alone() {
    let mut node = Node::unified();
    let without_limits = |spec: &mut serde_json::Value| {
        let devices = spec["linux"]["resources"]["devices"].clone();
        spec["linux"]["resources"] = serde_json::json!({ "devices": devices });
    };
    let spec = node.script("own", &format!("{TRY_CGROUPS}; ls /sys/fs/cgroup"));
    let said = output_of_changed(&mut node, "own", &spec, without_limits);
    for word in ["WRITTEN", "MADE", "JOINED", "REMOUNTED"] {
        assert!(!said.contains(word), "{word}:\n{said}");
    }
    let node_shown = said.lines().any(|line| line.starts_with("bramble"));
    assert!(!node_shown, "{said}");
    assert!(said.contains("0::/\n") && said.contains("\ncgroup.procs\n"), "{said}");

    let Some((major, minor)) = block_device() else { return };
    let open = try_disk(major, minor);
    let plain = node.script("plain", &open);
    let said = output_of_changed(&mut node, "plain", &plain, without_limits);
    assert!(said.contains("made\n") && said.contains("zero\n"), "{said}");
    assert!(!said.contains("READ") && !said.contains("WRITTEN"), "{said}");
    assert_eq!(said.matches("Operation not permitted").count(), 2, "{said}");
    let mut passed = node.script("passed", &open);
    passed.devices = vec![DeviceRule::allow(DeviceKind::Block, major, minor, DeviceAccess::READ)];
    let said = output_of_changed(&mut node, "passed", &passed, without_limits);
    assert!(said.contains("READ\n") && !said.contains("WRITTEN"), "{said}");
    // What an exec starts is in the same cgroup.
    let spec = node.spec("exec", &["sleep", "1000"]);
    let mut request = node.create_request("exec", &spec);
    let mut json = serde_json::from_slice(&request.spec_json).unwrap();
    without_limits(&mut json);
    request.spec_json = serde_json::to_vec(&json).unwrap();
    node.client.create(request).unwrap();
    node.client.start("exec").unwrap();
    let done = node.client.exec(exec("exec", &["sh", "-c", &open])).unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("made\n") && !said.contains("READ"), "{said}");
    node.client.delete("exec", true).unwrap();
    assert_eq!(left_overs(&node), Vec::<String>::new());
}

/// Makes a disk's node and tries to read and write it.
fn try_disk(major: u32, minor: u32) -> String {
    format!(
        "mknod /tmp/d b {major} {minor} && echo made; head -c 512 /tmp/d > /tmp/read && echo READ; \
         (: >> /tmp/d) && echo WRITTEN; rm -f /tmp/d; head -c 1 /dev/zero > /tmp/z && echo zero"
    )
}

#[test]
fn a_disk_can_be_opened_only_if_it_was_passed_on_purpose() {
    let Some((major, minor)) = block_device() else {
        println!("skipped: this machine has no block device");
        return;
    };
    let mut node = Node::runtime();
    let open = try_disk(major, minor);
    let plain = node.script("plain", &open);
    let said = output_of(&mut node, "plain", &plain);
    assert!(said.contains("made\n") && said.contains("zero\n"), "{said}");
    assert!(!said.contains("READ") && !said.contains("WRITTEN"), "{said}");
    assert_eq!(said.matches("Operation not permitted").count(), 2, "{said}");

    let mut passed = node.script("passed", &open);
    passed.devices = vec![DeviceRule::allow(DeviceKind::Block, major, minor, DeviceAccess::READ)];
    let said = output_of(&mut node, "passed", &passed);
    assert!(said.contains("READ\n") && !said.contains("WRITTEN"), "{said}");

    // Where device nodes mean nothing, even harmless ones do not open.
    let folder = tempfile::tempdir().unwrap();
    let mut spec =
        node.script("nodev", "mknod /v/null c 1 3 && echo made; cat /v/null && echo READ");
    spec.mounts = vec![bind("/v", folder.path().to_str().unwrap(), false)];
    let said = output_of(&mut node, "nodev", &spec);
    assert!(said.contains("made\n") && said.contains("Permission denied"), "{said}");
}

#[test]
fn the_nodes_dev_at_dev_stays_as_it_was() {
    let mut node = Node::runtime();
    let list = || {
        let mut names: Vec<_> =
            fs::read_dir("/dev").unwrap().flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = list();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts_before = mounts();
    let mut spec = node.script(
        "dev",
        "ls /dev; echo x > /dev/null && echo null; echo; cat /proc/mounts; echo y > /dev/shm/y; \
         [ -e /dev/termination-log ] && echo LOG",
    );
    let message = tempfile::NamedTempFile::new().unwrap();
    spec.mounts = vec![
        bind("/dev", "/dev", true),
        bind("/dev/termination-log", message.path().to_str().unwrap(), false),
    ];
    let said = output_of(&mut node, "dev", &spec);
    for name in &before {
        assert!(said.contains(&*name.to_string_lossy()), "{name:?} is not in {said}");
    }
    assert!(said.contains("null\n"), "{said}");
    // Terminals and shared memory are the container's own.
    let own = |place: &str| said.matches(&format!(" {place} ")).count() >= 1;
    assert!(own("/dev/pts") || !Path::new("/dev/pts").exists(), "{said}");
    assert!(!Path::new("/dev/shm/y").exists());
    assert_eq!(list(), before);
    assert_eq!(mounts(), mounts_before);
    // One more mount that has no place there is refused in words.
    let mut spec = node.spec("no", &["true"]);
    spec.mounts = vec![bind("/dev", "/dev", true), bind("/dev/bramble-none", "/tmp", false)];
    let refused = failure(node.client.create(node.create_request("no", &spec)));
    assert!(refused.message.contains("`/dev/bramble-none`"), "{refused:?}");
    assert_eq!(list(), before);
    assert_eq!(left_overs(&node), Vec::<String>::new());
    // A node of its own in place of one that every container has.
    let mut spec = node.script("zero", "head -c 3 /dev/null | grep -c .");
    spec.mounts = vec![bind("/dev/null", "/dev/zero", true)];
    assert_eq!(output_of(&mut node, "zero", &spec), "1\n");
}

#[test]
fn a_working_directory_that_the_image_lacks_is_made() {
    let mut node = Node::runtime();
    let volume = tempfile::tempdir().unwrap();
    for (id, cwd, readonly) in [
        ("image", "/home/app/none", false),
        ("ro", "/srv/ro", true),
        ("volume", "/vol/here", false),
    ] {
        let mut spec = node.script(id, "pwd; stat -c '%a %u' .");
        spec.cwd = cwd.to_owned();
        spec.readonly_root = readonly;
        spec.mounts = vec![bind("/vol", volume.path().to_str().unwrap(), false)];
        assert_eq!(output_of(&mut node, id, &spec), format!("{cwd}\n755 0\n"));
    }
    let mut spec = node.spec("file", &["true"]);
    spec.cwd = "/bin/data".to_owned();
    let refused = failure(node.client.create(node.create_request("file", &spec)));
    assert!(refused.message.contains("`/bin/data`: Not a directory"), "{refused:?}");
    assert_eq!(left_overs(&node), Vec::<String>::new());
}

#[test]
fn real_time_signals_arrive_and_end_containers() {
    let mut node = Node::supervised();
    for signal in [34, 37, 62] {
        let id = format!("rt{signal}");
        let spec = node.spec(&id, &["sleep", "1000"]);
        node.run(&id, &spec);
        // PID 1 ignores what it has no handler for, so one beside it is hit.
        let spec =
            node.script(&format!("sub{signal}"), &format!("sh -c 'kill -{signal} $$'; exit $?"));
        let sub = format!("sub{signal}");
        node.run(&sub, &spec);
        assert_eq!(node.wait_exit(&sub).code, 128 + signal);
        let spec = node.script(
            &format!("trap{signal}"),
            &format!("trap 'exit 5' {signal}; while true; do sleep 0.05; done"),
        );
        let trap = format!("trap{signal}");
        node.run(&trap, &spec);
        std::thread::sleep(std::time::Duration::from_millis(200));
        node.client.kill(&trap, signal, false).unwrap();
        assert_eq!(node.wait_exit(&trap).code, 5);
        // With the node's pids the first process of a container is an ordinary one.
        let mut spec = node.spec(&format!("host{signal}"), &["sleep", "1000"]);
        spec.pid = Namespace::Host;
        let host = format!("host{signal}");
        node.run(&host, &spec);
        node.client.kill(&host, signal, false).unwrap();
        let exit = node.wait_exit(&host);
        assert_eq!((exit.code, exit.signal), (128 + signal, Some(signal)));
    }
    assert_eq!(failure(node.client.kill("rt34", 65, false)).reason, FailureReason::Invalid);
    assert_eq!(failure(node.client.kill("rt34", 0, false)).reason, FailureReason::Invalid);
}

#[test]
fn a_container_that_was_frozen_with_its_pod_can_be_killed_and_deleted() {
    let mut node = Node::runtime();
    let v1 = Path::new("/sys/fs/cgroup/freezer").is_dir();
    let (mount, file, stop) = match v1 {
        true => ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),
        false => ("/sys/fs/cgroup", "cgroup.freeze", "1"),
    };
    for id in ["kill", "delete"] {
        let own = format!("{}/{id}", node.cgroup);
        // One child in a part of its own, and then all.
        let script = format!(
            "mkdir /cg{own}/sub; sh -c 'echo $$ > /cg{own}/sub/cgroup.procs; exec sleep 1000' & \
             sleep 0.2; for c in {own}/sub {own}; do echo {stop} > /cg$c/{file}; done; exit 9"
        );
        let mut spec = node.script(id, &script);
        spec.mounts = vec![bind("/cg", mount, false)];
        node.run(id, &spec);
        let state = format!("{mount}{own}/{file}");
        crate::harness::wait_until("it is frozen", || {
            fs::read_to_string(&state).is_ok_and(|text| text.trim() == stop)
        });
        // From outside, what holds it, too.
        fs::write(format!("{mount}{}/{file}", node.cgroup), stop).unwrap();
        if id == "kill" {
            node.client.kill(id, 9, true).unwrap();
            assert_eq!(node.wait_exit(id).code, 137);
        }
        node.client.delete(id, true).unwrap();
    }
    assert_eq!(left_overs(&node), Vec::<String>::new());
}

#[test]
fn calls_are_refused_or_unknown_as_libraries_expect() {
    let mut node = Node::runtime();
    if !Path::new("/usr/bin/perl").exists() || !cfg!(target_arch = "x86_64") {
        println!("skipped: no perl here that could make any call");
        return;
    }
    let call = "for n in 4000 435 165 250 425 304; do \
                perl -e '$!=0; my $r = syscall(shift @ARGV, 0, 0, 0, 0, 0); print $!+0, \" \"' $n; \
                done; perl -e 'syscall(56, 0x10000000, 0, 0, 0, 0); print $!+0, \" \"'; \
                perl -e 'syscall(41, 40, 1, 0); print $!+0, \" \"'; \
                perl -e 'print syscall(41, 1, 1, 0) > 0 ? \"socket\" : $!+0'";
    let mut spec = node.script("calls", call);
    spec.env = vec![("PATH".into(), "/bin:/usr/bin".into())];
    for folder in ["/usr", "/lib", "/lib64"] {
        spec.mounts.push(bind(folder, folder, false));
    }
    // Unknown, clone3: ENOSYS. mount, keyctl, io_uring_setup, and later ones: EPERM.
    assert_eq!(output_of(&mut node, "calls", &spec), "38 38 1 1 1 1 1 1 socket");
}
