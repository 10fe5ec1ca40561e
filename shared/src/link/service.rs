//! Services with the endpoints that a node may send to.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::link::container::Protocol;

/// A Service with the endpoints that its node may send to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Cluster address; none for a headless Service.
    pub cluster_ip: Option<Ipv4Addr>,
    /// Addresses outside that the Service answers on as well.
    pub external_ips: Vec<Ipv4Addr>,
    /// Session affinity by client address, with its time-out in seconds.
    pub affinity_s: Option<u32>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Name, possibly empty.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port at the cluster address.
    pub port: u16,
    /// Port on every node, 0 for none.
    pub node_port: u16,
    /// Ready endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Address.
    pub ip: Ipv4Addr,
    /// Port.
    pub port: u16,
    /// Node on which it runs, so that it can be left out when that node is unreachable.
    pub node: Option<NodeId>,
}
