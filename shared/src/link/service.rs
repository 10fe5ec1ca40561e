//! Services with the endpoints that a node may send to.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::link::container::Protocol;

/// A Service with the endpoints that its node may send to, and what DNS says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Cluster address; none for a headless Service and for an external name.
    pub cluster_ip: Option<Ipv4Addr>,
    /// The name elsewhere that this Service stands for (`ExternalName`), else empty.
    pub external_name: String,
    /// Addresses outside that the Service answers on as well.
    pub external_ips: Vec<Ipv4Addr>,
    /// Session affinity by client address, with its time-out in seconds.
    pub affinity_s: Option<u32>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// `publishNotReadyAddresses`: endpoints count whatever state they are in.
    pub publish_not_ready: bool,
    /// Port at which a node says whether it has endpoints of its own, 0 for none.
    pub health_check_port: u16,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Ready endpoints that have names of their own: all of a headless Service, of others those with
    /// a host name.
    pub hosts: Vec<EndpointHost>,
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
    /// Endpoints that are ready, or that end and still serve.
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
    /// It ends and still serves: used only where no other is left.
    pub terminating: bool,
}

/// An endpoint by its name in DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointHost {
    /// Address.
    pub ip: Ipv4Addr,
    /// Host name; empty for the one that is made of its address.
    pub hostname: String,
    /// Node on which it runs.
    pub node: Option<NodeId>,
}
