//! Connects the other end of the node link with a port of a pod.
//!
//! The socket is made in the pod's network namespace, so that it reaches what listens on the
//! pod's loopback only, as upstream's does, and needs no route.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bramble_network::{NodeNetwork, namespace};
use bramble_shared::frame::{FrameDecoder, encode};
use bramble_shared::link::{DialReply, DialRequest};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::node::Node;
use crate::records;

/// Longest wait for a pod to take a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Serves one connection to its end.
pub(crate) async fn serve_dial<S: AsyncRead + AsyncWrite + Unpin>(
    node: &Node,
    request: &DialRequest,
    decoder: FrameDecoder,
    stream: &mut S,
) {
    let place = node.stream_places.enter();
    let dialled = match &place {
        Ok(_) => dial(node, request).await,
        Err(message) => Err((429, message.clone())),
    };
    let (reply, connection) = match dialled {
        Ok(connection) => (DialReply::Open, Some(connection)),
        Err((status, message)) => (DialReply::Failed { status, message }, None),
    };
    let Ok(frame) = encode(&reply) else { return };
    if stream.write_all(&frame).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    // The master sends nothing before it knows that the connection stands.
    if let Some(mut connection) = connection
        && decoder.is_empty()
    {
        let copied = tokio::io::copy_bidirectional(stream, &mut connection).await;
        if let Err(error) = copied {
            tracing::debug!(%error, "connection to a pod ended");
        }
    }
}

async fn dial(node: &Node, request: &DialRequest) -> Result<TcpStream, (u16, String)> {
    let record = records::read(&node.records_dir(), &request.uid)
        .filter(|record| !record.finished)
        .ok_or_else(|| (404, format!("pod {} not found on this node", request.uid)))?;
    let failed = |error: io::Error| (500, words(request.port, &error));
    let socket = if record.pod.host_network {
        TcpSocket::new_v4().map_err(failed)?
    } else {
        let path = NodeNetwork::namespace_path_in(&node.config.run_dir, &request.uid);
        let made = move || namespace::make_inside(path, TcpSocket::new_v4);
        match tokio::task::spawn_blocking(made).await {
            Ok(made) => made.map_err(|error| failed(io::Error::other(error)))?,
            Err(error) => return Err(failed(io::Error::other(error))),
        }
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, request.port));
    let connected = tokio::time::timeout(CONNECT_TIME_MAX, socket.connect(address)).await;
    connected.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)
}

/// As upstream's runtimes say it.
fn words(port: u16, error: &io::Error) -> String {
    let why = if error.kind() == io::ErrorKind::ConnectionRefused {
        "connection refused".to_owned()
    } else if error.kind() == io::ErrorKind::TimedOut {
        "i/o timeout".to_owned()
    } else {
        error.to_string()
    };
    format!(
        "failed to connect to localhost:{port} inside namespace: dial tcp4 127.0.0.1:{port}: {why}"
    )
}
