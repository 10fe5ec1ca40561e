//! Turns a runtime spec into what libcontainer is given on this host, and what is left to us.
//!
//! Pure. libcontainer would make a container's cgroups writable on v1 and show it the node's named
//! hierarchies, does not know that `/dev` may be the node's, and ignores device rules on v2:
//!
//! - the mount of type `cgroup` becomes the container's own cgroups, bound one by one;
//! - what is mounted over `/dev`, or over a node that libcontainer makes in it, is held back until
//!   libcontainer has made its own `/dev` ([`super::dev_mounts`]);
//! - device rules are read ([`super::device_control`]).

use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxNamespaceType, Mount, MountBuilder, Spec};

use super::dev_mounts::DevMount;
use crate::cgroup::Cgroups;
use crate::device_rules::{DeviceRule, DeviceRuleError};

/// What a container is made of.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// What libcontainer is given.
    pub(super) spec: Spec,
    /// What is mounted over its `/dev` afterwards.
    pub(super) dev_mounts: Vec<DevMount>,
    /// What it may do with device nodes.
    pub(super) device_rules: Vec<DeviceRule>,
    /// Its cgroup, without the mount point.
    pub(super) cgroup_path: String,
}

/// Why a runtime spec cannot be used here.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeBundleError {
    /// A device rule makes no sense.
    #[error(transparent)]
    Device(#[from] DeviceRuleError),
    /// A mount could not be described.
    #[error("could not describe a mount")]
    Mount(#[source] OciSpecError),
}

impl Bundle {
    /// Reads a runtime spec.
    ///
    /// # Errors
    /// When it asks for something impossible.
    pub(super) fn new(
        mut spec: Spec,
        cgroups: &Cgroups,
        cgroup_path: &str,
    ) -> Result<Self, MakeBundleError> {
        let mut mounts = Vec::new();
        let mut dev_mounts = Vec::new();
        for mount in spec.mounts().clone().unwrap_or_default() {
            if mount.typ().as_deref() == Some("cgroup") {
                mounts.extend(own_cgroups(&mount, cgroups, cgroup_path)?);
                hide_from_writers(&mut spec, &mount, cgroups);
            } else if let Some(held_back) = over_dev(&mount) {
                dev_mounts.push(held_back);
            } else {
                mounts.push(mount);
            }
        }
        spec.set_mounts(Some(mounts));
        if !cgroups.namespaces() {
            // Nothing of the node's cgroups is mounted; only `/proc/self/cgroup` tells of them.
            drop_namespace(&mut spec, LinuxNamespaceType::Cgroup);
        }
        let rules = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().as_ref())
            .and_then(|resources| resources.devices().as_ref());
        let device_rules = rules
            .into_iter()
            .flatten()
            .map(DeviceRule::read)
            .collect::<Result<Vec<DeviceRule>, DeviceRuleError>>()?;
        Ok(Self { spec, dev_mounts, device_rules, cgroup_path: cgroup_path.to_owned() })
    }
}

/// The container's own cgroups in place of a mount of type `cgroup`.
fn own_cgroups(
    mount: &Mount,
    cgroups: &Cgroups,
    cgroup_path: &str,
) -> Result<Vec<Mount>, MakeBundleError> {
    let options = mount.options().clone().unwrap_or_default();
    let bind = |target: PathBuf, source: PathBuf| {
        let mut options = options.clone();
        options.push("bind".to_owned());
        described(target, "bind", source, options)
    };
    let target = mount.destination();
    if cgroups.unified() {
        return Ok(vec![bind(target.clone(), Cgroups::unified_directory(cgroup_path))?]);
    }
    // Written to while the mount points are made; read-only by `readonlyPaths`.
    let mut folder: Vec<String> =
        options.iter().filter(|option| *option != "ro").cloned().collect();
    folder.extend(["mode=755".to_owned(), "size=64k".to_owned()]);
    let mut mounts = vec![described(target.clone(), "tmpfs", "tmpfs".into(), folder)?];
    for (name, directory) in cgroups.joined_directories(cgroup_path) {
        mounts.push(bind(target.join(name), directory)?);
    }
    Ok(mounts)
}

fn described(
    target: PathBuf,
    kind: &str,
    source: PathBuf,
    options: Vec<String>,
) -> Result<Mount, MakeBundleError> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .map_err(MakeBundleError::Mount)
}

/// Makes the folder of the cgroups read-only if they are.
fn hide_from_writers(spec: &mut Spec, mount: &Mount, cgroups: &Cgroups) {
    let readonly = mount.options().iter().flatten().any(|option| option == "ro");
    if cgroups.unified() || !readonly {
        return;
    }
    let Some(mut linux) = spec.linux().clone() else { return };
    let mut paths = linux.readonly_paths().clone().unwrap_or_default();
    paths.push(mount.destination().to_string_lossy().into_owned());
    linux.set_readonly_paths(Some(paths));
    spec.set_linux(Some(linux));
}

fn drop_namespace(spec: &mut Spec, kind: LinuxNamespaceType) {
    let Some(mut linux) = spec.linux().clone() else { return };
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|namespace| namespace.typ() != kind);
    linux.set_namespaces(Some(namespaces));
    spec.set_linux(Some(linux));
}

/// A mount that would be in the way of what libcontainer makes in `/dev`.
fn over_dev(mount: &Mount) -> Option<DevMount> {
    let options = mount.options().as_deref().unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option == name);
    let bind = mount.typ().as_deref() == Some("bind") || has("bind") || has("rbind");
    let target: PathBuf = mount.destination().components().collect();
    let in_the_way = target == Path::new("/dev")
        || target
            .strip_prefix("/dev")
            .is_ok_and(|name| name.to_str().is_some_and(|name| NODES_MADE.contains(&name)));
    let source = mount.source().clone().filter(|_| bind && in_the_way)?;
    Some(DevMount { target, source, readonly: has("ro") })
}

/// Nodes that libcontainer makes in every `/dev`.
const NODES_MADE: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{self, ContainerSpec, MountSource, Propagation};

    const V2: &str = "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    const V1: &str = "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn bundle(mountinfo: &str, change: impl FnOnce(&mut ContainerSpec)) -> Bundle {
        let mut spec = ContainerSpec::new("/root", vec!["true".into()], "/bramble/web");
        change(&mut spec);
        let spec = serde_json::from_slice(&spec::build(&spec).unwrap()).unwrap();
        Bundle::new(spec, &Cgroups::parse(mountinfo), "/bramble/web").unwrap()
    }

    /// Mounts beneath a path: target, source, and whether they are read-only binds.
    fn beneath(bundle: &Bundle, path: &str) -> Vec<(String, String, bool)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mounts = bundle.spec.mounts().as_ref().unwrap();
        mounts
            .iter()
            .filter(|mount| mount.destination().starts_with(path))
            .map(|mount| {
                let options = mount.options().as_ref().unwrap();
                let has = |name: &str| options.iter().any(|option| option == name);
                let source = text(mount.source().as_ref().unwrap());
                (text(mount.destination()), source, has("bind") && has("ro") && has("nosuid"))
            })
            .collect()
    }

    #[test]
    fn a_container_is_shown_its_own_cgroups_and_cannot_write_them() {
        let owned = |target: &str, source: &str, ro| (target.to_owned(), source.to_owned(), ro);
        let v2 = bundle(V2, |_| {});
        let own = owned("/sys/fs/cgroup", "/sys/fs/cgroup/bramble/web", true);
        assert_eq!(beneath(&v2, "/sys/fs/cgroup"), [own]);
        let v1 = bundle(V1, |_| {});
        let memory = owned("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/bramble/web", true);
        let folder = owned("/sys/fs/cgroup", "tmpfs", false);
        assert_eq!(beneath(&v1, "/sys/fs/cgroup"), [folder, memory]);
        let readonly = v1.spec.linux().as_ref().unwrap().readonly_paths().clone().unwrap();
        assert!(readonly.contains(&"/sys/fs/cgroup".to_owned()));
        // With the node's network as well.
        let host = bundle(V2, |spec| spec.network = spec::Namespace::Host);
        assert_eq!(beneath(&host, "/sys"), beneath(&v2, "/sys"));
    }

    #[test]
    fn privileged_containers_may_write_their_own_cgroups() {
        for mounts in [V1, V2] {
            let privileged = bundle(mounts, |spec| spec.privileged = true);
            let found = beneath(&privileged, "/sys/fs/cgroup");
            assert!(found.iter().all(|(_, _, readonly)| !readonly), "{found:?}");
            assert_eq!(privileged.device_rules, [DeviceRule::everything(true)]);
        }
    }

    #[test]
    fn mounts_over_dev_are_held_back_and_others_are_not() {
        let volume = |target: &str, path: &str| spec::Mount {
            target: target.to_owned(),
            source: MountSource::Bind { path: path.to_owned() },
            readonly: target == "/dev/null",
            device_nodes: true,
            propagation: Propagation::None,
        };
        let bundle = bundle(V2, |spec| {
            spec.mounts =
                vec![volume("/dev/", "/dev"), volume("/dev/null", "/x"), volume("/dev/a", "/a")];
        });
        let held = |target: &str, source: &str, readonly| DevMount {
            target: target.into(),
            source: source.into(),
            readonly,
        };
        assert_eq!(bundle.dev_mounts, [held("/dev", "/dev", false), held("/dev/null", "/x", true)]);
        let kept = beneath(&bundle, "/dev");
        assert_eq!(kept[0].1, "tmpfs");
        assert!(kept.iter().any(|(target, _, _)| target == "/dev/a"));
        assert!(kept.iter().all(|(_, source, _)| source != "/dev"));
    }

    #[test]
    fn a_kernel_without_cgroup_namespaces_gets_none() {
        let kinds = |cgroups: &Cgroups| {
            let spec = ContainerSpec::new("/root", vec!["true".into()], "/web");
            let spec = serde_json::from_slice(&spec::build(&spec).unwrap()).unwrap();
            let bundle = Bundle::new(spec, cgroups, "/web").unwrap();
            let namespaces = bundle.spec.linux().as_ref().unwrap().namespaces().clone().unwrap();
            namespaces.iter().any(|one| one.typ() == LinuxNamespaceType::Cgroup)
        };
        assert!(!kinds(&Cgroups::parse(V2)));
        let here = Cgroups::detect().unwrap();
        assert_eq!(kinds(&here), here.namespaces());
    }
}
