//! Disruption budgets: which pods, and how many of them may go.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::meta::Meta;
use super::null_as_default;
use super::selector::LabelSelector;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BudgetSpec {
    /// The pods; `None` and the empty one mean none and all.
    pub selector: Option<LabelSelector>,
}

/// What was last counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetStatus {
    /// How many pods may be evicted now.
    pub disruptions_allowed: i64,
    /// Pods whose eviction was counted already, by name.
    pub disrupted_pods: Vec<Arc<str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    #[serde(deserialize_with = "null_as_default")]
    disruptions_allowed: i64,
    #[serde(deserialize_with = "null_as_default")]
    disrupted_pods: BTreeMap<Arc<str>, IgnoredAny>,
}

impl<'de> Deserialize<'de> for BudgetStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawStatus { disruptions_allowed, disrupted_pods } =
            RawStatus::deserialize(deserializer)?;
        Ok(Self { disruptions_allowed, disrupted_pods: disrupted_pods.into_keys().collect() })
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
