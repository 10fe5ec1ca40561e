//! Builds the OCI runtime spec of a container from plain values.
//!
//! Pure: knows nothing of pods, the file system or libcontainer. The one exception is
//! [`image_root`], which looks at an unpacked image before it is trusted.

pub mod capabilities;
pub mod image_root;
pub mod resources;
mod seccomp;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::capabilities::CapabilityError;
use self::resources::Resources;
use crate::device_rules::{self, DeviceRule};

/// Everything that decides how a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Program and arguments; never empty.
    pub args: Vec<String>,
    /// Variables in order; a later one replaces an earlier one of the same name.
    pub env: Vec<(String, String)>,
    /// Absolute working directory.
    pub cwd: String,
    /// User that the program runs as.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Absolute path of the mounted root file system.
    pub rootfs: String,
    /// The root file system cannot be written.
    pub readonly_root: bool,
    /// Volumes, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// Devices that it may use beside the usual ones; their nodes are mounts.
    pub devices: Vec<DeviceRule>,
    /// Host name; only with a UTS namespace of its own.
    pub hostname: Option<String>,
    /// Network namespace, normally the pod's.
    pub network: Namespace,
    /// PID namespace.
    pub pid: Namespace,
    /// IPC namespace, normally shared by a pod.
    pub ipc: Namespace,
    /// UTS namespace, normally shared by a pod.
    pub uts: Namespace,
    /// Absolute cgroup path without the mount point, such as `/bramble/pods/{uid}/{name}`.
    pub cgroup_path: String,
    /// What it asked for and what it may use.
    pub resources: Resources,
    /// Adjustment of the kernel's out-of-memory score ([`resources::oom_score_adj`]).
    pub oom_score_adj: i32,
    /// Capabilities beside the default ones, with or without `CAP_`; `ALL` is allowed.
    pub capabilities_add: Vec<String>,
    /// Capabilities to take away; `ALL` is allowed.
    pub capabilities_drop: Vec<String>,
    /// All capabilities and devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// The program and its children cannot gain privileges by set-uid files.
    pub no_new_privileges: bool,
    /// System-call filter.
    pub seccomp: Seccomp,
    /// Kernel parameters of the container's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits of the processes.
    pub rlimits: Vec<Rlimit>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size_bytes: u64,
    /// Host path of a shared `/dev/shm`, when a pod's containers share one.
    pub shm_path: Option<String>,
}

impl ContainerSpec {
    /// Returns the defaults of a pod's container: own namespaces, root user, closed down.
    #[must_use]
    pub fn new(
        rootfs: impl Into<String>,
        args: Vec<String>,
        cgroup_path: impl Into<String>,
    ) -> Self {
        Self {
            args,
            env: Vec::new(),
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            additional_gids: Vec::new(),
            rootfs: rootfs.into(),
            readonly_root: false,
            mounts: Vec::new(),
            devices: Vec::new(),
            hostname: None,
            network: Namespace::New,
            pid: Namespace::New,
            ipc: Namespace::New,
            uts: Namespace::New,
            cgroup_path: cgroup_path.into(),
            resources: Resources::default(),
            oom_score_adj: 0,
            capabilities_add: Vec::new(),
            capabilities_drop: Vec::new(),
            privileged: false,
            no_new_privileges: true,
            seccomp: Seccomp::RuntimeDefault,
            sysctls: BTreeMap::new(),
            rlimits: Vec::new(),
            shm_size_bytes: SHM_SIZE_DEFAULT,
            shm_path: None,
        }
    }
}

/// Where a namespace comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// A new one for this container.
    New,
    /// The node's.
    Host,
    /// An existing one, by path.
    Path(String),
}

/// The system-call filter of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// The usual list of harmless calls.
    RuntimeDefault,
    /// No filter.
    Unconfined,
}

/// One volume in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What is mounted there.
    pub source: MountSource,
    /// It cannot be written.
    pub readonly: bool,
    /// Device nodes in it can be opened, as far as the container's device rules go.
    pub device_nodes: bool,
    /// What is mounted below it on one side shows up on the other.
    pub propagation: Propagation,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A directory or file of the node, with everything mounted below it.
    Bind { path: String },
    /// Empty memory, bounded in bytes if given.
    Memory { size_bytes: Option<u64>, mode: u32 },
}

/// Kubernetes' mount propagation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    None,
    /// From the node to the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// A resource limit of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Its name, such as `RLIMIT_NOFILE`.
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Why no runtime spec can be built.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildSpecError {
    /// There is nothing to run.
    #[error("no command specified")]
    NoCommand,
    /// A path that must be absolute is not, or it climbs.
    #[error("{what} `{path}` must be an absolute path without `..`")]
    RelativePath { what: &'static str, path: String },
    /// A value holds a NUL byte, which the kernel cannot take.
    #[error("{what} holds a NUL byte")]
    NulByte { what: &'static str },
    /// A variable's name is impossible.
    #[error("environment variable name `{name}` is invalid")]
    VariableName { name: String },
    /// The memory limit is below what a container needs to start.
    #[error(
        "memory limit of {bytes} bytes is too low: a container needs at least {} bytes (6Mi)",
        resources::MEMORY_LIMIT_MIN_BYTES
    )]
    MemoryLimitTooLow { bytes: u64 },
    /// The PID limit is below what a container needs to start.
    #[error("pid limit of {pids} is too low: at least {} are needed", resources::PIDS_LIMIT_MIN)]
    PidsLimitTooLow { pids: i64 },
    /// A capability is unknown.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// A kernel parameter would change the node.
    #[error("sysctl `{name}` needs a namespace of the container's own")]
    Sysctl { name: String },
    /// The spec could not be serialized.
    #[error("could not serialize the runtime spec: {0}")]
    Serialize(String),
}

/// Builds the runtime spec as JSON for [`crate::protocol::CreateContainer`].
///
/// # Errors
/// When a value is impossible or too low; the text belongs on the pod.
pub fn build(spec: &ContainerSpec) -> Result<Vec<u8>, BuildSpecError> {
    check(spec)?;
    let value = json!({
        "ociVersion": "1.0.2",
        "process": process(spec)?,
        "root": { "path": spec.rootfs, "readonly": spec.readonly_root },
        "hostname": own_hostname(spec),
        "mounts": mounts(spec),
        "linux": linux(spec)?,
    });
    serde_json::to_vec(&without_nulls(value))
        .map_err(|error| BuildSpecError::Serialize(error.to_string()))
}

fn check(spec: &ContainerSpec) -> Result<(), BuildSpecError> {
    if spec.args.first().is_none_or(String::is_empty) {
        return Err(BuildSpecError::NoCommand);
    }
    absolute("root file system", &spec.rootfs)?;
    absolute("cgroup path", &spec.cgroup_path)?;
    absolute("working directory", &spec.cwd)?;
    for mount in &spec.mounts {
        absolute("mount path", &mount.target)?;
        if let MountSource::Bind { path } = &mount.source {
            absolute("mount source", path)?;
        }
    }
    if spec.args.iter().any(|arg| arg.contains('\0')) {
        return Err(BuildSpecError::NulByte { what: "an argument" });
    }
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(BuildSpecError::VariableName { name: name.clone() });
        }
        if value.contains('\0') {
            return Err(BuildSpecError::NulByte { what: "an environment variable" });
        }
    }
    for name in spec.sysctls.keys() {
        let own = if name.starts_with("net.") {
            spec.network != Namespace::Host
        } else if name.starts_with("fs.mqueue.")
            || name.starts_with("kernel.msg")
            || name.starts_with("kernel.sem")
            || name.starts_with("kernel.shm")
        {
            spec.ipc != Namespace::Host
        } else {
            false
        };
        if !own {
            return Err(BuildSpecError::Sysctl { name: name.clone() });
        }
    }
    spec.resources.check()
}

fn absolute(what: &'static str, path: &str) -> Result<(), BuildSpecError> {
    let climbs = path.split('/').any(|part| part == "..");
    if path.starts_with('/') && !climbs && !path.contains('\0') {
        return Ok(());
    }
    Err(BuildSpecError::RelativePath { what, path: path.to_owned() })
}

fn process(spec: &ContainerSpec) -> Result<Value, BuildSpecError> {
    let capabilities =
        capabilities::effective(spec.privileged, &spec.capabilities_add, &spec.capabilities_drop)?;
    // Who is not root keeps a capability only through set-uid files, as with other runtimes.
    let held: &[String] = if spec.uid == 0 { &capabilities } else { &[] };
    let rlimits: Vec<Value> = spec
        .rlimits
        .iter()
        .map(|limit| json!({ "type": limit.name, "soft": limit.soft, "hard": limit.hard }))
        .collect();
    Ok(json!({
        "terminal": false,
        "user": {
            "uid": spec.uid,
            "gid": spec.gid,
            "additionalGids": spec.additional_gids,
        },
        "args": spec.args,
        "env": environment(&spec.env),
        "cwd": spec.cwd,
        "capabilities": {
            "bounding": capabilities,
            "effective": held,
            "permitted": held,
        },
        "rlimits": rlimits,
        "noNewPrivileges": no_new_privileges(spec).then_some(true),
        "oomScoreAdj": spec.oom_score_adj,
    }))
}

/// Whether a container's processes give up set-uid files' privileges. Left out of the spec rather
/// than false: only then does libcontainer load the filter while it still may, and for other users
/// than root it does so too late even then, so that one with a filter gives them up in any case.
fn no_new_privileges(spec: &ContainerSpec) -> bool {
    let filtered = spec.seccomp != Seccomp::Unconfined;
    !spec.privileged && (spec.no_new_privileges || (spec.uid != 0 && filtered))
}

/// Joins the variables, the last of each name winning, and adds `PATH` if there is none.
fn environment(env: &[(String, String)]) -> Vec<String> {
    let mut joined: Vec<(&str, &str)> = vec![("PATH", PATH_DEFAULT)];
    for (name, value) in env {
        match joined.iter_mut().find(|(present, _)| present == name) {
            Some(slot) => slot.1 = value,
            None => joined.push((name, value)),
        }
    }
    joined.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn own_hostname(spec: &ContainerSpec) -> Option<&str> {
    // With a shared UTS namespace the name is set once, by whoever made it.
    match spec.uts {
        Namespace::New => spec.hostname.as_deref(),
        Namespace::Host | Namespace::Path(_) => None,
    }
}

fn mounts(spec: &ContainerSpec) -> Vec<Value> {
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": source, "options": options });
    let sys_access = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        // Without a file system of its own here, device nodes would be left in the image root.
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    // Mounts of its own with the node's network, too: what the node has mounted beneath its `/sys`
    // is nothing for a container.
    mounts.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys_access]));
    // The runtime process puts the container's own cgroups here.
    mounts.push(mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", "relatime", sys_access],
    ));
    match &spec.shm_path {
        Some(path) => {
            mounts.push(mount("/dev/shm", "bind", path, &["rbind", "nosuid", "noexec", "nodev"]))
        }
        None => {
            let size = format!("size={}", spec.shm_size_bytes);
            mounts.push(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &size],
            ));
        }
    }
    mounts.extend(spec.mounts.iter().map(volume));
    mounts
}

fn volume(mount: &Mount) -> Value {
    let access = if mount.readonly { "ro" } else { "rw" };
    match &mount.source {
        MountSource::Bind { path } => {
            let propagation = match mount.propagation {
                Propagation::None => "rprivate",
                Propagation::HostToContainer => "rslave",
                Propagation::Bidirectional => "rshared",
            };
            let nodev: &[&str] = if mount.device_nodes { &[] } else { &["nodev"] };
            let options = [&["rbind", propagation, access], nodev].concat();
            json!({
                "destination": mount.target,
                "type": "bind",
                "source": path,
                "options": options,
            })
        }
        MountSource::Memory { size_bytes, mode } => {
            let mut options =
                vec!["nosuid".to_owned(), "nodev".to_owned(), format!("mode={mode:o}")];
            options.extend(size_bytes.map(|bytes| format!("size={bytes}")));
            options.push(access.to_owned());
            json!({
                "destination": mount.target,
                "type": "tmpfs",
                "source": "tmpfs",
                "options": options,
            })
        }
    }
}

fn linux(spec: &ContainerSpec) -> Result<Value, BuildSpecError> {
    let open: &[&str] = &[];
    let (masked, readonly) =
        if spec.privileged { (open, open) } else { (MASKED_PATHS, READONLY_PATHS) };
    let capabilities =
        capabilities::effective(spec.privileged, &spec.capabilities_add, &spec.capabilities_drop)?;
    let filter = match spec.seccomp {
        Seccomp::RuntimeDefault if !spec.privileged => seccomp::runtime_default(&capabilities),
        Seccomp::RuntimeDefault | Seccomp::Unconfined => Value::Null,
    };
    let devices = device_rules::of_container(spec.privileged, &spec.devices);
    let rootfs_propagation = spec
        .mounts
        .iter()
        .map(|mount| match mount.propagation {
            Propagation::None => "private",
            Propagation::HostToContainer => "slave",
            Propagation::Bidirectional => "shared",
        })
        .max_by_key(|name| ["private", "slave", "shared"].iter().position(|own| own == name));
    Ok(json!({
        "namespaces": namespaces(spec),
        "cgroupsPath": spec.cgroup_path,
        "resources": spec.resources.to_json(&devices),
        "seccomp": filter,
        "sysctl": spec.sysctls,
        "maskedPaths": masked,
        "readonlyPaths": readonly,
        "rootfsPropagation": rootfs_propagation,
    }))
}

fn namespaces(spec: &ContainerSpec) -> Vec<Value> {
    let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    let chosen =
        [("network", &spec.network), ("pid", &spec.pid), ("ipc", &spec.ipc), ("uts", &spec.uts)];
    for (kind, namespace) in chosen {
        match namespace {
            Namespace::New => namespaces.push(json!({ "type": kind })),
            Namespace::Path(path) => namespaces.push(json!({ "type": kind, "path": path })),
            Namespace::Host => {}
        }
    }
    namespaces
}

/// Removes members without a value: the runtime spec knows absent, not null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (name, without_nulls(member)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

/// Search path of a container whose image sets none, as other runtimes have it.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Size of `/dev/shm` that programs expect, in bytes.
pub const SHM_SIZE_DEFAULT: u64 = 64 * 1024 * 1024;

/// Paths that tell about, or reach into, the node; Kubernetes' default proc mount hides them.
const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that would change the node.
const READONLY_PATHS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> ContainerSpec {
        ContainerSpec::new("/data/root", vec!["sleep".into(), "1".into()], "/bramble/web")
    }

    fn built(spec: &ContainerSpec) -> Value {
        serde_json::from_slice(&build(spec).unwrap()).unwrap()
    }

    #[test]
    fn the_default_spec_is_understood_and_closed_down() {
        let json = build(&sleeper()).unwrap();
        let parsed: oci_spec::runtime::Spec = serde_json::from_slice(&json).unwrap();
        assert_eq!(parsed.process().as_ref().unwrap().no_new_privileges(), Some(true));
        assert!(parsed.linux().as_ref().unwrap().seccomp().is_some());
        let value = built(&sleeper());
        let capabilities = value["process"]["capabilities"]["bounding"].as_array().unwrap();
        assert!(!capabilities.contains(&json!("CAP_NET_RAW")));
        assert!(!capabilities.contains(&json!("CAP_SYS_ADMIN")));
        assert_eq!(value["linux"]["resources"]["pids"]["limit"], resources::PIDS_LIMIT_DEFAULT);
        assert!(value["mounts"].as_array().unwrap().iter().any(|mount| mount
            == &json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"]})));
    }

    #[test]
    fn later_variables_replace_earlier_ones_and_path_has_a_default() {
        let mut spec = sleeper();
        spec.env = vec![("A".into(), "1".into()), ("A".into(), "2".into())];
        let env = built(&spec)["process"]["env"].clone();
        assert_eq!(env, json!([format!("PATH={PATH_DEFAULT}"), "A=2"]));
        spec.env = vec![("PATH".into(), "/opt".into())];
        assert_eq!(built(&spec)["process"]["env"], json!(["PATH=/opt"]));
    }

    #[test]
    fn namespaces_are_new_shared_or_absent() {
        let mut spec = sleeper();
        spec.network = Namespace::Path("/run/netns/pod".into());
        spec.pid = Namespace::Host;
        assert_eq!(
            built(&spec)["linux"]["namespaces"],
            json!([
                {"type": "mount"},
                {"type": "cgroup"},
                {"type": "network", "path": "/run/netns/pod"},
                {"type": "ipc"},
                {"type": "uts"}
            ])
        );
    }

    #[test]
    fn impossible_values_are_refused_in_words() {
        let check = |change: fn(&mut ContainerSpec), expected: &str| {
            let mut spec = sleeper();
            change(&mut spec);
            assert_eq!(build(&spec).unwrap_err().to_string(), expected);
        };
        check(|spec| spec.args.clear(), "no command specified");
        check(
            |spec| spec.cgroup_path = "pods/x".into(),
            "cgroup path `pods/x` must be an absolute path without `..`",
        );
        check(
            |spec| spec.cwd = "/a/../b".into(),
            "working directory `/a/../b` must be an absolute path without `..`",
        );
        check(
            |spec| spec.resources.memory_limit_bytes = Some(1024),
            "memory limit of 1024 bytes is too low: a container needs at least 6291456 bytes (6Mi)",
        );
        check(
            |spec| spec.env = vec![("A=B".into(), String::new())],
            "environment variable name `A=B` is invalid",
        );
        check(
            |spec| drop(spec.sysctls.insert("vm.swappiness".into(), "1".into())),
            "sysctl `vm.swappiness` needs a namespace of the container's own",
        );
        check(|spec| spec.capabilities_add = vec!["FLY".into()], "unknown capability `FLY`");
    }

    #[test]
    fn privileged_has_no_filter_and_nothing_masked() {
        let mut spec = sleeper();
        spec.privileged = true;
        let value = built(&spec);
        assert_eq!(value["linux"].get("seccomp"), None);
        assert_eq!(value["linux"]["maskedPaths"], json!([]));
        assert_eq!(value["process"]["noNewPrivileges"], Value::Null);
    }

    #[test]
    fn users_without_root_hold_no_capabilities() {
        let mut spec = sleeper();
        spec.uid = 1000;
        assert_eq!(built(&spec)["process"]["capabilities"]["effective"], json!([]));
    }
}
