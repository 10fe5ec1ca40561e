//! Endpoint slices: read from the store, compared, and written whole.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::labels::Labels;
use super::meta::{Meta, OwnerReference};
use super::null_as_default;

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// It takes new connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// It answers, even if it is terminating.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// It is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// The object behind an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// `Pod`.
    pub kind: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: Arc<str>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Its addresses; consumers use the first.
    pub addresses: Vec<Arc<str>>,
    /// Whether it may be used.
    pub conditions: EndpointConditions,
    /// Its name under a headless service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Arc<str>>,
    /// The pod behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// The node that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Arc<str>>,
}

/// A port that all endpoints of a slice have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// The service port's name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Arc<str>,
    /// `TCP`, `UDP`, `SCTP`.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: Arc<str>,
    /// The number.
    #[serde(deserialize_with = "null_as_default")]
    pub port: i32,
    /// What speaks there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<Arc<str>>,
}

/// Metadata of a slice that is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSliceMeta {
    /// The name.
    pub name: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The labels, with the service's name and the managing controller.
    pub labels: Labels,
    /// The Service or the Endpoints that own it.
    pub owner_references: Vec<OwnerReference>,
}

/// A slice that is to be written; serializes as the API object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// `discovery.k8s.io/v1`.
    pub api_version: &'static str,
    /// `EndpointSlice`.
    pub kind: &'static str,
    /// The metadata.
    pub metadata: EndpointSliceMeta,
    /// `IPv4` or `IPv6`.
    pub address_type: Arc<str>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The ports of all endpoints.
    pub ports: Vec<EndpointPort>,
}

/// A stored slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSliceView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(deserialize_with = "null_as_default")]
    pub address_type: Arc<str>,
    /// The endpoints.
    #[serde(deserialize_with = "null_as_default")]
    pub endpoints: Vec<Endpoint>,
    /// The ports of all endpoints.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<EndpointPort>,
}
