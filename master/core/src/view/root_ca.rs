//! What is in the config map with the CA's certificate.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::null_as_default;

/// Name of that config map in every namespace.
pub const NAME: &str = "kube-root-ca.crt";

/// The part of that config map beside its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RootCaView {
    /// What it holds.
    #[serde(deserialize_with = "null_as_default")]
    pub data: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether it cannot be changed any more.
    #[serde(deserialize_with = "null_as_default")]
    pub immutable: bool,
}
