//! Persistent volumes, the claims on them, and storage classes.

use std::sync::Arc;

use serde::Deserialize;

use super::meta::Meta;
use super::node_affinity::NodeSelector;
use super::null_as_default;
use super::quantity::parse_whole;
use super::selector::LabelSelector;

/// Says that a claim and its volume know of each other.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The node that the first pod of a claim is to run on.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// An amount of storage, as text; empty is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StorageAmount {
    /// The quantity.
    #[serde(deserialize_with = "text_or_number")]
    pub storage: Arc<str>,
}

impl StorageAmount {
    /// In bytes.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        parse_whole(&self.storage).unwrap_or_default()
    }
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(deserializer)? {
        Some(serde_json::Value::String(text)) => Arc::from(text),
        Some(serde_json::Value::Null) | None => Arc::default(),
        Some(other) => Arc::from(other.to_string()),
    })
}

/// The claim that a volume is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClaimReference {
    /// The claim's namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: Arc<str>,
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Arc<str>,
    /// Its uid; empty if whoever made the volume did not know it.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: Arc<str>,
}

/// The nodes that can reach a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    /// What a node must satisfy.
    pub required: Option<NodeSelector>,
}

/// What a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    /// Its size.
    #[serde(deserialize_with = "null_as_default")]
    pub capacity: StorageAmount,
    /// How it can be mounted.
    #[serde(deserialize_with = "null_as_default")]
    pub access_modes: Vec<Arc<str>>,
    /// Its class; empty for none.
    #[serde(deserialize_with = "null_as_default")]
    pub storage_class_name: Arc<str>,
    /// The claim that it is for.
    pub claim_ref: Option<ClaimReference>,
    /// What becomes of it when its claim is gone: `Retain` or `Delete`.
    #[serde(deserialize_with = "null_as_default")]
    pub persistent_volume_reclaim_policy: Arc<str>,
    /// `Filesystem` (or empty) or `Block`.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_mode: Arc<str>,
    /// The nodes that can reach it.
    #[serde(deserialize_with = "null_as_default")]
    pub node_affinity: VolumeNodeAffinity,
}

/// Where a volume or claim is in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StoragePhase {
    /// Such as `Bound`.
    #[serde(deserialize_with = "null_as_default")]
    pub phase: Arc<str>,
}

/// The part of a persistent volume that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct VolumeView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What it is.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: VolumeSpec,
    /// What was last reported.
    #[serde(deserialize_with = "null_as_default")]
    pub status: StoragePhase,
}

impl VolumeView {
    /// Whether a node can reach it.
    #[must_use]
    pub fn reachable_from(&self, node: &Meta) -> bool {
        self.spec.node_affinity.required.as_ref().is_none_or(|required| {
            required.node_selector_terms.iter().any(|term| term.selects(&node.labels, &node.name))
        })
    }

    /// Whether it is for a claim, and for that very one if it says so.
    #[must_use]
    pub fn is_for(&self, claim: &ClaimView) -> bool {
        self.spec.claim_ref.as_ref().is_some_and(|wanted| {
            wanted.namespace == claim.meta.namespace
                && wanted.name == claim.meta.name
                && (wanted.uid.is_empty() || wanted.uid == claim.meta.uid)
        })
    }

    /// Whether it could be given to a claim that it is not for.
    #[must_use]
    pub fn satisfies(&self, claim: &ClaimView) -> bool {
        let spec = &self.spec;
        let block = |mode: &str| mode == "Block";
        spec.claim_ref.is_none()
            && !self.meta.deleting()
            && matches!(&*self.status.phase, "" | "Pending" | "Available")
            && *spec.storage_class_name == *claim.class()
            && block(&spec.volume_mode) == block(&claim.spec.volume_mode)
            && claim.spec.access_modes.iter().all(|mode| spec.access_modes.contains(mode))
            && spec.capacity.bytes() >= claim.spec.resources.requests.bytes()
            && claim.spec.selector.as_ref().is_none_or(|it| it.finds(&self.meta.labels))
    }
}

/// What a claim asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClaimResources {
    /// At least.
    #[serde(deserialize_with = "null_as_default")]
    pub requests: StorageAmount,
}

/// What a claim wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// How it is to be mounted.
    #[serde(deserialize_with = "null_as_default")]
    pub access_modes: Vec<Arc<str>>,
    /// Its class; the empty text is none, `None` is not decided.
    pub storage_class_name: Option<Arc<str>>,
    /// The volume that it has or wants; empty for any.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_name: Arc<str>,
    /// `Filesystem` (or empty) or `Block`.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_mode: Arc<str>,
    /// Labels of the volume.
    pub selector: Option<LabelSelector>,
    /// How much.
    #[serde(deserialize_with = "null_as_default")]
    pub resources: ClaimResources,
}

/// The part of a claim that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClaimView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What it wants.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ClaimSpec,
    /// What was last reported.
    #[serde(deserialize_with = "null_as_default")]
    pub status: StoragePhase,
}

impl ClaimView {
    /// The name of its class, or nothing.
    #[must_use]
    pub fn class(&self) -> &str {
        self.spec.storage_class_name.as_deref().unwrap_or_default()
    }

    /// Whether it has its volume, and both know it.
    #[must_use]
    pub fn bound(&self) -> bool {
        !self.spec.volume_name.is_empty() && self.meta.annotations.get(BIND_COMPLETED).is_some()
    }

    /// The node that its first pod is to run on.
    #[must_use]
    pub fn selected_node(&self) -> Option<&str> {
        self.meta.annotations.get(SELECTED_NODE)
    }

    /// Whether only one pod at a time may use it.
    #[must_use]
    pub fn for_one_pod(&self) -> bool {
        self.spec.access_modes.iter().any(|mode| &**mode == "ReadWriteOncePod")
    }
}

/// The part of a storage class that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClassView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// Who makes volumes of it.
    #[serde(deserialize_with = "null_as_default")]
    pub provisioner: Arc<str>,
    /// What becomes of its volumes when their claims are gone.
    #[serde(deserialize_with = "null_as_default")]
    pub reclaim_policy: Arc<str>,
    /// `Immediate` or `WaitForFirstConsumer`.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_binding_mode: Arc<str>,
}

impl ClassView {
    /// Whether claims get a volume only once a pod of theirs has a node.
    #[must_use]
    pub fn waits(&self) -> bool {
        &*self.volume_binding_mode == "WaitForFirstConsumer"
    }

    /// Whether anybody makes volumes of it.
    #[must_use]
    pub fn provisions(&self) -> bool {
        !matches!(&*self.provisioner, "" | "kubernetes.io/no-provisioner")
    }
}
