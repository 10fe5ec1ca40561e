//! Opens connections to what is probed, in Go's words if there is none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens a connection.
///
/// # Errors
///
/// Why there is none.
pub(super) async fn tcp(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    if port == 0 {
        return Err("couldn't find the port that the probe names".to_owned());
    }
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {host}:{port}: {}", word(&error))),
        Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}

/// Puts TLS over a connection. Nobody checks the certificate: it is made for whoever calls the pod by
/// its name, and the node calls it by its address.
///
/// # Errors
///
/// When the other side does not speak TLS.
pub(super) async fn tls(host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let config = bramble_tls::unverified().map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn word(error: &io::Error) -> String {
    let words = [
        (io::ErrorKind::ConnectionRefused, "connect: connection refused"),
        (io::ErrorKind::HostUnreachable, "connect: no route to host"),
        (io::ErrorKind::NetworkUnreachable, "connect: network is unreachable"),
    ];
    let known = words.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, word)| (*word).to_owned())
}
