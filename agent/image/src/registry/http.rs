//! One GET over HTTP or HTTPS: connect, follow redirects, read bounded pieces, time out.
//!
//! Knows nothing of registries. A redirect never carries the authorization on: every host gets what
//! was meant for it. None leads from HTTPS to HTTP. Each request has its own connection: a pull
//! makes about ten.

use std::{collections::BTreeMap, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Registries;

/// Sends requests with the trust that was configured.
pub(super) struct Transport {
    public: Arc<ClientConfig>,
    /// By `host[:port]`, for those with authorities of their own.
    by_host: BTreeMap<String, Arc<ClientConfig>>,
}

impl Transport {
    pub(super) fn new(registries: &Registries) -> Result<Self, NewTransportError> {
        let roots = public_roots();
        let mut by_host = BTreeMap::new();
        for (host, config) in &registries.registries {
            if let Some(path) = &config.ca_file {
                let unreadable = |source| NewTransportError::CaFile { path: path.clone(), source };
                let mut roots = roots.clone();
                let mut count = 0;
                for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                    roots.add(certificate.map_err(unreadable)?)?;
                    count += 1;
                }
                if count == 0 {
                    return Err(NewTransportError::EmptyCaFile { path: path.clone() });
                }
                by_host.insert(host.clone(), client_config(roots)?);
            }
        }
        Ok(Self { public: client_config(roots)?, by_host })
    }

    /// Gets `url`, following redirects; `authorization` says what each origin is sent.
    pub(super) async fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
        authorization: impl Fn(&str) -> Option<HeaderValue>,
        plain_allowed: bool,
    ) -> Result<Answer, SendError> {
        let mut uri: Uri = url.parse().map_err(|_| SendError::Address)?;
        for _ in 0..REDIRECTS_MAX {
            let origin = origin(&uri).ok_or(SendError::Address)?;
            let mut request = Request::get(uri.clone());
            if let Some(map) = request.headers_mut() {
                map.extend(headers.clone());
                map.extend(authorization(&origin).map(|value| (header::AUTHORIZATION, value)));
            }
            let request = request.body(Empty::new()).map_err(|_| SendError::Address)?;
            let plain = uri.scheme_str() == Some("http");
            if plain && !plain_allowed {
                return Err(SendError::PlainHttp {
                    host: uri.host().unwrap_or_default().to_owned(),
                });
            }
            let response = self.send(&uri, request).await?;
            if !is_redirect(response.status()) {
                return Ok(Answer { response, origin });
            }
            let location =
                response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = resolve_location(&uri, location.ok_or(SendError::Redirect)?)
                .ok_or(SendError::Redirect)?;
            if !plain && next.scheme_str() != Some("https") {
                return Err(SendError::PlainHttp {
                    host: next.host().unwrap_or_default().to_owned(),
                });
            }
            uri = next;
        }
        Err(SendError::Redirect)
    }

    async fn send(
        &self,
        uri: &Uri,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let host = uri.host().ok_or(SendError::Address)?;
        let plain = uri.scheme_str() == Some("http");
        let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
        let authority = uri.authority().ok_or(SendError::Address)?.as_str().to_owned();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((bare, port))).await;
        let stream = connected.map_err(|_| SendError::Silent)?.map_err(SendError::Connect)?;
        stream.set_nodelay(true).map_err(SendError::Connect)?;
        let host_value = HeaderValue::try_from(&authority).map_err(|_| SendError::Address)?;
        request.headers_mut().insert(header::HOST, host_value);
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("bramble/0.1"));
        *request.uri_mut() = uri
            .path_and_query()
            .map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
        let answered = async {
            if plain {
                return exchange(stream, request).await;
            }
            let config = self.by_host.get(&authority).unwrap_or(&self.public);
            let name = ServerName::try_from(bare.to_owned()).map_err(|_| SendError::Address)?;
            let stream = TlsConnector::from(Arc::clone(config))
                .connect(name, stream)
                .await
                .map_err(SendError::tls)?;
            exchange(stream, request).await
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answered).await.map_err(|_| SendError::Silent)?
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transport").finish_non_exhaustive()
    }
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, SendError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the body, or when the answer is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a registry ended early");
        }
    });
    Ok(sender.send_request(request).await?)
}

/// Scheme and authority: who answers, and to whom an authorization may be shown.
pub(super) fn origin(uri: &Uri) -> Option<String> {
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    Some(format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()))
}

/// An answer whose body is read piece by piece.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response<Incoming>,
    /// Who gave it, after all redirects.
    origin: String,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Returns the next piece of the body, `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, SendError> {
        loop {
            let frame = tokio::time::timeout(PIECE_TIMEOUT, self.response.body_mut().frame()).await;
            match frame.map_err(|_| SendError::Silent)? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(piece) = frame?.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Resolves an absolute address, or a path on the same host.
fn resolve_location(base: &Uri, location: &str) -> Option<Uri> {
    let text = if location.starts_with("//") {
        format!("{}:{location}", base.scheme_str()?)
    } else if location.starts_with('/') {
        format!("{}://{}{location}", base.scheme_str()?, base.authority()?)
    } else {
        location.to_owned()
    };
    let uri: Uri = text.parse().ok()?;
    (uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))).then_some(uri)
}

/// The public web's authorities, and those that the operating system adds.
fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // A flashed board has none of its own.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Why the configured trust could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NewTransportError {
    /// A `ca_file` could not be read.
    #[error("could not read certificate authorities from `{}`", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A `ca_file` has no certificate in it.
    #[error("no certificate authority in `{}`", path.display())]
    EmptyCaFile {
        /// The file.
        path: PathBuf,
    },
    /// A certificate is no authority.
    #[error("could not use certificate authorities")]
    Tls(#[from] rustls::Error),
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("malformed address")]
    Address,
    #[error("could not connect")]
    Connect(#[source] io::Error),
    #[error("could not agree on TLS")]
    Tls(#[source] io::Error),
    #[error("server gave HTTP response to HTTPS client")]
    NoTls,
    #[error("no answer in time")]
    Silent,
    #[error("download is too slow to be waited for")]
    Slow,
    #[error("could not exchange messages")]
    Exchange(#[from] hyper::Error),
    #[error("malformed or endless redirect")]
    Redirect,
    #[error("plain HTTP to `{host}` is not configured")]
    PlainHttp { host: String },
}

impl SendError {
    fn tls(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                Self::NoTls
            }
            Some(_) | None => Self::Tls(error),
        }
    }
}

/// Enough for a name server that is slow and a packet that is lost.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Until the head of an answer; registries look into cold storage for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two pieces of a body.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

/// Real registries need two.
const REDIRECTS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_against_the_host() {
        let base: Uri = "https://r.io:5000/v2/a".parse().unwrap();
        let resolve = |location| resolve_location(&base, location).map(|uri| uri.to_string());
        assert_eq!(resolve("/x?y").as_deref(), Some("https://r.io:5000/x?y"));
        assert_eq!(resolve("http://cdn.io/x").as_deref(), Some("http://cdn.io/x"));
        assert_eq!(resolve("//cdn.io/x").as_deref(), Some("https://cdn.io/x"));
        assert_eq!(resolve("file:///etc/passwd"), None);
        assert_eq!(resolve("x/y"), None);
    }
}
