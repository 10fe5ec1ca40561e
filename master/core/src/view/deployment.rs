//! Deployments.

use serde::Deserialize;

use super::condition::Condition;
use super::meta::Meta;
use super::null_as_default;
use super::selector::LabelSelector;
use super::template::Template;

/// A number, or a percentage of another.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// The number itself.
    Number(i32),
    /// A percentage such as `25%`, or the name of a port.
    Text(String),
}

impl IntOrString {
    /// Whether it is a part of something.
    #[must_use]
    pub fn percent(&self) -> bool {
        matches!(self, Self::Text(text) if text.ends_with('%'))
    }

    /// Its value as a part of `total`; percentages are rounded up or down. Nonsense is 0.
    #[must_use]
    pub fn of(&self, total: i32, round_up: bool) -> i32 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => {
                let percent = text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok());
                let product = percent.unwrap_or_default().saturating_mul(i64::from(total));
                let rounded =
                    if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
                i32::try_from(rounded).unwrap_or(i32::MAX)
            }
        }
    }
}

/// Bounds of a rolling update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    /// Pods above the wanted number; missing is 25 %.
    pub max_surge: Option<IntOrString>,
    /// Pods below the wanted number; missing is 25 %.
    pub max_unavailable: Option<IntOrString>,
}

/// How old pods give way to new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// `RollingUpdate` (or empty) or `Recreate`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Bounds of a rolling update.
    #[serde(deserialize_with = "null_as_default")]
    pub rolling_update: RollingUpdate,
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// Wanted number of pods; missing is one.
    pub replicas: Option<i32>,
    /// Which pods are its own.
    #[serde(deserialize_with = "null_as_default")]
    pub selector: LabelSelector,
    /// What its pods look like.
    pub template: Template,
    /// How updates go.
    #[serde(deserialize_with = "null_as_default")]
    pub strategy: Strategy,
    /// Seconds of readiness before a pod counts as available.
    #[serde(deserialize_with = "null_as_default")]
    pub min_ready_seconds: i64,
    /// Old replica sets to keep; missing is 10.
    pub revision_history_limit: Option<i32>,
    /// Whether roll-outs are halted.
    #[serde(deserialize_with = "null_as_default")]
    pub paused: bool,
    /// Seconds without progress before it is reported; missing is 600.
    pub progress_deadline_seconds: Option<i64>,
}

impl DeploymentSpec {
    /// Wanted number of pods.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(1)
    }

    /// Whether a roll-out without progress is to be reported; the largest number means never.
    #[must_use]
    pub fn has_progress_deadline(&self) -> bool {
        self.progress_deadline_seconds != Some(i64::from(i32::MAX))
    }

    /// Whether all old pods go before the first new one comes.
    #[must_use]
    pub fn recreate(&self) -> bool {
        self.strategy.kind == "Recreate"
    }

    /// Pods above the wanted number during a rolling update.
    #[must_use]
    pub fn max_surge(&self) -> i32 {
        if self.recreate() {
            return 0;
        }
        let quarter = IntOrString::Text("25%".to_owned());
        let surge = self.strategy.rolling_update.max_surge.as_ref();
        surge.unwrap_or(&quarter).of(self.replicas(), true).max(0)
    }

    /// Pods below the wanted number during a rolling update. When both bounds come out as 0 one
    /// pod may be missing, since the update could never start otherwise.
    #[must_use]
    pub fn max_unavailable(&self) -> i32 {
        if self.recreate() || self.replicas() == 0 {
            return 0;
        }
        let quarter = IntOrString::Text("25%".to_owned());
        let unavailable = self.strategy.rolling_update.max_unavailable.as_ref();
        let unavailable = unavailable.unwrap_or(&quarter).of(self.replicas(), false).max(0);
        let unavailable = if unavailable == 0 && self.max_surge() == 0 { 1 } else { unavailable };
        unavailable.min(self.replicas())
    }
}

/// What was last reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// Pods that exist.
    #[serde(deserialize_with = "null_as_default")]
    pub replicas: i32,
    /// Pods of the newest template.
    #[serde(deserialize_with = "null_as_default")]
    pub updated_replicas: i32,
    /// Pods that are ready.
    #[serde(deserialize_with = "null_as_default")]
    pub ready_replicas: i32,
    /// Pods that have been ready for long enough.
    #[serde(deserialize_with = "null_as_default")]
    pub available_replicas: i32,
    /// Pods that are missing.
    #[serde(deserialize_with = "null_as_default")]
    pub unavailable_replicas: i32,
    /// Pods that are being deleted and have not ended.
    pub terminating_replicas: Option<i32>,
    /// The generation that this status describes.
    #[serde(deserialize_with = "null_as_default")]
    pub observed_generation: i64,
    /// Counts clashes of template hashes.
    pub collision_count: Option<i32>,
    /// Its conditions.
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
}

/// The part of a deployment that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeploymentView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is wanted.
    pub spec: DeploymentSpec,
    /// What was last reported.
    #[serde(deserialize_with = "null_as_default")]
    pub status: DeploymentStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        let spec = DeploymentSpec { replicas: Some(3), ..DeploymentSpec::default() };
        assert_eq!((spec.max_surge(), spec.max_unavailable()), (1, 0));
        let spec = DeploymentSpec { replicas: Some(10), ..DeploymentSpec::default() };
        assert_eq!((spec.max_surge(), spec.max_unavailable()), (3, 2));
    }

    #[test]
    fn two_zero_bounds_still_let_one_pod_go() {
        let zero = || Some(IntOrString::Number(0));
        let rolling_update = RollingUpdate { max_surge: zero(), max_unavailable: zero() };
        let strategy = Strategy { kind: String::new(), rolling_update };
        let spec = DeploymentSpec { replicas: Some(3), strategy, ..DeploymentSpec::default() };
        assert_eq!(spec.max_unavailable(), 1);
    }
}
