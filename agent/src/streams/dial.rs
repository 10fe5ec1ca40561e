//! Connects the other end of the node link with a port of a pod.
//!
//! A forwarded port's socket is made in the pod's network namespace, so that it reaches what listens
//! on the pod's loopback only, as upstream's does, and needs no route. A proxied request goes to the
//! pod's address, where a server may listen that is not on the loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bramble_agent_core::pod_worker::PodRecord;
use bramble_network::{NodeNetwork, namespace};
use bramble_shared::frame::{FrameDecoder, encode};
use bramble_shared::link::{DialReply, DialRequest};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::node::Node;
use crate::records;

/// Longest wait for a pod to take a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// A port of a pod, and where it is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) request: DialRequest,
    pub(crate) at: At,
}

/// Where a port is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Loopback,
    PodAddress,
}

/// Serves one connection to its end.
pub(crate) async fn serve_dial<S: AsyncRead + AsyncWrite + Unpin>(
    node: &Node,
    port: &Port,
    decoder: FrameDecoder,
    stream: &mut S,
) {
    let place = node.stream_places.enter();
    let dialled = match &place {
        Ok(_) => match port.at {
            At::Loopback => dial(node, &port.request).await,
            At::PodAddress => reach(node, &port.request).await,
        },
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

/// Connects to a port on the pod's loopback.
async fn dial(node: &Node, request: &DialRequest) -> Result<TcpStream, (u16, String)> {
    let record = running(node, request)?;
    let failed = |error: io::Error| {
        let port = request.port;
        let why = words(&error);
        let text = format!(
            "failed to connect to localhost:{port} inside namespace: dial tcp4 127.0.0.1:{port}: {why}"
        );
        (500, text)
    };
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
    connect(socket, Ipv4Addr::LOCALHOST, request.port).await.map_err(failed)
}

/// Connects to a port at the pod's own address.
async fn reach(node: &Node, request: &DialRequest) -> Result<TcpStream, (u16, String)> {
    let record = running(node, request)?;
    let ip = match record.pod_ip {
        Some(ip) => ip,
        None => return Err((503, "the pod has no address".to_owned())),
    };
    let failed = |error: io::Error| {
        (503, format!("dial tcp {ip}:{}: connect: {}", request.port, words(&error)))
    };
    let socket = TcpSocket::new_v4().map_err(failed)?;
    connect(socket, ip, request.port).await.map_err(failed)
}

fn running(node: &Node, request: &DialRequest) -> Result<PodRecord, (u16, String)> {
    records::read(&node.records_dir(), &request.uid)
        .filter(|record| !record.finished)
        .ok_or_else(|| (404, format!("pod {} not found on this node", request.uid)))
}

async fn connect(socket: TcpSocket, ip: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let connecting = socket.connect(SocketAddr::from((ip, port)));
    match tokio::time::timeout(CONNECT_TIME_MAX, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// As Go says it.
fn words(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::ConnectionRefused, "connection refused"),
        (io::ErrorKind::HostUnreachable, "no route to host"),
        (io::ErrorKind::TimedOut, "i/o timeout"),
    ];
    let known = known.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}
