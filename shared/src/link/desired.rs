//! Desired state: what the master sends on the control stream.
//!
//! Level-based: see [`crate::link`]. What it is about has files of its own: [`pod`](super::pod),
//! [`data`](super::data), [`service`](super::service).

use alloc::boxed::Box;
use alloc::string::String;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::link::data::{Data, DataKey};
use crate::link::handshake::Ipv4Range;
use crate::link::pod::Pod;
use crate::link::service::Service;
use crate::link::token::TokenReply;

/// One frame from the master on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// Something that the node needs has changed.
    Change(Change),
    /// All that the node needs, as of this revision, has been sent.
    Synced {
        /// Store revision.
        revision: u64,
    },
    /// Asks for a [`ToMaster::Pong`](super::ToMaster::Pong) with the same number.
    Ping(u64),
    /// The master's time of day, in milliseconds since 1970: told again now and then, and when the
    /// master's clock was set.
    TimeOfDay(u64),
    /// Answer to [`ToMaster::Token`](super::ToMaster::Token).
    Token(TokenReply),
}

/// A change of desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// This pod is bound here, in this form.
    Pod(Box<Pod>),
    /// No such pod exists any more: stop it at once and clean up.
    PodGone {
        /// Its uid.
        uid: String,
    },
    /// A ConfigMap or Secret that a pod here uses.
    Data(Data),
    /// It exists no more, or no pod here uses it.
    DataGone(DataKey),
    /// A Service with its endpoints.
    Service(Service),
    /// It exists no more.
    ServiceGone {
        /// Namespace of the Service.
        namespace: String,
        /// Name of the Service.
        name: String,
    },
    /// Another node of the cluster.
    Peer(Peer),
    /// It was deleted.
    PeerGone(NodeId),
}

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Number.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Address on the LAN.
    pub address: Ipv4Addr,
    /// Addresses of its pods.
    pub pod_range: Ipv4Range,
}
