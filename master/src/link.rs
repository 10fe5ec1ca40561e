//! The node link: what master and agents say to each other over TLS.
//!
//! Implements [`NodePort`] for the API server. Knows nothing of HTTP, of scheduling, or of who is
//! alive (see [`crate::heartbeat`]); it sends what [`Desired`] holds and stores what nodes report.

mod access;
mod active;
mod bounds;
mod budget;
mod claims;
mod data;
mod desired;
mod diff;
mod field;
pub(crate) mod framed;
mod join;
mod logs;
mod mux;
mod node_address;
mod node_status;
mod pending;
mod pod;
mod pod_status;
mod ranges;
mod refusals;
mod registration;
mod reports;
mod service;
mod session;
mod streams;
mod time_told;
mod tokens;
mod upgrade;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bramble_api::Status;
use bramble_master_core::vitals::Vitals;
use bramble_process::panics;
use bramble_shared::link::{Ipv4Range, LogsRequest, StreamRequest, UpgradeReply, UpgradeRequest};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

pub(crate) use desired::Desired;
pub(crate) use logs::refusal;

use crate::access::AccountTokens;
use crate::clock;
use crate::control::events::EventRecorder;
use crate::heartbeat::Heartbeats;
use crate::node_port::{NodePort, NodeStream};
use crate::objects::Objects;
use crate::pki::{Identity, certificate_key_sha256};
use crate::telemetry::Chain;
use crate::token::Tokens;
use active::ActiveLinks;
use budget::{Budgets, Cost};
use node_address::Plan;
use pending::PendingLinks;
use refusals::Refusals;
use registration::Registration;

/// A node's number.
pub(crate) const NODE_ID_ANNOTATION: &str = "bramble.io/node-id";
/// The serial of a node's board, pinned by its first hello.
const SERIAL_ANNOTATION: &str = "bramble.io/serial";
/// How a node stops singletons that lost their lease.
const FENCE_ANNOTATION: &str = "bramble.io/fence";

/// The slot that a card's board runs.
const SLOT_ANNOTATION: &str = "bramble.io/slot";
/// Version of the system in it.
const IMAGE_VERSION_ANNOTATION: &str = "bramble.io/image-version";
/// How its last upgrade went: `trying`, `kept` or `rolled back: <reason>`.
const UPGRADE_ANNOTATION: &str = "bramble.io/upgrade";

/// What every node is told of its cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterFacts {
    /// Addresses of all pods.
    pub(crate) cluster_range: Ipv4Range,
    /// Addresses of Services.
    pub(crate) service_range: Ipv4Range,
    /// Address of cluster DNS.
    pub(crate) dns: Ipv4Addr,
    /// Domain of cluster DNS.
    pub(crate) domain: String,
    /// UDP port of heartbeats.
    pub(crate) heartbeat_port: u16,
    /// Address of the master: an agent there is on the master's own board.
    pub(crate) master_address: Ipv4Addr,
}

/// The node link of the cluster.
#[derive(Debug)]
pub(crate) struct NodeLink {
    identity: Arc<Identity>,
    tokens: Arc<Tokens>,
    account_tokens: Arc<AccountTokens>,
    objects: Objects,
    events: Arc<EventRecorder>,
    heartbeats: Arc<Heartbeats>,
    desired: Arc<Desired>,
    registration: Registration,
    active: ActiveLinks,
    refusals: Mutex<Refusals>,
    pending: PendingLinks,
    budgets: Mutex<Budgets>,
    facts: ClusterFacts,
}

impl NodeLink {
    /// A link without nodes.
    pub(crate) fn new(
        identity: Arc<Identity>,
        (tokens, account_tokens): (Arc<Tokens>, Arc<AccountTokens>),
        objects: Objects,
        events: Arc<EventRecorder>,
        heartbeats: Arc<Heartbeats>,
        facts: ClusterFacts,
    ) -> Self {
        let plan = Plan {
            cluster_range: facts.cluster_range,
            service_range: facts.service_range,
            master: facts.master_address,
        };
        let registration = Registration::new(objects.clone(), plan);
        Self {
            identity,
            tokens,
            account_tokens,
            objects,
            events,
            heartbeats,
            desired: Arc::default(),
            registration,
            active: ActiveLinks::default(),
            refusals: Mutex::default(),
            pending: PendingLinks::default(),
            budgets: Mutex::default(),
            facts,
        }
    }

    /// What nodes need, to be fed by the control loop.
    pub(crate) const fn desired(&self) -> &Arc<Desired> {
        &self.desired
    }

    /// Ends the session of a node whose object was deleted; it may come again, as a new node.
    pub(crate) fn disconnect(&self, node: &str) {
        self.active.disconnect(node);
    }

    /// Takes what a message of a node has cost; says how long to read nothing more of it.
    fn spend(&self, node: &str, cost: Cost) -> Duration {
        let mut budgets =
            self.budgets.lock().unwrap_or_else(|_| panics::torn("the budgets of nodes"));
        budgets.spend(node, cost, clock::monotonic())
    }

    fn lock_refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(|_| panics::torn("the refusals"))
    }
}

#[async_trait]
impl NodePort for NodeLink {
    async fn join(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        // Whoever shows a certificate here has its key, which may vouch for a new one.
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let voucher = shown.and_then(|shown| certificate_key_sha256(shown).ok());
        join::serve(stream.compat(), peer, voucher, self).await;
    }

    async fn link(&self, stream: TlsStream<TcpStream>, peer: SocketAddr, node: String) {
        match session::serve(self, stream, peer, &node).await {
            Ok(why) => tracing::info!(%node, %peer, why, "node link ended"),
            Err(error) if error.lost() => {
                // Ordinary for boards: power and cables come and go.
                tracing::info!(%node, %peer, "connection lost");
                tracing::debug!(%node, %peer, error = %Chain(&error), "why the connection was lost");
            }
            Err(error) if error.repeated() => {
                tracing::debug!(%node, %peer, error = %Chain(&error), "node link refused");
            }
            Err(error) => {
                tracing::warn!(%node, %peer, error = %Chain(&error), "node link failed");
            }
        }
    }

    async fn may_speak(&self, node: &str, certificate: &CertificateDer<'_>) -> bool {
        let Ok(key) = certificate_key_sha256(certificate) else { return false };
        let access = self.tokens.access(node, &key, clock::time_of_day_ms()).await;
        access.is_ok_and(|access| access.speaks)
    }

    async fn revoke(&self, node: &str) -> Result<(), Status> {
        self.end_access(node).await
    }

    async fn permit_replace(&self, node: &str, ttl_s: u64) -> Result<u64, Status> {
        self.let_replace(node, ttl_s).await
    }

    fn vitals(&self) -> BTreeMap<Arc<str>, Vitals> {
        self.heartbeats.vitals()
    }

    async fn logs(
        &self,
        node: &str,
        request: LogsRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let opener = self
            .active
            .opener(node)
            .ok_or_else(|| Status::unavailable(format!("node `{node}` is not connected"), 1))?;
        logs::open(&opener, request).await
    }

    async fn open_stream(&self, node: &str, request: StreamRequest) -> Result<NodeStream, Status> {
        let opener = self
            .active
            .opener(node)
            .ok_or_else(|| Status::unavailable(format!("node `{node}` is not connected"), 1))?;
        streams::open(&opener, &request).await
    }

    async fn upgrade(
        &self,
        node: &str,
        bytes: Option<u64>,
        pieces: BoxStream<'static, Result<Bytes, Status>>,
    ) -> Result<BoxStream<'static, Result<UpgradeReply, Status>>, Status> {
        let opener = self
            .active
            .opener(node)
            .ok_or_else(|| Status::unavailable(format!("node `{node}` is not connected"), 1))?;
        upgrade::open(&opener, UpgradeRequest { bytes }, pieces).await
    }
}
