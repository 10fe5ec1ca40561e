//! Endpoints: addresses of services, as they were before slices.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::endpoint_slice::{EndpointPort, TargetRef};
use super::meta::Meta;
use super::null_as_default;

/// One address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointAddress {
    /// The address.
    pub ip: Arc<str>,
    /// Its name under a headless service.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "str::is_empty")]
    pub hostname: Arc<str>,
    /// The node that it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Arc<str>>,
    /// The pod behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
}

/// Addresses that have the same ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSubset {
    /// Those that may be used.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<EndpointAddress>,
    /// Those that may not be used yet, or no more.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// The ports of all of them.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
}

/// Stored endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointsView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// The addresses.
    #[serde(deserialize_with = "null_as_default")]
    pub subsets: Vec<EndpointSubset>,
}
