//! One volume of a pod, as its node must provide it.

use bramble_api::quantity;
use bramble_shared::link::{DataItem, DataKind, FileSource, Volume, VolumeSource};

use super::ConvertPodError;
use super::container::resource_field;
use crate::link::field::Field;

/// Mode of the files of a ConfigMap or Secret: upstream's default.
const FILE_MODE: u32 = 0o644;
/// Life of a token, in seconds: upstream's default.
const TOKEN_S: u64 = 3600;

pub(super) fn convert(volume: Field<'_>) -> Result<Volume, ConvertPodError> {
    let name = volume.get("name").string();
    let kind = volume.entries().find(|(kind, source)| *kind != "name" && source.is_set());
    let source = match kind {
        // Upstream's default for a volume without a source.
        None => VolumeSource::EmptyDir { memory: false, size_limit: None },
        Some(("emptyDir", source)) => empty_dir(&name, source)?,
        Some(("configMap", source)) => {
            let object = source.get("name").string();
            files(source, vec![data(DataKind::ConfigMap, object, source)])
        }
        Some(("secret", source)) => {
            let object = source.get("secretName").string();
            files(source, vec![data(DataKind::Secret, object, source)])
        }
        Some(("downwardAPI", source)) => files(source, fields(source)?),
        Some(("projected", source)) => files(source, projected(&name, source)?),
        Some(("hostPath", source)) => VolumeSource::HostPath {
            path: source.get("path").string(),
            kind: source.get("type").string(),
        },
        Some((kind, _)) => {
            return Err(ConvertPodError::Volume { volume: name, kind: kind.to_owned() });
        }
    };
    Ok(Volume { name, source })
}

fn empty_dir(volume: &str, source: Field<'_>) -> Result<VolumeSource, ConvertPodError> {
    let memory = match source.get("medium").text() {
        "" => false,
        "Memory" => true,
        medium => {
            let kind = format!("emptyDir with medium {medium}");
            return Err(ConvertPodError::Volume { volume: volume.to_owned(), kind });
        }
    };
    let limit = source.get("sizeLimit");
    let size_limit = limit.is_set().then(|| {
        let text = limit.0.as_str().map_or_else(|| limit.0.to_string(), str::to_owned);
        quantity::bytes(&text).ok()
    });
    // A limit that cannot be read was refused by the API.
    Ok(VolumeSource::EmptyDir { memory, size_limit: size_limit.flatten() })
}

fn files(source: Field<'_>, sources: Vec<FileSource>) -> VolumeSource {
    VolumeSource::Files { mode: source.get("defaultMode").integer().unwrap_or(FILE_MODE), sources }
}

fn data(kind: DataKind, name: String, source: Field<'_>) -> FileSource {
    let item = |item: Field<'_>| DataItem {
        key: item.get("key").string(),
        path: item.get("path").string(),
        mode: item.get("mode").integer(),
    };
    FileSource::Data {
        kind,
        name,
        optional: source.get("optional").flag().unwrap_or(false),
        items: source.get("items").items().map(item).collect(),
    }
}

fn fields(source: Field<'_>) -> Result<Vec<FileSource>, ConvertPodError> {
    let items = source.get("items").items().map(|item| {
        let path = item.get("path").string();
        let mode = item.get("mode").integer();
        let reference = item.get("resourceFieldRef");
        Ok(if reference.is_set() {
            let container = reference.get("containerName").text();
            FileSource::Resource { resource: resource_field(container, reference)?, path, mode }
        } else {
            let field = item.get("fieldRef").get("fieldPath").string();
            FileSource::Field { field, path, mode }
        })
    });
    items.collect()
}

fn projected(volume: &str, source: Field<'_>) -> Result<Vec<FileSource>, ConvertPodError> {
    let mut sources = Vec::new();
    for item in source.get("sources").items() {
        // The API takes one of them each.
        let Some((kind, part)) = item.entries().find(|(_, part)| part.is_set()) else { continue };
        match kind {
            "configMap" => sources.push(data(DataKind::ConfigMap, part.get("name").string(), part)),
            "secret" => sources.push(data(DataKind::Secret, part.get("name").string(), part)),
            "downwardAPI" => sources.extend(fields(part)?),
            "serviceAccountToken" => sources.push(FileSource::Token {
                audience: part.get("audience").string(),
                expiration_s: part.get("expirationSeconds").integer().unwrap_or(TOKEN_S),
                path: part.get("path").string(),
            }),
            kind => {
                return Err(ConvertPodError::Volume {
                    volume: volume.to_owned(),
                    kind: format!("projected with {kind}"),
                });
            }
        }
    }
    Ok(sources)
}
