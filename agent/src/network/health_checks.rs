//! Answers load balancers that ask whether this node has endpoints of a Service
//! (`healthCheckNodePort`), in the words of kube-proxy.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest request that is read, in bytes.
const REQUEST_LEN_MAX: usize = 4096;
/// Time that a client has.
const PATIENCE: Duration = Duration::from_secs(3);
/// Wait before a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Clients of one port at a time.
const CLIENTS_MAX: usize = 16;

/// What one port answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// The Service's namespace.
    pub(super) namespace: String,
    /// The Service's name.
    pub(super) name: String,
    /// Ready endpoints on this node.
    pub(super) endpoints: usize,
}

/// The ports that are answered. Dropping it closes them.
#[derive(Default)]
pub(super) struct HealthChecks {
    ports: BTreeMap<u16, (watch::Sender<Status>, JoinSet<()>)>,
}

impl HealthChecks {
    /// Answers exactly these.
    pub(super) fn set(&mut self, wanted: BTreeMap<u16, Status>) {
        self.ports.retain(|port, _| wanted.contains_key(port));
        for (port, status) in wanted {
            if let Some((sender, _)) = self.ports.get(&port) {
                sender.send_if_modified(|old| {
                    let changed = *old != status;
                    *old = status;
                    changed
                });
                continue;
            }
            let (sender, receiver) = watch::channel(status);
            let mut task = JoinSet::new();
            task.spawn(serve(port, receiver));
            self.ports.insert(port, (sender, task));
        }
    }
}

async fn serve(port: u16, status: watch::Receiver<Status>) {
    let listener = loop {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(%error, port, "a Service's health checks cannot be answered");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let mut clients = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while clients.try_join_next().is_some() {}
        if clients.len() < CLIENTS_MAX {
            let answer = answer(&status.borrow());
            clients.spawn(async move {
                let _ = tokio::time::timeout(PATIENCE, tell(stream, answer)).await;
            });
        }
    }
}

async fn tell(mut stream: TcpStream, answer: String) -> io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 512];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_LEN_MAX {
        let len = stream.read(&mut chunk).await?;
        if len == 0 {
            break;
        }
        request.extend_from_slice(chunk.get(..len).unwrap_or_default());
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(status: &Status) -> String {
    let Status { namespace, name, endpoints } = status;
    let word = if *endpoints == 0 { "503 Service Unavailable" } else { "200 OK" };
    // Names of Services need no escapes.
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \"{name}\"\n\t}},\n\
         \t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": true\n}}"
    );
    format!(
        "HTTP/1.1 {word}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n\
         X-Load-Balancing-Endpoint-Weight: {endpoints}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_endpoints_is_not_healthy() {
        let status =
            |endpoints| Status { namespace: "d".to_owned(), name: "web".to_owned(), endpoints };
        assert!(answer(&status(0)).starts_with("HTTP/1.1 503 "));
        let two = answer(&status(2));
        assert!(two.starts_with("HTTP/1.1 200 ") && two.contains("\"localEndpoints\": 2"), "{two}");
    }

    #[tokio::test]
    async fn a_client_is_told() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            tell(stream, "yes".to_owned()).await.unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "yes");
        server.await.unwrap();
    }
}
