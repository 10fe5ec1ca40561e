//! Affinity of a pod to other pods, resolved against the pod itself: its namespace, and the values
//! of the labels that a term only names.

use std::sync::Arc;

use serde::Deserialize;

use super::labels::Labels;
use super::meta::Meta;
use super::null_as_default;
use super::selector::{LabelSelector, Operator, Requirement};

/// Which pods are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodSelector {
    /// The namespaces that they are in, beside those that the selector finds.
    pub namespaces: Vec<Arc<str>>,
    /// Labels of their namespaces; the empty one finds all.
    pub namespace_selector: Option<LabelSelector>,
    /// Their labels; `None` means no pod, the empty one every pod.
    pub selector: Option<LabelSelector>,
}

impl PodSelector {
    /// Whether a pod is meant that has these labels and is in a namespace with those.
    #[must_use]
    pub fn selects(&self, labels: &Labels, namespace: &str, of_namespace: Option<&Labels>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.finds(labels))
            && (self.namespaces.iter().any(|name| &**name == namespace)
                || self
                    .namespace_selector
                    .as_ref()
                    .zip(of_namespace)
                    .is_some_and(|(selector, labels)| selector.finds(labels)))
    }
}

/// Pods, and the label of nodes that says what near is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodTerm {
    /// The other pods.
    pub pods: PodSelector,
    /// Nodes with the same value of this label are one place.
    pub topology_key: Arc<str>,
}

/// What a pod wants of the pods around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAffinity {
    /// Places where pods must be that all terms mean.
    pub required: Vec<PodTerm>,
    /// Places where no pod may be that any term means.
    pub required_anti: Vec<PodTerm>,
    /// Wishes with their weights; a negative weight is a wish to be away.
    pub preferred: Vec<(i64, PodTerm)>,
}

/// The two halves as the API spells them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawPodAffinity {
    #[serde(
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        deserialize_with = "null_as_default"
    )]
    required: Vec<RawTerm>,
    #[serde(
        rename = "preferredDuringSchedulingIgnoredDuringExecution",
        deserialize_with = "null_as_default"
    )]
    preferred: Vec<RawWeighted>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawWeighted {
    weight: i64,
    pod_affinity_term: RawTerm,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawTerm {
    label_selector: Option<LabelSelector>,
    #[serde(deserialize_with = "null_as_default")]
    namespaces: Vec<Arc<str>>,
    namespace_selector: Option<LabelSelector>,
    #[serde(deserialize_with = "null_as_default")]
    topology_key: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    match_label_keys: Vec<Arc<str>>,
    #[serde(deserialize_with = "null_as_default")]
    mismatch_label_keys: Vec<Arc<str>>,
}

impl RawTerm {
    fn resolve(self, pod: &Meta) -> PodTerm {
        let mut selector = self.label_selector;
        if let Some(selector) = &mut selector {
            add_label_keys(selector, &self.match_label_keys, Operator::In, &pod.labels);
            add_label_keys(selector, &self.mismatch_label_keys, Operator::NotIn, &pod.labels);
        }
        let own = self.namespaces.is_empty() && self.namespace_selector.is_none();
        let namespaces = if own { vec![Arc::clone(&pod.namespace)] } else { self.namespaces };
        let pods =
            PodSelector { namespaces, namespace_selector: self.namespace_selector, selector };
        PodTerm { pods, topology_key: self.topology_key }
    }
}

/// Adds the pod's own values of labels that are only named; labels that it lacks are left out.
pub(super) fn add_label_keys(
    selector: &mut LabelSelector,
    keys: &[Arc<str>],
    operator: Operator,
    labels: &Labels,
) {
    for key in keys {
        let Some(value) = labels.get(key) else { continue };
        let wanted = Requirement { key: Arc::clone(key), operator, values: vec![Arc::from(value)] };
        // The API server writes the same requirement into what it stores.
        if !selector.match_expressions.contains(&wanted) {
            selector.match_expressions.push(wanted);
        }
    }
}

/// Puts both halves together; `None` if the pod wants nothing.
pub(super) fn resolve(
    affinity: Option<RawPodAffinity>,
    anti: Option<RawPodAffinity>,
    pod: &Meta,
) -> Option<Box<PodAffinity>> {
    if affinity.is_none() && anti.is_none() {
        return None;
    }
    let (affinity, anti) = (affinity.unwrap_or_default(), anti.unwrap_or_default());
    let all = |terms: Vec<RawTerm>| terms.into_iter().map(|term| term.resolve(pod)).collect();
    let weighted = |wish: RawWeighted| (wish.weight, wish.pod_affinity_term.resolve(pod));
    let near = affinity.preferred.into_iter().map(weighted);
    let away = anti.preferred.into_iter().map(weighted).map(|(weight, term)| (-weight, term));
    Some(Box::new(PodAffinity {
        required: all(affinity.required),
        required_anti: all(anti.required),
        preferred: near.chain(away).collect(),
    }))
}
