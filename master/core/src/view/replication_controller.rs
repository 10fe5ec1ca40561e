//! Replication controllers: replica sets whose selector is a plain map.

use serde::Deserialize;

use super::labels::Labels;
use super::meta::Meta;
use super::null_as_default;
use super::replica_set::{ReplicaSetSpec, ReplicaSetStatus, ReplicaSetView};
use super::selector::LabelSelector;
use super::template::Template;

/// A replication controller, read as the replica set that it amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicationControllerView(pub ReplicaSetView);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    metadata: Meta,
    spec: RawSpec,
    #[serde(deserialize_with = "null_as_default")]
    status: ReplicaSetStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSpec {
    replicas: Option<i32>,
    #[serde(deserialize_with = "null_as_default")]
    min_ready_seconds: i64,
    #[serde(deserialize_with = "null_as_default")]
    selector: Labels,
    template: Template,
}

impl<'de> Deserialize<'de> for ReplicationControllerView {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { metadata, spec, status } = Raw::deserialize(deserializer)?;
        let RawSpec { replicas, min_ready_seconds, selector, template } = spec;
        let selector = LabelSelector { match_labels: selector, ..LabelSelector::default() };
        let spec = ReplicaSetSpec { replicas, min_ready_seconds, selector, template };
        Ok(Self(ReplicaSetView { meta: metadata, spec, status }))
    }
}
