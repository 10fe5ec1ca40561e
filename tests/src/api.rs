//! A small blocking client of the API: the load generator of the benchmarks.
//!
//! HTTP/1.1 over TLS, one connection per [`Connection`], kept open; the administrator's
//! certificate from the kubeconfig that the master wrote. Has no code of bramble's in it, retries
//! nothing and caches nothing, so that what is measured is the server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::client_identity::ClientIdentity;
use crate::wait::now;

/// Longest answer to a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Media type of a body when nothing else is said.
const JSON: &str = "application/json";
/// Longest time to a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the API is and who we are.
#[derive(Clone, Debug)]
pub struct Api {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

/// A TLS session with the API's port.
pub type Secured = StreamOwned<ClientConnection, TcpStream>;

impl Api {
    /// Reads a kubeconfig with one cluster and one user, whose certificates are inside.
    ///
    /// # Errors
    /// The file cannot be read or lacks something.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).context("could not read the kubeconfig")?;
        let server = field(&text, "server")?;
        let address = server.strip_prefix("https://").unwrap_or(server).trim_end_matches('/');
        let address = address.parse().with_context(|| format!("`{server}` is no address"))?;

        let mut roots = RootCertStore::empty();
        for root in certificates(&decoded(&text, "certificate-authority-data")?)? {
            roots.add(root)?;
        }
        let chain = certificates(&decoded(&text, "client-certificate-data")?)?;
        let key = PrivateKeyDer::from_pem_slice(&decoded(&text, "client-key-data")?)
            .context("no key in the kubeconfig")?;
        let roots = Arc::new(roots);
        let tls = tls_config(&roots, Some((chain, key)), &[])?;
        Ok(Self { address, roots, tls, timeout: TIMEOUT })
    }

    /// The same API for somebody else: with another certificate or none, and with these protocols
    /// (ALPN; none means HTTP/1.1).
    ///
    /// # Errors
    /// The certificate cannot be used.
    pub fn with_client(&self, client: Option<&ClientIdentity>, alpn: &[&[u8]]) -> Result<Self> {
        let client = client.map(|client| (client.chain.clone(), client.key.clone_key()));
        let tls = tls_config(&self.roots, client, alpn)?;
        let roots = Arc::clone(&self.roots);
        Ok(Self { address: self.address, roots, tls, timeout: self.timeout })
    }

    /// The same API with another longest time to each piece of an answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where the API is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a connection, TLS included.
    ///
    /// # Errors
    /// The server does not listen, or TLS fails.
    pub fn connect(&self) -> Result<Connection> {
        self.connect_over(TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?)
    }

    /// As [`Api::connect`], over a socket that is connected already (from another address).
    ///
    /// # Errors
    /// TLS fails.
    pub fn connect_over(&self, socket: TcpStream) -> Result<Connection> {
        let stream = BufReader::with_capacity(64 * 1024, self.secure(socket)?);
        Ok(Connection { stream, host: self.address.to_string() })
    }

    /// TLS over a connected socket, and nothing in it yet.
    ///
    /// # Errors
    /// TLS fails.
    pub fn secure(&self, mut socket: TcpStream) -> Result<Secured> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        let name = ServerName::from(self.address.ip());
        let mut tls = ClientConnection::new(Arc::clone(&self.tls), name)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(tls, socket))
    }

    /// Watches a collection from its present state on, in a thread of its own.
    ///
    /// # Errors
    /// The collection cannot be listed or watched.
    pub fn follow(&self, path: &str) -> Result<Following> {
        let mut connection = self.connect()?;
        let list = connection.get(&format!("{path}?limit=1"))?;
        let revision = list
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .context("a list without resourceVersion")?;
        let path = format!("{path}?watch=1&resourceVersion={revision}&timeoutSeconds=3600");
        let socket = connection.stream.get_ref().sock.try_clone()?;
        let lines = connection.watch(&path)?.lines();
        let (send, events) = channel();
        let thread = thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            for line in lines {
                if send.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Following { events, socket, thread: Some(thread) })
    }
}

/// One kept connection to the API.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    host: String,
}

impl Connection {
    /// Sends a request and reads the whole answer: status and body.
    ///
    /// # Errors
    /// The connection breaks, or what comes is not HTTP.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<(u16, Vec<u8>)> {
        self.request_as(method, path, body.map(|body| (JSON, body)))
    }

    /// As [`Connection::request`], with a body of any media type.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn request_as(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> Result<(u16, Vec<u8>)> {
        self.send(method, path, body)?;
        let head = self.head()?;
        let mut content = Vec::new();
        match head.length {
            Some(length) => {
                content.resize(length, 0);
                self.stream.read_exact(&mut content)?;
            }
            None => while next_chunk(&mut self.stream, &mut content)? {},
        }
        Ok((head.status, content))
    }

    /// Gets a JSON document.
    ///
    /// # Errors
    /// As [`Connection::request`], or the status is not 200.
    pub fn get(&mut self, path: &str) -> Result<Value> {
        let (status, content) = self.request("GET", path, None)?;
        ensure!(status == 200, "GET {path}: {status} {}", String::from_utf8_lossy(&content));
        Ok(serde_json::from_slice(&content)?)
    }

    /// Sends a request that must succeed, and drops its answer.
    ///
    /// # Errors
    /// As [`Connection::request`], or the status is not 2xx.
    pub fn must(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<()> {
        let (status, content) = self.request(method, path, body)?;
        let said = String::from_utf8_lossy(&content);
        ensure!((200..300).contains(&status), "{method} {path}: {status} {said}");
        Ok(())
    }

    /// Sends a request and reads nothing of the answer, ever.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn send_only(&mut self, method: &str, path: &str) -> Result<()> {
        self.send(method, path, None)
    }

    /// Turns the connection into a watch. `path` carries `watch=1`.
    ///
    /// # Errors
    /// The watch is refused.
    pub fn watch(mut self, path: &str) -> Result<Watch> {
        self.send("GET", path, None)?;
        let head = self.head()?;
        ensure!(head.status == 200, "watch {path}: {}", head.status);
        ensure!(head.length.is_none(), "watch {path}: the answer is not a stream");
        // Nothing may happen for long.
        self.stream.get_ref().sock.set_read_timeout(None)?;
        Ok(Watch { lines: Lines { connection: self, read: Vec::new() } })
    }

    fn send(&mut self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Result<()> {
        let (media, content) = body.unwrap_or_default();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n",
            self.host
        );
        if body.is_some() {
            request += &format!("Content-Type: {media}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", content.len());
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(content);
        let stream = self.stream.get_mut();
        stream.write_all(&bytes)?;
        stream.flush()?;
        Ok(())
    }

    /// Reads an answer up to its body.
    fn head(&mut self) -> Result<Head> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the server closed the connection");
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("not HTTP: `{}`", line.trim()))?;
        let (mut length, mut chunked) = (None, false);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the answer ends in its headers");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        ensure!(chunked || length.is_some(), "an answer ({status}) without a length");
        Ok(Head { status, length: if chunked { None } else { length } })
    }
}

/// Start of an answer; no length means chunks.
#[derive(Debug)]
struct Head {
    status: u16,
    length: Option<usize>,
}

/// Events of a watch, each with the time at which it had come in whole. Ends with the connection.
#[derive(Debug)]
pub struct Watch {
    lines: Lines,
}

impl Watch {
    /// The same without reading the JSON, which costs time that other watches would wait for.
    #[must_use]
    pub fn lines(self) -> Lines {
        self.lines
    }
}

impl Iterator for Watch {
    type Item = (Instant, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let (time, line) = self.lines.next()?;
        Some((time, serde_json::from_slice(&line).ok()?))
    }
}

/// Lines of a watch as they are.
#[derive(Debug)]
pub struct Lines {
    connection: Connection,
    read: Vec<u8>,
}

impl Iterator for Lines {
    type Item = (Instant, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let rest = self.read.split_off(end + 1);
                return Some((now(), std::mem::replace(&mut self.read, rest)));
            }
            if !next_chunk(&mut self.connection.stream, &mut self.read).ok()? {
                return None;
            }
        }
    }
}

/// A watch that a thread reads. Ends when dropped.
#[derive(Debug)]
pub struct Following {
    events: Receiver<(Instant, Vec<u8>)>,
    socket: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Following {
    /// The next event, within `bound`.
    ///
    /// # Errors
    /// None comes, or it is not JSON.
    pub fn next(&self, bound: Duration) -> Result<(Instant, Value)> {
        let (time, line) = self.events.recv_timeout(bound).context("no event in time")?;
        Ok((time, serde_json::from_slice(&line)?))
    }

    /// Waits for an event that `wanted` likes, dropping others, and returns its time.
    ///
    /// # Errors
    /// It does not come within `bound`.
    pub fn wait_for(&self, bound: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Instant> {
        let start = now();
        let mut last = Value::Null;
        loop {
            let next = self.next(bound.saturating_sub(start.elapsed()));
            let (time, event) = next.with_context(|| format!("last seen: {last}"))?;
            if event.get("type").and_then(Value::as_str) == Some("ERROR") {
                bail!("the watch ended: {event}");
            }
            if wanted(&event) {
                return Ok(time);
            }
            last = event;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Appends the next chunk to `content`; `false` after the last.
fn next_chunk(stream: &mut impl BufRead, content: &mut Vec<u8>) -> Result<bool> {
    let mut line = String::new();
    ensure!(stream.read_line(&mut line)? > 0, "the body ends in the middle");
    let size = line.trim_end().split(';').next().unwrap_or_default();
    let size = usize::from_str_radix(size, 16).with_context(|| format!("no chunk: `{line}`"))?;
    let start = content.len();
    content.resize(start + size, 0);
    stream.read_exact(content.get_mut(start..).unwrap_or_default())?;
    // The end of the chunk; after the last one also the end of the (never used) trailer.
    line.clear();
    stream.read_line(&mut line)?;
    ensure!(line.trim_end().is_empty(), "a chunk without end");
    Ok(size > 0)
}

/// Value of the first line `KEY: VALUE`. No YAML beyond that is needed for what the master writes.
fn field<'a>(text: &'a str, key: &str) -> Result<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").split_once(": "))
        .find_map(|(name, value)| (name == key).then(|| value.trim().trim_matches('"')))
        .with_context(|| format!("the kubeconfig has no `{key}`"))
}

fn decoded(text: &str, key: &str) -> Result<Vec<u8>> {
    STANDARD.decode(field(text, key)?).with_context(|| format!("`{key}` is not base64"))
}

fn tls_config(
    roots: &Arc<RootCertStore>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots));
    let mut tls = match client {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(tls))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
    ensure!(!found.is_empty(), "no certificate in the kubeconfig");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{field, next_chunk};

    #[test]
    fn chunks_are_joined_and_the_last_ends() {
        let mut stream = &b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"[..];
        let mut content = Vec::new();
        while next_chunk(&mut stream, &mut content).unwrap() {}
        assert_eq!(content, b"abc0123456789");
        assert!(stream.is_empty());
    }

    #[test]
    fn cut_body_is_an_error() {
        assert!(next_chunk(&mut &b"5\r\nab"[..], &mut Vec::new()).is_err());
        assert!(next_chunk(&mut &b""[..], &mut Vec::new()).is_err());
    }

    #[test]
    fn fields_of_a_kubeconfig_are_found() {
        let text = "clusters:\n- name: a\n  cluster:\n    server: https://10.0.0.1:6443\n";
        assert_eq!(field(text, "server").unwrap(), "https://10.0.0.1:6443");
        assert_eq!(field(text, "name").unwrap(), "a");
        assert!(field(text, "client-key-data").is_err());
    }
}
