//! One volume of a pod, as its node must provide it.

use bramble_api::quantity;
use bramble_shared::link::{DataItem, DataKind, Volume, VolumeSource};

use super::ConvertPodError;
use crate::link::field::Field;

/// Mode of the files of a ConfigMap or Secret: upstream's default.
const FILE_MODE: u32 = 0o644;

pub(super) fn convert(volume: Field<'_>) -> Result<Volume, ConvertPodError> {
    let name = volume.get("name").string();
    let kind = volume.entries().find(|(kind, source)| *kind != "name" && source.is_set());
    let source = match kind {
        // Upstream's default for a volume without a source.
        None => VolumeSource::EmptyDir { memory: false, size_limit: None },
        Some(("emptyDir", source)) => empty_dir(&name, source)?,
        Some(("configMap", source)) => {
            data(DataKind::ConfigMap, source.get("name").string(), source)
        }
        Some(("secret", source)) => {
            data(DataKind::Secret, source.get("secretName").string(), source)
        }
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

fn data(kind: DataKind, name: String, source: Field<'_>) -> VolumeSource {
    let item = |item: Field<'_>| DataItem {
        key: item.get("key").string(),
        path: item.get("path").string(),
        mode: item.get("mode").integer(),
    };
    VolumeSource::Data {
        kind,
        name,
        optional: source.get("optional").flag().unwrap_or(false),
        mode: source.get("defaultMode").integer().unwrap_or(FILE_MODE),
        items: source.get("items").items().map(item).collect(),
    }
}
