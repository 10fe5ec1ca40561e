//! Which files a ConfigMap or Secret volume has.
//!
//! Knows nothing of file systems; the shell writes what it is told, all at once.

use bramble_shared::link::{Data, DataItem, DataKind, VolumeSource};

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFile {
    /// Path in the volume. Invariant: relative, without `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub content: Vec<u8>,
}

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

/// The files of a [`VolumeSource::Data`] volume, in order; nothing for other volumes.
///
/// # Errors
///
/// If the object or a key is not there and not optional, or a path leads out of the volume.
pub fn files(
    source: &VolumeSource,
    data: Option<&Data>,
) -> Result<Vec<VolumeFile>, FillVolumeError> {
    let VolumeSource::Data { kind, name, optional, mode, items } = source else {
        return Ok(Vec::new());
    };
    let Some(data) = data else {
        return match optional {
            true => Ok(Vec::new()),
            false => Err(FillVolumeError::NotFound { kind: *kind, name: name.clone() }),
        };
    };
    if items.is_empty() {
        return data.entries.iter().map(|(key, content)| file(key, *mode, content)).collect();
    }
    let mut files = Vec::new();
    for DataItem { key, path, mode: own_mode } in items {
        match data.entries.get(key) {
            Some(content) => files.push(file(path, own_mode.unwrap_or(*mode), content)?),
            None if *optional => {}
            None => return Err(FillVolumeError::NoKey { kind: *kind, key: key.clone() }),
        }
    }
    Ok(files)
}

fn file(path: &str, mode: u32, content: &[u8]) -> Result<VolumeFile, FillVolumeError> {
    let beneath = !path.is_empty()
        && !path.starts_with('/')
        && path.split('/').all(|part| !part.is_empty() && part != ".." && part != ".");
    // The atomic writer's own entries start with two dots.
    if !beneath || path.starts_with("..") {
        return Err(FillVolumeError::BadPath { path: path.to_owned() });
    }
    Ok(VolumeFile { path: path.to_owned(), mode: mode & 0o777, content: content.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_shared::link::DataKey;

    fn source(optional: bool, items: &[(&str, &str, Option<u32>)]) -> VolumeSource {
        VolumeSource::Data {
            kind: DataKind::ConfigMap,
            name: "settings".to_owned(),
            optional,
            mode: 0o644,
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

    fn data() -> Data {
        Data {
            key: DataKey {
                kind: DataKind::ConfigMap,
                namespace: "default".to_owned(),
                name: "settings".to_owned(),
            },
            revision: 1,
            secret_type: String::new(),
            entries: [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())].into(),
        }
    }

    #[test]
    fn all_keys_become_files() {
        let files = files(&source(false, &[]), Some(&data())).unwrap();
        let names: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.mode)).collect();
        assert_eq!(names, [("a", 0o644), ("b", 0o644)]);
    }

    #[test]
    fn items_choose_paths_and_modes() {
        let source = source(false, &[("b", "dir/bee", Some(0o400))]);
        let files = files(&source, Some(&data())).unwrap();
        assert_eq!(
            files,
            [VolumeFile { path: "dir/bee".to_owned(), mode: 0o400, content: b"2".to_vec() }]
        );
    }

    #[test]
    fn absence_is_told_in_the_kubelets_words() {
        let error = files(&source(false, &[]), None).unwrap_err();
        assert_eq!(error.to_string(), "configmap \"settings\" not found");
        assert_eq!(files(&source(true, &[]), None), Ok(Vec::new()));
        let error = files(&source(false, &[("c", "c", None)]), Some(&data())).unwrap_err();
        assert_eq!(error.to_string(), "references non-existent config key: c");
        assert_eq!(files(&source(true, &[("c", "c", None)]), Some(&data())), Ok(Vec::new()));
    }

    #[test]
    fn paths_stay_in_the_volume() {
        for path in ["/etc/passwd", "../x", "a/../../x", "", "a//b", "..data"] {
            let source = source(false, &[("a", path, None)]);
            assert!(files(&source, Some(&data())).is_err(), "{path}");
        }
    }
}
