//! Which files the volumes have that the node writes: `configMap`, `secret`, `downwardAPI` and
//! `projected`.
//!
//! Knows nothing of file systems; the shell writes what it is told, all at once.

use std::collections::{BTreeMap, BTreeSet};

use bramble_shared::link::{Data, DataItem, DataKey, DataKind, FileSource, Pod, VolumeSource};

use crate::environment::{self, BuildEnvironmentError, World};

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFile {
    /// Path in the volume. Invariant: relative, without `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// User who owns it, if not root.
    pub owner: Option<u32>,
    /// Content.
    pub content: Vec<u8>,
}

/// A token that volumes of a pod hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedToken {
    /// For whom; empty means the API server.
    pub audience: String,
    /// Life that is asked for, in seconds.
    pub expiration_s: u64,
}

/// The tokens of a pod; an error says why there is none.
pub type Tokens = BTreeMap<WantedToken, Result<String, String>>;

/// Why a volume cannot be filled; the texts are the kubelet's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillVolumeError {
    /// The object is not there.
    #[error("{} \"{name}\" not found", resource(*.kind))]
    NotFound {
        /// Which of the two.
        kind: DataKind,
        /// Name of the object.
        name: String,
    },
    /// The object lacks a key that `items` names.
    #[error("references non-existent {} key: {key}", key_word(*.kind))]
    NoKey {
        /// Which of the two.
        kind: DataKind,
        /// The key.
        key: String,
    },
    /// A path leads out of the volume.
    #[error("invalid path: must not be absolute nor contain '..': {path}")]
    BadPath {
        /// The path.
        path: String,
    },
    /// A field or resource that pods do not have.
    #[error(transparent)]
    Field(BuildEnvironmentError),
    /// There is no token.
    #[error("failed to fetch token: {why}")]
    NoToken {
        /// In words.
        why: String,
    },
    /// Several of them.
    #[error("[{}]", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Several(Vec<FillVolumeError>),
}

/// The resource's name in messages of the API.
#[must_use]
pub fn resource(kind: DataKind) -> &'static str {
    match kind {
        DataKind::ConfigMap => "configmap",
        DataKind::Secret => "secret",
    }
}

fn key_word(kind: DataKind) -> &'static str {
    match kind {
        DataKind::ConfigMap => "config",
        DataKind::Secret => "secret",
    }
}

/// The tokens that the volumes of a pod hold.
#[must_use]
pub fn wanted_tokens(pod: &Pod) -> BTreeSet<WantedToken> {
    let sources = pod.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Files { sources, .. } => Some(sources),
        VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => None,
    });
    let tokens = sources.flatten().filter_map(|source| match source {
        FileSource::Token { audience, expiration_s, .. } => {
            Some(WantedToken { audience: audience.clone(), expiration_s: *expiration_s })
        }
        FileSource::Data { .. } | FileSource::Field { .. } | FileSource::Resource { .. } => None,
    });
    tokens.collect()
}

/// Whether nothing of these files may reach a disk.
#[must_use]
pub fn confidential(sources: &[FileSource]) -> bool {
    sources.iter().any(|source| match source {
        FileSource::Data { kind, .. } => *kind == DataKind::Secret,
        FileSource::Token { .. } => true,
        FileSource::Field { .. } | FileSource::Resource { .. } => false,
    })
}

/// The files of a [`VolumeSource::Files`] volume, by path.
///
/// # Errors
///
/// If an object or a key is not there and not optional, a field or token cannot be had, or a path
/// leads out of the volume. All that went wrong is told.
pub fn files(
    pod: &Pod,
    mode: u32,
    sources: &[FileSource],
    world: &World<'_>,
    tokens: &Tokens,
) -> Result<Vec<VolumeFile>, FillVolumeError> {
    let mut files = BTreeMap::new();
    let mut errors = Vec::new();
    let all = sources.iter().flat_map(|source| from_source(pod, mode, source, world, tokens));
    for made in all {
        match made.and_then(checked) {
            // Of two of the same path the later one counts.
            Ok(file) => drop(files.insert(file.path.clone(), file)),
            Err(error) => errors.push(error),
        }
    }
    match (errors.len(), errors.pop()) {
        (0 | 1, Some(error)) => Err(error),
        (_, Some(last)) => {
            errors.push(last);
            Err(FillVolumeError::Several(errors))
        }
        (_, None) => Ok(files.into_values().collect()),
    }
}

/// Makes a file of a path, a mode of its own and a content.
type MakeFile = dyn Fn(&str, Option<u32>, Vec<u8>) -> VolumeFile;

fn from_source(
    pod: &Pod,
    mode: u32,
    source: &FileSource,
    world: &World<'_>,
    tokens: &Tokens,
) -> Vec<Result<VolumeFile, FillVolumeError>> {
    let file = move |path: &str, own: Option<u32>, content: Vec<u8>| VolumeFile {
        path: path.to_owned(),
        mode: own.unwrap_or(mode) & 0o777,
        owner: None,
        content,
    };
    match source {
        FileSource::Data { kind, name, optional, items } => {
            let key = DataKey { kind: *kind, namespace: pod.namespace.clone(), name: name.clone() };
            match world.data.get(&key) {
                Some(data) => from_data(data, *optional, items, &file),
                None if *optional => Vec::new(),
                None => vec![Err(FillVolumeError::NotFound { kind: *kind, name: name.clone() })],
            }
        }
        FileSource::Field { field, path, mode } => {
            let value = environment::field(pod, field, world).map_err(FillVolumeError::Field);
            vec![value.map(|value| file(path, *mode, value.into_bytes()))]
        }
        FileSource::Resource { resource, path, mode } => {
            let value = environment::resource_value(pod, None, resource, world.node);
            let value = value.map_err(FillVolumeError::Field);
            vec![value.map(|value| file(path, *mode, value.into_bytes()))]
        }
        FileSource::Token { audience, expiration_s, path } => {
            let wanted = WantedToken { audience: audience.clone(), expiration_s: *expiration_s };
            let owner = only_user(pod);
            // The kubelet's rule: who else may read it is decided by owner and group.
            let private = owner.is_some() || pod.security.fs_group.is_some();
            let found = match tokens.get(&wanted) {
                Some(Ok(token)) => Ok(token.clone().into_bytes()),
                Some(Err(why)) => Err(FillVolumeError::NoToken { why: why.clone() }),
                None => Err(FillVolumeError::NoToken { why: "not asked for yet".to_owned() }),
            };
            let file =
                |content| VolumeFile { owner, ..file(path, private.then_some(0o600), content) };
            vec![found.map(file)]
        }
    }
}

fn from_data(
    data: &Data,
    optional: bool,
    items: &[DataItem],
    file: &MakeFile,
) -> Vec<Result<VolumeFile, FillVolumeError>> {
    if items.is_empty() {
        let all = data.entries.iter();
        return all.map(|(key, content)| Ok(file(key, None, content.clone()))).collect();
    }
    let chosen =
        items.iter().filter_map(|DataItem { key, path, mode }| match data.entries.get(key) {
            Some(content) => Some(Ok(file(path, *mode, content.clone()))),
            None if optional => None,
            None => Some(Err(FillVolumeError::NoKey { kind: data.key.kind, key: key.clone() })),
        });
    chosen.collect()
}

/// The user of all containers of a pod, if the pod says that it is one.
fn only_user(pod: &Pod) -> Option<u32> {
    let mut users = pod
        .init_containers
        .iter()
        .chain(&pod.containers)
        .map(|container| container.security.run_as_user.or(pod.security.run_as_user));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

fn checked(file: VolumeFile) -> Result<VolumeFile, FillVolumeError> {
    let path = &file.path;
    let beneath = !path.is_empty()
        && !path.starts_with('/')
        && path.split('/').all(|part| !part.is_empty() && part != ".." && part != ".");
    // The atomic writer's own entries start with two dots.
    if !beneath || path.starts_with("..") {
        return Err(FillVolumeError::BadPath { path: path.clone() });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bramble_shared::link::ResourceField;

    use super::*;
    use crate::environment::NodeResources;
    use crate::pod_worker::example::{container, pod};

    fn data(optional: bool, items: &[(&str, &str, Option<u32>)]) -> FileSource {
        FileSource::Data {
            kind: DataKind::ConfigMap,
            name: "settings".to_owned(),
            optional,
            items: items
                .iter()
                .map(|(key, path, mode)| DataItem {
                    key: (*key).to_owned(),
                    path: (*path).to_owned(),
                    mode: *mode,
                })
                .collect(),
        }
    }

    fn token() -> FileSource {
        FileSource::Token { audience: String::new(), expiration_s: 3607, path: "token".to_owned() }
    }

    fn field(field: &str, path: &str) -> FileSource {
        FileSource::Field { field: field.to_owned(), path: path.to_owned(), mode: None }
    }

    fn settings() -> BTreeMap<DataKey, Data> {
        let key = DataKey {
            kind: DataKind::ConfigMap,
            namespace: "default".to_owned(),
            name: "settings".to_owned(),
        };
        let entries = [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())].into();
        let data = Data { key: key.clone(), revision: 1, secret_type: String::new(), entries };
        [(key, data)].into()
    }

    fn fill(
        pod: &Pod,
        sources: &[FileSource],
        data: &BTreeMap<DataKey, Data>,
        tokens: &Tokens,
    ) -> Result<Vec<VolumeFile>, FillVolumeError> {
        let world = World {
            node_name: "pi-1",
            host_ip: Ipv4Addr::LOCALHOST,
            pod_ip: Ipv4Addr::LOCALHOST,
            node: NodeResources { cpu_milli: 4000, memory_bytes: 1 << 30 },
            data,
            services: &BTreeMap::new(),
        };
        files(pod, 0o644, sources, &world, tokens)
    }

    /// Path, mode and content of every file, or what went wrong.
    fn text(made: Result<Vec<VolumeFile>, FillVolumeError>) -> String {
        let line = |file: &VolumeFile| {
            let content = String::from_utf8_lossy(&file.content);
            let owner = file.owner.map(|owner| format!(" {owner}")).unwrap_or_default();
            format!("{} {:o}{owner} {content}", file.path, file.mode)
        };
        match made {
            Ok(files) => files.iter().map(line).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    fn check(sources: &[FileSource], expected: &str) {
        assert_eq!(text(fill(&pod(), sources, &settings(), &Tokens::new())), expected);
    }

    #[test]
    fn keys_become_files_and_items_choose_paths_and_modes() {
        check(&[data(false, &[])], "a 644 1; b 644 2");
        check(&[data(false, &[("b", "dir/bee", Some(0o400))])], "dir/bee 400 2");
    }

    #[test]
    fn absence_is_told_in_the_kubelets_words() {
        let without =
            |sources: &[FileSource]| text(fill(&pod(), sources, &BTreeMap::new(), &Tokens::new()));
        assert_eq!(without(&[data(false, &[])]), "configmap \"settings\" not found");
        assert_eq!(without(&[data(true, &[])]), "");
        let no_key = "references non-existent config key: c";
        check(&[data(false, &[("c", "c", None)])], no_key);
        check(&[data(true, &[("c", "c", None)])], "");
        check(
            &[data(false, &[("c", "c", None)]), token()],
            &format!("[{no_key}, failed to fetch token: not asked for yet]"),
        );
    }

    #[test]
    fn paths_stay_in_the_volume() {
        for path in ["/etc/passwd", "../x", "a/../../x", "", "a//b", "..data"] {
            let sources = [data(false, &[("a", path, None)])];
            let made = fill(&pod(), &sources, &settings(), &Tokens::new());
            assert_eq!(made, Err(FillVolumeError::BadPath { path: path.to_owned() }));
        }
    }

    #[test]
    fn sources_share_one_tree_and_the_later_one_counts() {
        check(&[data(false, &[]), field("metadata.name", "b")], "a 644 1; b 644 web");
    }

    #[test]
    fn fields_and_resources_become_files() {
        let mut pod = pod();
        pod.labels = [("app", "web"), ("note", "two\nlines \"é\"\u{1}")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let resource = FileSource::Resource {
            resource: ResourceField {
                container: "main".to_owned(),
                resource: "limits.memory".to_owned(),
                divisor: 1 << 20,
            },
            path: "memory".to_owned(),
            mode: Some(0o600),
        };
        let sources =
            [field("metadata.labels", "labels"), field("metadata.labels['app']", "app"), resource];
        let made = fill(&pod, &sources, &BTreeMap::new(), &Tokens::new());
        let labels = "app=\"web\"\nnote=\"two\\nlines \\\"é\\\"\\x01\"";
        assert_eq!(text(made), format!("app 644 web; labels 644 {labels}; memory 600 1024"));
        check(&[field("metadata.colour", "x")], "unsupported fieldPath: metadata.colour");
    }

    #[test]
    fn tokens_are_readable_by_the_pods_only_user() {
        let wanted = WantedToken { audience: String::new(), expiration_s: 3607 };
        let tokens = [(wanted.clone(), Ok("t".to_owned()))].into();
        let of = |pod: &Pod| text(fill(pod, &[token()], &BTreeMap::new(), &tokens));
        let mut pod = pod();
        assert_eq!(of(&pod), "token 644 t");
        pod.containers[0].security.run_as_user = Some(7);
        assert_eq!(of(&pod), "token 600 7 t");
        pod.containers.push(container("other"));
        assert_eq!(of(&pod), "token 644 t");
        pod.security.fs_group = Some(5);
        assert_eq!(of(&pod), "token 600 t");
        let refused = [(wanted, Err("no such account".to_owned()))].into();
        let made = fill(&pod, &[token()], &BTreeMap::new(), &refused);
        assert_eq!(text(made), "failed to fetch token: no such account");
    }
}
