//! The port through which the API server hands nodes over, and reaches them.
//!
//! The TLS listener recognises nodes by ALPN and gives their streams to this trait; the node
//! link implements it. The HTTP handlers ask it for what only a node has, such as logs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bramble_api::Status;
use bramble_master_core::vitals::Vitals;
use bramble_shared::link::{LogsRequest, StreamRequest, UpgradeReply};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A stream to a node; dropping it ends what the node does for it.
pub(crate) type NodeStream = yamux::Stream;

/// What the API server knows of the node link.
#[async_trait]
pub(crate) trait NodePort: Send + Sync {
    /// Serves one connection of a board that wants to become a node, to its end.
    async fn join(&self, stream: TlsStream<TcpStream>, peer: SocketAddr);

    /// Serves the session of a node, to its end.
    ///
    /// `node` is the name in the client certificate (`CN=system:node:<name>`, `O=system:nodes`),
    /// which was verified against the cluster's CA.
    async fn link(&self, stream: TlsStream<TcpStream>, peer: SocketAddr, node: String);

    /// Whether the holder of a node's certificate may still speak for it.
    async fn may_speak(&self, node: &str, certificate: &CertificateDer<'_>) -> bool;

    /// Ends the access of a node, durably and at once: its session, its heartbeats, its certificate.
    ///
    /// # Errors
    ///
    /// When there is no such node, or it cannot be stored.
    async fn revoke(&self, node: &str) -> Result<(), Status>;

    /// Lets one other board take a node's name within `ttl_s` seconds; returns the end of that, time
    /// of day in milliseconds.
    ///
    /// # Errors
    ///
    /// When there is no such node, or it cannot be stored.
    async fn permit_replace(&self, node: &str, ttl_s: u64) -> Result<u64, Status>;

    /// How the boards are that are in contact, by node name.
    fn vitals(&self) -> BTreeMap<Arc<str>, Vitals>;

    /// Opens a container's log on its node.
    ///
    /// # Errors
    ///
    /// When the node is not connected or refuses; the status is fit for the client.
    async fn logs(
        &self,
        node: &str,
        request: LogsRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status>;

    /// Opens a stream to a node and asks for something on it; its answer is still to be read.
    ///
    /// # Errors
    ///
    /// When the node is not connected.
    async fn open_stream(&self, node: &str, request: StreamRequest) -> Result<NodeStream, Status>;

    /// Sends a new system to a node, piece by piece as fast as it takes them, and gives back what
    /// the node says meanwhile. `bytes` is how long the whole is, if that is known.
    ///
    /// # Errors
    ///
    /// When the node is not connected or refuses; the status is fit for the client.
    async fn upgrade(
        &self,
        node: &str,
        bytes: Option<u64>,
        pieces: BoxStream<'static, Result<Bytes, Status>>,
    ) -> Result<BoxStream<'static, Result<UpgradeReply, Status>>, Status>;
}
