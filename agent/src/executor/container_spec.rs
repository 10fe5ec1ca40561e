//! One container's runtime spec: what the pod, the image and the node say, put together.
//!
//! Mounts the root file system on the way, since the image's user can only be looked up in it.

use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bramble_agent_core::environment;
use bramble_image::{Image, ImageConfig, ResolvedUser, mount_root, resolve_user};
use bramble_runtime::device_rules::{DeviceAccess, DeviceKind, DeviceRule};
use bramble_runtime::spec::resources::{QosClass, Resources, oom_score_adj};
use bramble_runtime::spec::{
    self, ContainerSpec, Mount, MountSource, Namespace, Propagation, Seccomp,
};
use bramble_shared::link::{self, Container, Pod, VolumeSource};

use super::{log_file, message_file};
use crate::node::Node;
use crate::pod_sandbox::Shared;
use crate::volumes::{self, PodFolders};

/// Annotation of pods that must never run twice.
const SINGLETON: &str = "bramble.io/singleton";

/// Where a container is made.
pub(super) struct Place {
    /// Its folder on disk.
    pub(super) dir: PathBuf,
    /// Address of the pod.
    pub(super) ip: Ipv4Addr,
    /// Network namespace; none for the node's.
    pub(super) network: Option<PathBuf>,
    /// Process namespace of another container; none for one of its own.
    pub(super) processes: Option<PathBuf>,
    /// Number of the start.
    pub(super) attempt: u32,
}

/// A container that is ready to be created.
pub(super) struct Made {
    pub(super) spec_json: Vec<u8>,
    pub(super) log_file: PathBuf,
    pub(super) singleton: bool,
}

/// Why a container cannot be created; the texts belong on the pod.
#[derive(Debug)]
pub(super) enum PrepareError {
    /// Its configuration is wrong or incomplete.
    Config(String),
    /// The system refuses.
    System(String),
}

/// Mounts the root file system and makes the runtime spec.
pub(super) fn make(
    node: &Node,
    pod: &Pod,
    container: &Container,
    image: &Image,
    place: &Place,
) -> Result<Made, PrepareError> {
    let config = |error: String| PrepareError::Config(error);
    let system = |error: String| PrepareError::System(error);
    // First what can be said without touching the disk.
    let variables = {
        let desired = node.desired();
        let world = node.world(&desired, place.ip);
        environment::variables(pod, container, &image.config.env, &world)
            .map_err(|error| config(error.to_string()))?
    };
    std::fs::create_dir_all(&place.dir).map_err(|error| system(error.to_string()))?;
    let rootfs = mount_root(&node.image_store, image, &place.dir)
        .map_err(|error| system(crate::telemetry::Chain(&error).to_string()))?;
    let user = user(pod, container, &image.config, &rootfs)?;

    let args = environment::command_line(
        container,
        &image.config.entrypoint,
        &image.config.cmd,
        &variables,
    );
    let singleton = pod.annotations.get(SINGLETON).is_some_and(|value| value == "true");
    let group = if singleton { "singletons" } else { "pods" };
    let root = node.config.cgroup_root.trim_end_matches('/');
    let cgroup = format!("{root}/{group}/{}/{}.{}", pod.uid, container.name, place.attempt);
    let mut spec = ContainerSpec::new(rootfs.to_string_lossy(), args, cgroup);
    spec.mounts = mounts(node, pod, container, place, &variables)?;
    spec.env = with_defaults(pod, container, variables, &user);
    spec.cwd = working_dir(container, image);
    spec.uid = user.uid;
    spec.gid = user.gid;
    spec.additional_gids = user.additional_gids;
    spec.readonly_root = container.security.read_only_root;
    let security = &container.security;
    spec.devices = devices(pod, container);
    namespaces(pod, place, &Shared::of(pod, &node.folders(&pod.uid)), &mut spec);
    spec.capabilities_add.clone_from(&security.capabilities_add);
    spec.capabilities_drop.clone_from(&security.capabilities_drop);
    spec.privileged = security.privileged;
    spec.no_new_privileges = !security.allow_privilege_escalation;
    if security.seccomp_unconfined {
        spec.seccomp = Seccomp::Unconfined;
    }
    spec.sysctls.clone_from(&pod.security.sysctls);
    let asked = container.resources;
    spec.resources = resources(asked);
    let request = asked.memory_request.or(asked.memory_limit).unwrap_or(0);
    spec.oom_score_adj = oom_score_adj(qos(pod), request, node.resources.memory_bytes)
        .max(oom_score_adj_min(Path::new("/proc/self")));
    let spec_json = spec::build(&spec).map_err(|error| system(error.to_string()))?;
    Ok(Made { spec_json, log_file: log_file(node, pod, &container.name, place.attempt), singleton })
}

/// What a container may use, as the runtime process takes it.
pub(super) fn resources(asked: link::Resources) -> Resources {
    Resources {
        cpu_request_milli: asked.cpu_request_milli.or(asked.cpu_limit_milli).unwrap_or(0),
        cpu_limit_milli: asked.cpu_limit_milli,
        memory_limit_bytes: asked.memory_limit,
        pids_limit: None,
    }
}

/// Highest user and group: the kernel takes the highest 32-bit number for no change, and the API
/// has the same bound.
const ID_MAX: u32 = i32::MAX.cast_unsigned();

fn user(
    pod: &Pod,
    container: &Container,
    image: &ImageConfig,
    rootfs: &Path,
) -> Result<ResolvedUser, PrepareError> {
    let security = &container.security;
    let run_as_user = security.run_as_user.or(pod.security.run_as_user);
    let run_as_group = security.run_as_group.or(pod.security.run_as_group);
    let wanted = match run_as_user {
        Some(uid) => uid.to_string(),
        None => image.user.clone(),
    };
    let mut user = resolve_user(rootfs, &wanted)
        .map_err(|error| PrepareError::System(crate::telemetry::Chain(&error).to_string()))?;
    if let Some(gid) = run_as_group {
        user.gid = gid;
    }
    let groups = run_as_group.iter().chain(&pod.security.supplemental_groups);
    if let Some(group) = groups.chain(&pod.security.fs_group).find(|group| **group > ID_MAX) {
        return Err(PrepareError::Config(format!(
            "uids and gids must be in range 0-{ID_MAX}, not {group}"
        )));
    }
    let more = pod.security.supplemental_groups.iter().chain(&pod.security.fs_group);
    user.additional_gids.extend(more.copied());
    user.additional_gids.sort_unstable();
    user.additional_gids.dedup();
    let non_root = security.run_as_non_root.unwrap_or(pod.security.run_as_non_root);
    if non_root && user.uid == 0 {
        let why = match run_as_user {
            Some(_) => "container's runAsUser breaks non-root policy",
            None => "container has runAsNonRoot and image will run as root",
        };
        return Err(PrepareError::Config(format!(
            "{why} (pod: \"{}_{}({})\", container: {})",
            pod.name, pod.namespace, pod.uid, container.name
        )));
    }
    Ok(user)
}

/// `HOSTNAME`, `HOME` and a terminal's `TERM` come from the runtime unless somebody set them.
fn with_defaults(
    pod: &Pod,
    container: &Container,
    variables: Vec<(String, String)>,
    user: &ResolvedUser,
) -> Vec<(String, String)> {
    let mut all = vec![("HOSTNAME".to_owned(), pod.hostname.clone())];
    let home = user.home.clone().unwrap_or_else(|| "/".to_owned());
    all.push(("HOME".to_owned(), home));
    if container.tty {
        all.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    all.extend(variables);
    all
}

fn working_dir(container: &Container, image: &Image) -> String {
    let named = container.working_dir.clone().unwrap_or_else(|| image.config.working_dir.clone());
    if named.is_empty() { "/".to_owned() } else { named }
}

fn namespaces(pod: &Pod, place: &Place, shared: &Shared, spec: &mut ContainerSpec) {
    let kept = |path: &Option<PathBuf>| match path {
        Some(path) => Namespace::Path(path.to_string_lossy().into_owned()),
        None => Namespace::Host,
    };
    spec.network = kept(&place.network);
    spec.ipc = kept(&shared.ipc);
    spec.uts = kept(&shared.host_name);
    spec.shm_path = Some(shared.shm.to_string_lossy().into_owned());
    if pod.host_pid {
        spec.pid = Namespace::Host;
    } else if let Some(processes) = &place.processes {
        spec.pid = Namespace::Path(processes.to_string_lossy().into_owned());
    }
}

/// Devices that a pod passes to a container on purpose: by a hostPath whose type says so, read-only
/// if its mount is. Anything else that is a device stays shut, unless the container is privileged.
fn devices(pod: &Pod, container: &Container) -> Vec<DeviceRule> {
    let passed = container.mounts.iter().filter_map(|mount| {
        let volume = pod.volumes.iter().find(|volume| volume.name == mount.volume)?;
        let VolumeSource::HostPath { path, kind } = &volume.source else { return None };
        let kind = match kind.as_str() {
            "BlockDevice" => DeviceKind::Block,
            "CharDevice" => DeviceKind::Character,
            _ => return None,
        };
        let number = std::fs::metadata(path).ok()?.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let access = if mount.read_only { DeviceAccess::READ } else { DeviceAccess::READ_WRITE };
        Some(DeviceRule::allow(kind, major, minor, access))
    });
    passed.collect()
}

fn mounts(
    node: &Node,
    pod: &Pod,
    container: &Container,
    place: &Place,
    variables: &[(String, String)],
) -> Result<Vec<Mount>, PrepareError> {
    let folders: PodFolders = node.folders(&pod.uid);
    // What belongs to the pod holds no device nodes but those that a privileged container makes.
    let bind = |target: &str, path: &Path, readonly, of_node: bool| Mount {
        target: target.to_owned(),
        source: MountSource::Bind { path: path.to_string_lossy().into_owned() },
        readonly,
        device_nodes: of_node || container.security.privileged,
        propagation: Propagation::None,
    };
    let mut mounts = Vec::new();
    let own = |path: &str| container.mounts.iter().any(|mount| mount.path == path);
    for (target, file) in [
        ("/etc/hosts", "hosts"),
        ("/etc/resolv.conf", "resolv.conf"),
        ("/etc/hostname", "hostname"),
    ] {
        // A pod that mounts its own file there gets its own.
        if !own(target) {
            mounts.push(bind(target, &folders.memory.join(file), false, false));
        }
    }
    let message = message_file(&folders.memory, &container.name, place.attempt);
    let made = message
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&message, ""))
        .and_then(|()| {
            use std::os::unix::fs::PermissionsExt as _;
            // The program may run as anybody.
            std::fs::set_permissions(&message, std::fs::Permissions::from_mode(0o666))
        });
    made.map_err(|error| PrepareError::System(error.to_string()))?;
    if !container.termination_message_path.is_empty() {
        mounts.push(bind(&container.termination_message_path, &message, false, false));
    }
    // Outer paths first, so that an inner one is not hidden.
    let mut wanted: Vec<_> = container.mounts.iter().collect();
    wanted.sort_by_key(|mount| mount.path.split('/').count());
    for mount in wanted {
        let sub_path = environment::sub_path(mount, variables)
            .map_err(|error| PrepareError::Config(error.to_string()))?;
        let mount = &link::Mount { sub_path, ..mount.clone() };
        let source = volumes::mount_source(&folders, pod, mount)
            .map_err(|error| PrepareError::Config(error.to_string()))?;
        // As upstream: what the node writes there, it also reads and updates, as root.
        let ours = pod.volumes.iter().any(|volume| {
            volume.name == mount.volume && matches!(volume.source, VolumeSource::Files { .. })
        });
        let of_node = pod.volumes.iter().any(|volume| {
            volume.name == mount.volume && matches!(volume.source, VolumeSource::HostPath { .. })
        });
        mounts.push(bind(&mount.path, &source, mount.read_only || ours, of_node));
    }
    Ok(mounts)
}

/// The lowest `oom_score_adj` that the kernel lets a process give to another one: without
/// `CAP_SYS_RESOURCE` only its own. A container is then protected less, but runs.
fn oom_score_adj_min(process: &Path) -> i32 {
    const CAP_SYS_RESOURCE: u32 = 24;
    let read = |file: &str| std::fs::read_to_string(process.join(file)).unwrap_or_default();
    let capabilities = read("status")
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    match capabilities {
        Some(effective) if effective & (1 << CAP_SYS_RESOURCE) == 0 => {
            read("oom_score_adj").trim().parse().unwrap_or(0)
        }
        // Unknown: the kernel will say so if it does not like it.
        Some(_) | None => i32::MIN,
    }
}

/// The pod's quality of service, from all of its containers.
fn qos(pod: &Pod) -> QosClass {
    let all = || pod.init_containers.iter().chain(&pod.containers).map(|each| each.resources);
    let asks = all().any(|each| {
        each.cpu_request_milli.or(each.cpu_limit_milli).is_some_and(|milli| milli > 0)
            || each.memory_request.or(each.memory_limit).is_some_and(|bytes| bytes > 0)
    });
    if !asks {
        return QosClass::BestEffort;
    }
    let equal = |request: Option<u64>, limit: Option<u64>| match (request, limit) {
        (request, Some(limit)) => request.is_none_or(|request| request == limit),
        (_, None) => false,
    };
    let guaranteed = all().all(|each| {
        equal(each.cpu_request_milli, each.cpu_limit_milli)
            && equal(each.memory_request, each.memory_limit)
    });
    if guaranteed { QosClass::Guaranteed } else { QosClass::Burstable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_agent_core::pod_worker::example::pod;

    #[test]
    fn groups_that_the_kernel_would_take_for_no_change_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let image = ImageConfig::default();
        let resolve = |pod: &Pod| user(pod, &pod.containers[0], &image, root.path());
        let mut good = pod();
        good.containers[0].security.run_as_group = Some(7);
        good.security.supplemental_groups = vec![ID_MAX];
        assert_eq!(resolve(&good).unwrap().gid, 7);
        let wrong: [fn(&mut Pod); 4] = [
            |pod| pod.containers[0].security.run_as_group = Some(u32::MAX),
            |pod| pod.security.run_as_user = Some(u32::MAX),
            |pod| pod.security.supplemental_groups = vec![ID_MAX + 1],
            |pod| pod.security.fs_group = Some(u32::MAX),
        ];
        for change in wrong {
            let mut pod = pod();
            change(&mut pod);
            let error = resolve(&pod).unwrap_err();
            let (PrepareError::Config(text) | PrepareError::System(text)) = error;
            assert!(text.contains("must be in range"), "{text}");
        }
    }

    #[test]
    fn containers_are_protected_from_oom_only_as_far_as_the_kernel_allows() {
        let process = tempfile::tempdir().unwrap();
        let with = |capabilities: &str| {
            let status = format!("Name:\tagent\nCapEff:\t{capabilities}\n");
            std::fs::write(process.path().join("status"), status).unwrap();
            std::fs::write(process.path().join("oom_score_adj"), "-5\n").unwrap();
            oom_score_adj_min(process.path())
        };
        assert_eq!(with("000001ffffffffff"), i32::MIN);
        assert_eq!(with("000001fffeffffff"), -5);
    }

    #[test]
    fn quality_of_service_is_computed_as_upstream() {
        let mut pod = pod();
        assert_eq!(qos(&pod), QosClass::BestEffort);
        pod.containers[0].resources.cpu_request_milli = Some(100);
        assert_eq!(qos(&pod), QosClass::Burstable);
        pod.containers[0].resources.cpu_limit_milli = Some(100);
        pod.containers[0].resources.memory_limit = Some(1 << 20);
        assert_eq!(qos(&pod), QosClass::Guaranteed);
        pod.containers[0].resources.cpu_limit_milli = Some(200);
        assert_eq!(qos(&pod), QosClass::Burstable);
    }
}
