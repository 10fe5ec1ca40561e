//! Node affinity of a pod.

use serde::Deserialize;

use super::labels::Labels;
use super::null_as_default;
use super::selector::Requirement;

/// One alternative: everything in it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// Requirements on labels.
    #[serde(deserialize_with = "null_as_default")]
    pub match_expressions: Vec<Requirement>,
    /// Requirements on fields; only `metadata.name` exists.
    #[serde(deserialize_with = "null_as_default")]
    pub match_fields: Vec<Requirement>,
}

impl NodeSelectorTerm {
    /// Whether a node satisfies the term. An empty term matches no node, as upstream.
    #[must_use]
    pub fn selects(&self, labels: &Labels, node_name: &str) -> bool {
        let empty = self.match_expressions.is_empty() && self.match_fields.is_empty();
        !empty
            && self.match_expressions.iter().all(|wanted| wanted.accepts(labels.get(&wanted.key)))
            && self
                .match_fields
                .iter()
                .all(|wanted| &*wanted.key == "metadata.name" && wanted.accepts(Some(node_name)))
    }
}

/// Alternatives of which one must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// The alternatives.
    #[serde(deserialize_with = "null_as_default")]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// A wish, with its weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PreferredTerm {
    /// 1 to 100.
    pub weight: i64,
    /// What is wished for.
    pub preference: NodeSelectorTerm,
}

/// The `nodeAffinity` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    /// What a node must satisfy.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
    /// What makes a node better.
    #[serde(
        rename = "preferredDuringSchedulingIgnoredDuringExecution",
        deserialize_with = "null_as_default"
    )]
    pub preferred: Vec<PreferredTerm>,
}
