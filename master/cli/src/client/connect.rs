//! Opening a connection: TCP, TLS, HTTP.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Tls, chain};
use crate::error::CliError;
use crate::kubeconfig::Target;

/// On a local network an answer takes milliseconds; a lost first packet is repeated after 1 s and
/// again after 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// What a request may send.
pub(super) trait RequestBody:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> RequestBody for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static
{
}

/// Opens connections to one server.
pub(super) struct Connector {
    server: String,
    host: String,
    port: u16,
    authority: String,
    prefix: String,
    /// None for `http://`, as behind `kubectl proxy`.
    tls: Option<(Tls, ServerName<'static>)>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(target: &Target) -> Result<Self, CliError> {
        let wrong =
            |problem: String| CliError::Kubeconfig { origin: target.origin.clone(), problem };
        let not_an_address = || {
            wrong(format!("server `{}` is not an address such as https://HOST:6443", target.server))
        };
        let uri: Uri = target.server.parse().map_err(|_| not_an_address())?;
        let authority = uri.authority().ok_or_else(not_an_address)?;
        let (default_port, encrypted) = match uri.scheme_str() {
            Some("https") => (443, true),
            Some("http") => (80, false),
            Some(_) | None => return Err(not_an_address()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if encrypted {
            let name = target.tls_server_name.clone().unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name).map_err(|_| not_an_address())?;
            Some((Arc::new(tls_config(target).map_err(wrong)?), name))
        } else {
            None
        };
        Ok(Self {
            server: target.server.clone(),
            port: authority.port_u16().unwrap_or(default_port),
            host,
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls,
        })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// What comes before `/api` in paths.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Opens a connection for requests whose bodies are `B`.
    pub(super) async fn connect<B: RequestBody>(&self) -> Result<SendRequest<B>, CliError> {
        timeout(CONNECT_TIMEOUT, self.open()).await.map_err(|_| {
            self.unreachable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))
        })?
    }

    async fn open<B: RequestBody>(&self) -> Result<SendRequest<B>, CliError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| self.unreachable(chain(&error)))?;
        // Requests are small and someone waits for each.
        tcp.set_nodelay(true).map_err(|error| self.unreachable(chain(&error)))?;
        match &self.tls {
            None => self.handshake(tcp).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector
                    .connect(name.clone(), tcp)
                    .await
                    .map_err(|error| self.tls_failed(&error))?;
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<B: RequestBody>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<SendRequest<B>, CliError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(chain(&error)))?;
        // Ends when the sender is dropped; what goes wrong shows in the answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn unreachable(&self, reason: String) -> CliError {
        CliError::Unreachable { server: self.server.clone(), reason }
    }

    fn tls_failed(&self, error: &io::Error) -> CliError {
        let certificate = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
        let reason = chain(error);
        if certificate {
            CliError::Untrusted { server: self.server.clone(), reason }
        } else {
            self.unreachable(reason)
        }
    }
}

fn tls_config(target: &Target) -> Result<ClientConfig, String> {
    let authority = target
        .authority
        .as_ref()
        .ok_or("the cluster names no certificate-authority, so the server cannot be trusted")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        let certificate =
            certificate.map_err(|error| format!("certificate-authority is not PEM ({error})"))?;
        roots.add(certificate).map_err(|error| format!("certificate-authority: {error}"))?;
    }
    if roots.is_empty() {
        return Err("certificate-authority has no certificate in it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((certificates, key)) = &target.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let certificates = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("client-certificate is not PEM ({error})"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("client-key is not PEM ({error})"))?;
    builder
        .with_client_auth_cert(certificates, key)
        .map_err(|error| format!("client-certificate and client-key: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(server: &str) -> Target {
        Target {
            origin: "test".to_owned(),
            context: String::new(),
            server: server.to_owned(),
            tls_server_name: None,
            authority: None,
            identity: None,
            token: None,
            namespace: None,
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let connector = Connector::new(&target("http://[::1]:8001/proxy/")).unwrap();
        assert_eq!((connector.host.as_str(), connector.port), ("::1", 8001));
        assert_eq!((connector.prefix(), connector.authority()), ("/proxy", "[::1]:8001"));
        assert_eq!(Connector::new(&target("http://pi-1")).unwrap().port, 80);
    }

    #[test]
    fn wrong_addresses_and_missing_trust_are_said_so() {
        for server in ["pi-1:6443", "ftp://pi-1", "https://", "10.0.0.1"] {
            let text = Connector::new(&target(server)).unwrap_err().to_string();
            assert!(text.contains("https://HOST:6443"), "{server}: {text}");
        }
        let text = Connector::new(&target("https://pi-1:6443")).unwrap_err().to_string();
        assert!(text.contains("certificate-authority"), "{text}");
    }

    #[tokio::test]
    async fn closed_port_is_unreachable() {
        let connector = Connector::new(&target("http://127.0.0.1:1")).unwrap();
        let text =
            connector.connect::<http_body_util::Full<Bytes>>().await.unwrap_err().to_string();
        assert!(text.contains("could not reach") && text.contains("refused"), "{text}");
    }
}
