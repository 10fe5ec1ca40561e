//! OpenAPI: version 2 in one document, as JSON and as protobuf, and version 3 in a document for
//! each version of a group. They hold the paths, the kinds and their fields with types and with
//! what they are for, from the resources and their schemas.
//!
//! Documents are built when somebody asks and not kept, definition by definition, so that never
//! more than the finished text and one definition is in memory.
//!
//! Strategic merge is not announced, so that `kubectl apply` merges by its own knowledge of the
//! kinds.

mod definitions;
mod gnostic;
mod paths;

use serde_json::{Map, Value, json};

use crate::discovery;
use crate::registry::Registry;
use crate::resource::Resource;

/// Version of OpenAPI in which a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// Refers to a definition of the same document.
    fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// `GET /openapi/v2` as JSON.
#[must_use]
pub fn v2_json(registry: &Registry) -> Vec<u8> {
    let resources = all(registry);
    let mut text = format!("{{\"swagger\":\"2.0\",\"info\":{},\"paths\":", info());
    write_object(&mut text, paths::items(Dialect::V2, &resources));
    text.push_str(",\"definitions\":");
    write_object(&mut text, definitions::all(Dialect::V2, &resources));
    text.push('}');
    text.into_bytes()
}

/// `GET /openapi/v2` as protobuf: the message `openapi.v2.Document`.
#[must_use]
pub fn v2_protobuf(registry: &Registry) -> Vec<u8> {
    let resources = all(registry);
    gnostic::document(
        &info(),
        paths::items(Dialect::V2, &resources),
        definitions::all(Dialect::V2, &resources),
    )
}

/// `GET /openapi/v3` as JSON: where the documents of version 3 are.
///
/// Names a hash of every document, so whoever asks often keeps it.
#[must_use]
pub fn v3_index(registry: &Registry) -> Vec<u8> {
    let mut paths = Map::new();
    for group in std::iter::once("").chain(discovery::groups(registry)) {
        for version in discovery::versions(registry, group) {
            let Some(document) = v3_json(registry, group, version) else { continue };
            let path = paths::base(group, version);
            let path = path.trim_start_matches('/');
            // The hash lets clients keep a document for as long as it does not change.
            let hash = fingerprint(&document);
            let url = format!("/openapi/v3/{path}?hash={hash:016X}");
            paths.insert(path.to_owned(), json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths}).to_string().into_bytes()
}

/// `GET /openapi/v3/api/v1` and the like, as JSON; none if there is no such version.
#[must_use]
pub fn v3_json(registry: &Registry, group: &str, version: &str) -> Option<Vec<u8>> {
    let resources = discovery::of_version(registry, group, version);
    if resources.is_empty() {
        return None;
    }
    let mut text = format!("{{\"openapi\":\"3.0.0\",\"info\":{},\"paths\":", info());
    write_object(&mut text, paths::items(Dialect::V3, &resources));
    text.push_str(",\"components\":{\"schemas\":");
    write_object(&mut text, definitions::all(Dialect::V3, &resources));
    text.push_str("}}");
    Some(text.into_bytes())
}

fn all(registry: &Registry) -> Vec<&Resource> {
    registry.all().iter().map(|resource| &**resource).collect()
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "unversioned"})
}

fn write_object(text: &mut String, entries: impl Iterator<Item = (String, Value)>) {
    let mut separator = '{';
    for (name, value) in entries {
        text.push(separator);
        text.push_str(&Value::from(name).to_string());
        text.push(':');
        text.push_str(&value.to_string());
        separator = ',';
    }
    if separator == '{' {
        text.push('{');
    }
    text.push('}');
}

/// FNV-1a, 64 bits: enough to tell documents of the same program apart.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
