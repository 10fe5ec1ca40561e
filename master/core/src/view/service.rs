//! Services: what endpoint slices are made from.

use std::sync::Arc;

use serde::Deserialize;

use super::deployment::IntOrString;
use super::labels::Labels;
use super::meta::Meta;
use super::null_as_default;

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name; may be empty if it is the only one.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Arc<str>,
    /// `TCP` (or empty), `UDP`, `SCTP`.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: Arc<str>,
    /// The number that clients use.
    pub port: i32,
    /// The pods' port: a number, a name, or missing for the same number.
    pub target_port: Option<IntOrString>,
    /// What speaks there, such as `http`.
    pub app_protocol: Option<Arc<str>>,
}

impl ServicePort {
    /// The protocol with its default.
    #[must_use]
    pub fn protocol(&self) -> &str {
        if self.protocol.is_empty() { "TCP" } else { &self.protocol }
    }
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP` (or empty), `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: Arc<str>,
    /// Labels of the pods behind it; empty means that endpoints are made by someone else.
    #[serde(deserialize_with = "null_as_default")]
    pub selector: Labels,
    /// Its ports.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<ServicePort>,
    /// Its virtual address; `None` means headless.
    #[serde(rename = "clusterIP", deserialize_with = "null_as_default")]
    pub cluster_ip: Arc<str>,
    /// `IPv4`, `IPv6`.
    #[serde(deserialize_with = "null_as_default")]
    pub ip_families: Vec<Arc<str>>,
    /// Whether pods count before they are ready.
    #[serde(deserialize_with = "null_as_default")]
    pub publish_not_ready_addresses: bool,
}

/// The part of a service that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is wanted.
    pub spec: ServiceSpec,
}
