//! Disruption budgets: which pods, and how many of them may go.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::deployment::IntOrString;
use super::meta::Meta;
use super::null_as_default;
use super::selector::LabelSelector;
use super::timestamp::Timestamp;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetSpec {
    /// The pods; `None` and the empty one mean none and all.
    pub selector: Option<LabelSelector>,
    /// How many must be left.
    pub min_available: Option<IntOrString>,
    /// How many may be missing, if that is what is asked for.
    pub max_unavailable: Option<IntOrString>,
}

/// What was last counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetStatus {
    /// How many pods may be evicted now.
    pub disruptions_allowed: i64,
    /// Pods whose eviction was counted already, by name, and when it was.
    pub disrupted_pods: BTreeMap<Arc<str>, Timestamp>,
    /// All of it, to be compared with what is to be reported.
    pub reported: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    #[serde(deserialize_with = "null_as_default")]
    disruptions_allowed: i64,
    #[serde(deserialize_with = "null_as_default")]
    disrupted_pods: BTreeMap<Arc<str>, Option<Timestamp>>,
}

impl<'de> Deserialize<'de> for BudgetStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reported = Value::deserialize(deserializer)?;
        let raw = RawStatus::deserialize(&reported).map_err(serde::de::Error::custom)?;
        let pods = raw.disrupted_pods.into_iter();
        Ok(Self {
            disruptions_allowed: raw.disruptions_allowed,
            disrupted_pods: pods.map(|(name, at)| (name, at.unwrap_or_default())).collect(),
            reported,
        })
    }
}

/// The part of a disruption budget that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BudgetView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is asked for.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: BudgetSpec,
    /// What was last counted.
    #[serde(deserialize_with = "null_as_default")]
    pub status: BudgetStatus,
}

impl BudgetView {
    /// Whether it is about pods with these labels.
    #[must_use]
    pub fn covers(&self, labels: &super::labels::Labels) -> bool {
        self.spec.selector.as_ref().is_some_and(|selector| selector.finds(labels))
    }
}
