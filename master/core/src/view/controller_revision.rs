//! Revisions of stateful sets and daemon sets.

use serde::Deserialize;
use serde_json::Value;

use super::meta::Meta;
use super::null_as_default;

/// The part of a controller revision that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ControllerRevisionView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// The larger is the newer.
    #[serde(deserialize_with = "null_as_default")]
    pub revision: i64,
    /// A patch that leads back to it: `{"spec": {"template": ...}}`.
    pub data: Value,
}
