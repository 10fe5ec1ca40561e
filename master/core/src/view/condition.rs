//! Conditions, as pods, nodes, namespaces and workloads report them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::timestamp::Timestamp;

/// A condition's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What the condition says, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// Whether it holds.
    pub status: Status,
    /// Why, in CamelCase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
    /// When the status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
    /// When it was last updated; only deployments have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Timestamp>,
}

impl Condition {
    /// A condition that changed at `now`.
    #[must_use]
    pub fn new(kind: &str, status: Status, reason: &str, message: &str, now: Timestamp) -> Self {
        Self {
            kind: Arc::from(kind),
            status,
            reason: Some(Arc::from(reason)),
            message: Some(Arc::from(message)),
            last_transition_time: Some(now),
            last_update_time: None,
        }
    }

    /// Whether both say the same, whenever they began to.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.status == other.status
            && self.reason.as_deref().unwrap_or_default()
                == other.reason.as_deref().unwrap_or_default()
            && self.message.as_deref().unwrap_or_default()
                == other.message.as_deref().unwrap_or_default()
    }
}

/// Finds a condition by its type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| &*condition.kind == kind)
}
