//! Connections to servers in the cluster, by the link of the node that has them.

use std::fmt;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;

use bramble_api::Status;
use bramble_shared::link::{DialRequest, StreamRequest};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::super::dial::{self, Dialled};
use super::target::{Server, Target, unavailable};
use crate::http::Call;

/// Bytes both ways.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Wire for T {}

/// A connection to a server.
pub(super) type Connection = Pin<Box<dyn Wire>>;

/// Connects to a server.
///
/// # Errors
///
/// 503 with the reason.
pub(super) async fn connect(call: &Call<'_>, target: &Target) -> Result<Connection, Status> {
    let nodes = &*call.api.nodes;
    let failed =
        |why: &dyn fmt::Display| unavailable(format!("error trying to reach service: {why}"));
    let dialled = match &target.server {
        Server::NodePages => {
            let stream = nodes.open_stream(&target.node, StreamRequest::NodePages).await?;
            Dialled { stream, first: Vec::new() }
        }
        Server::Pod { uid, port } => {
            let request = DialRequest { uid: uid.clone(), port: *port };
            let request = StreamRequest::Reach(request);
            dial::connect(nodes, &target.node, request).await.map_err(|why| failed(&why))?
        }
    };
    let Dialled { stream, first } = dialled;
    let (reader, writer) = tokio::io::split(stream.compat());
    let plain = tokio::io::join(Cursor::new(first).chain(reader), writer);
    if !target.https {
        return Ok(Box::pin(plain));
    }
    let host = target.authority.split(':').next().unwrap_or_default().to_owned();
    let secured = async {
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let config = bramble_tls::unverified().map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, plain).await
    };
    Ok(Box::pin(secured.await.map_err(|error| failed(&error))?))
}
