//! How evenly a pod wants its like to be spread, resolved against the pod itself.

use std::sync::Arc;

use serde::Deserialize;

use super::meta::Meta;
use super::null_as_default;
use super::pod_affinity::{PodSelector, add_label_keys};
use super::selector::{LabelSelector, Operator};

/// One constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpreadConstraint {
    /// Which pods are counted.
    pub pods: PodSelector,
    /// Nodes with the same value of this label are one place.
    pub topology_key: Arc<str>,
    /// How many more pods one place may have than the emptiest.
    pub max_skew: i64,
    /// With fewer places than this the emptiest counts as empty.
    pub min_domains: i64,
    /// Whether a place that would be too full is refused, or only less liked.
    pub required: bool,
    /// Whether nodes count that the pod's node selector and affinity exclude.
    pub ignore_node_affinity: bool,
    /// Whether nodes do not count whose taints the pod does not tolerate.
    pub honor_taints: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawSpreadConstraint {
    label_selector: Option<LabelSelector>,
    #[serde(deserialize_with = "null_as_default")]
    topology_key: Arc<str>,
    max_skew: i64,
    min_domains: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    when_unsatisfiable: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    node_affinity_policy: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    node_taints_policy: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    match_label_keys: Vec<Arc<str>>,
}

impl RawSpreadConstraint {
    pub(super) fn resolve(self, pod: &Meta) -> SpreadConstraint {
        let mut selector = self.label_selector;
        if let Some(selector) = &mut selector {
            add_label_keys(selector, &self.match_label_keys, Operator::In, &pod.labels);
        }
        let namespaces = vec![Arc::clone(&pod.namespace)];
        SpreadConstraint {
            pods: PodSelector { namespaces, namespace_selector: None, selector },
            topology_key: self.topology_key,
            max_skew: self.max_skew,
            min_domains: self.min_domains.unwrap_or(1),
            required: &*self.when_unsatisfiable != "ScheduleAnyway",
            ignore_node_affinity: &*self.node_affinity_policy == "Ignore",
            honor_taints: &*self.node_taints_policy == "Honor",
        }
    }
}
