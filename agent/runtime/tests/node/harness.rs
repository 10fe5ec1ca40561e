//! A node's processes in a directory and a cgroup of their own, for one test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bramble_runtime::cgroup::Cgroups;
use bramble_runtime::client::RuntimeClient;
use bramble_runtime::clock::monotonic_ms;
use bramble_runtime::logs::{self, LogFiles};
use bramble_runtime::protocol::{ContainerState, CreateContainer, Event, Exit, OwnStreams};
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::spec::{self, ContainerSpec, image_root};

/// The processes of one node.
pub(crate) struct Node {
    root: tempfile::TempDir,
    pub(crate) cgroup: String,
    process: Child,
    pub(crate) client: RuntimeClient,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Longest wait for anything in these tests, in milliseconds: the machine may be busy.
const PATIENCE_MS: u64 = 20_000;

impl Node {
    /// Starts a runtime process alone.
    pub(crate) fn runtime() -> Self {
        Self::start("runtime")
    }

    /// Starts a supervisor with all its children.
    pub(crate) fn supervised() -> Self {
        Self::start("supervise")
    }

    /// Starts a runtime process on a host of cgroup v1 alone, if this one has v1 at all.
    pub(crate) fn legacy() -> Option<Self> {
        let v1 = !Cgroups::detect().unwrap().unified();
        v1.then(|| Self::start("legacy"))
    }

    /// Starts a runtime process on a host of cgroup v2 alone. On a hybrid host that one has no
    /// controllers, so specs may ask for none.
    pub(crate) fn unified() -> Self {
        match Cgroups::detect().unwrap().unified() {
            true => Self::start("runtime"),
            false => Self::start("unified"),
        }
    }

    pub(crate) fn start(role: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = tempfile::tempdir().unwrap();
        let cgroup = format!("/bramble-test-{}-{number}", std::process::id());
        let rootfs = root.path().join("rootfs");
        make_rootfs(&rootfs);
        let process = spawn(role, root.path(), &cgroup);
        let client = connect(&RunDir::new(root.path().join("run")));
        Self { root, cgroup, process, client }
    }

    pub(crate) fn run_dir(&self) -> RunDir {
        RunDir::new(self.root.path().join("run"))
    }

    pub(crate) fn process_pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }

    /// Kills the first process (the supervisor, if there is one) and starts another.
    pub(crate) fn replace_first_process(&mut self, role: &str) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(role, self.root.path(), &self.cgroup);
        self.client = connect(&self.run_dir());
    }

    /// Connects again, to whoever listens now.
    pub(crate) fn reconnect(&mut self) {
        self.client = connect(&self.run_dir());
    }

    /// Asks the first process to end and waits for it.
    pub(crate) fn terminate(&mut self) {
        kill(self.process_pid(), 15);
        self.process.wait().unwrap();
    }

    /// A spec that runs a shell script.
    pub(crate) fn script(&self, id: &str, script: &str) -> ContainerSpec {
        self.spec(id, &["/bin/sh", "-c", script])
    }

    pub(crate) fn spec(&self, id: &str, args: &[&str]) -> ContainerSpec {
        ContainerSpec::new(
            self.root.path().join("rootfs").to_str().unwrap(),
            args.iter().map(|&arg| arg.to_owned()).collect(),
            format!("{}/{id}", self.cgroup),
        )
    }

    pub(crate) fn log_file(&self, id: &str) -> PathBuf {
        logs::log_file(self.root.path(), "default", id, "uid", "main", 0)
    }

    pub(crate) fn create_request(&self, id: &str, spec: &ContainerSpec) -> CreateContainer {
        CreateContainer {
            id: id.to_owned(),
            spec_json: spec::build(spec).unwrap(),
            log_file: Some(self.log_file(id).to_str().unwrap().to_owned()),
            stdio_budget_bytes: 0,
            singleton: false,
            streams: OwnStreams::default(),
        }
    }

    /// Creates and starts a container; returns its pid.
    pub(crate) fn run(&mut self, id: &str, spec: &ContainerSpec) -> i32 {
        let request = self.create_request(id, spec);
        let pid = self.client.create(request).unwrap();
        self.client.start(id).unwrap();
        pid
    }

    /// Waits for the end of a container, from the list.
    pub(crate) fn wait_exit(&mut self, id: &str) -> Exit {
        let mut exit = None;
        wait_until("container has exited", || {
            let found = self.client.list().unwrap().into_iter().find(|one| one.id == id).unwrap();
            if let ContainerState::Exited(end) = found.state {
                exit = Some(end);
            }
            exit.is_some()
        });
        exit.unwrap()
    }

    /// Waits until a container's log satisfies `wanted`; returns it.
    pub(crate) fn wait_log(&self, id: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let files = LogFiles { disk: self.log_file(id), memory: None };
        wait_until("log is written", || {
            let bytes = logs::read_end(&files, u64::MAX, usize::MAX).unwrap();
            text = String::from_utf8(bytes).unwrap();
            wanted(&text)
        });
        text
    }

    /// Waits for the next exit event.
    pub(crate) fn next_exit_event(&mut self) -> (String, Exit) {
        let deadline = monotonic_ms() + PATIENCE_MS;
        while monotonic_ms() < deadline {
            if let Some(Event::Exited { id, exit }) =
                self.client.next_event(Duration::from_secs(1)).unwrap()
            {
                return (id, exit);
            }
        }
        panic!("no exit event");
    }

    /// Says what is left of this node's containers, anywhere.
    pub(crate) fn left_overs(&self) -> Vec<String> {
        let cgroups = Cgroups::detect().unwrap();
        let mut left = Vec::new();
        for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
            if line.contains(self.root.path().to_str().unwrap()) {
                left.push(format!("mount {line}"));
            }
        }
        if cgroups.exists(&self.cgroup) {
            // The parent is this test's own; what is in it is not.
            let below: Vec<PathBuf> = cgroup_directories(&self.cgroup);
            left.extend(below.iter().map(|path| format!("cgroup {}", path.display())));
        }
        for (what, directory) in [
            ("state", self.run_dir().libcontainer()),
            ("record", self.run_dir().containers()),
            ("output", self.run_dir().output()),
            ("exit", self.run_dir().reaped()),
        ] {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                left.push(format!("{what} {}", entry.path().display()));
            }
        }
        left
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Everything goes, whatever the test left.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
        let cgroups = Cgroups::detect().unwrap();
        let deadline = monotonic_ms() + PATIENCE_MS;
        while cgroups.exists(&self.cgroup) && monotonic_ms() < deadline {
            cgroups.kill_all(&self.cgroup);
            let _frozen = cgroups.freeze(&self.cgroup, false);
            let _busy = cgroups.remove(&self.cgroup);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn cgroup_directories(cgroup: &str) -> Vec<PathBuf> {
    let name = cgroup.trim_start_matches('/');
    fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .flatten()
        .map(|controller| controller.path().join(name))
        .chain([Path::new("/sys/fs/cgroup").join(name)])
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Waits for a state, with a bound.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = monotonic_ms() + PATIENCE_MS;
    while !condition() {
        assert!(monotonic_ms() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to one process of this test.
pub(crate) fn kill(pid: i32, signal: i32) {
    let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// Finds a child of a process by its name.
pub(crate) fn child_named(parent: i32, name: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

fn connect(run_dir: &RunDir) -> RuntimeClient {
    let mut client = None;
    wait_until("the runtime process listens", || {
        client = RuntimeClient::connect(&run_dir.runtime_socket()).ok();
        client.as_mut().is_some_and(|client| client.list().is_ok())
    });
    client.unwrap()
}

fn spawn(role: &str, root: &Path, cgroup: &str) -> Child {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/node_process");
    // Other cgroup file systems than this machine's are mounted for this process alone.
    let mounts = match role {
        "legacy" => Some("umount /sys/fs/cgroup/unified"),
        "unified" => Some("umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        _ => None,
    };
    let mut command = match mounts {
        Some(mounts) => {
            let mut command = Command::new("unshare");
            let line = format!("{mounts} && exec \"$@\"");
            command.args(["--mount", "sh", "-c", &line, "sh"]).arg(program).arg("runtime");
            command
        }
        None => {
            let mut command = Command::new(program);
            command.arg(role);
            command
        }
    };
    command.arg(root.join("run")).arg(cgroup).spawn().unwrap()
}

/// Makes a root file system of a static busybox.
fn make_rootfs(root: &Path) {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("tmp")).unwrap();
    image_root::check(root).unwrap();
    let busybox = root.join("bin/busybox");
    fs::copy("/bin/busybox", &busybox).unwrap();
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).unwrap();
    let names = [
        "sh", "sleep", "echo", "cat", "true", "id", "seq", "grep", "ls", "hostname", "mknod",
        "head", "mkdir", "rm", "touch", "stat", "kill", "mount", "umount", "unshare", "tty",
        "stty",
    ];
    for name in names {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::write(root.join("bin/data"), "not a program").unwrap();
    fs::write(root.join("bin/broken"), "\x7fELF").unwrap();
    fs::set_permissions(root.join("bin/broken"), fs::Permissions::from_mode(0o755)).unwrap();
}
