//! Makes this board a node: key on the board, request over TLS, certificate into a file.
//!
//! The server must prove the CA that the token pins before it gets a byte of the secret. The
//! key is durable before it is sent, so a power cut at any point is cured by the same command.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bramble_shared::frame::{FrameDecoder, encode};
use bramble_shared::link::{JOIN_ALPN, JoinReply, JoinRequest};
use bramble_shared::node_name::valid_node_name;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::identity::{self, LoadIdentityError};
use crate::join_token::JoinToken;
use crate::server_address::Finder;
use crate::tls;

/// Longest that a join may take; a master that is up answers within a second.
const JOIN_TIME_MAX: Duration = Duration::from_secs(20);

/// Why the board is no node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// The address cannot be used.
    #[error("server `{server}` must have the form HOST:PORT")]
    Server { server: String },
    /// The name cannot be a node's.
    #[error(
        "node name `{name}` must be a DNS label of at most 63 characters; choose one with --node"
    )]
    NodeName { name: String },
    /// Nobody answers.
    #[error("could not reach the master at `{server}`")]
    Connect {
        server: String,
        #[source]
        source: io::Error,
    },
    /// It answers too slowly.
    #[error("the master at `{server}` did not answer within {} s", JOIN_TIME_MAX.as_secs())]
    Slow { server: String },
    /// Another cluster, or something in between.
    #[error(
        "the server at `{server}` does not belong to the token's cluster; nothing was sent to it"
    )]
    WrongCluster {
        server: String,
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the master broke")]
    Broken(#[source] io::Error),
    /// The master says no.
    #[error("the master refused: {reason}")]
    Refused { reason: String },
    /// The master's answer is not as it should be.
    #[error("the master's answer could not be understood; is it a newer version?")]
    Answer,
    /// The answer names another CA than the token.
    #[error("the master's answer names another CA than the token")]
    WrongCa,
    /// The key cannot be used.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// The request could not be made.
    #[error("could not make a certificate request")]
    Request(#[source] rcgen::Error),
    /// TLS could not be set up.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
    /// The certificate could not be kept.
    #[error("could not keep the certificate in `{}`", path.display())]
    Keep {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Joins and keeps the identity in `identity_dir`.
///
/// # Errors
///
/// Nothing has changed then but the key, which the next try uses again.
pub(crate) async fn join(
    token: &JoinToken,
    finder: &Finder,
    server: &str,
    node_name: &str,
    identity_dir: &std::path::Path,
) -> Result<(), JoinError> {
    if !valid_node_name(node_name) {
        return Err(JoinError::NodeName { name: node_name.to_owned() });
    }
    let key = identity::open_key(identity_dir)?;
    let csr = request(&key, node_name)?;
    let asked = ask(token, finder, server, node_name, csr);
    let reply = tokio::time::timeout(JOIN_TIME_MAX, asked)
        .await
        .unwrap_or_else(|_| Err(JoinError::Slow { server: server.to_owned() }))?;
    match reply {
        JoinReply::Refused { reason } => Err(JoinError::Refused { reason }),
        JoinReply::Accepted { certificate, ca } => {
            if tls::key_sha256(&ca) != Some(token.ca_key_sha256) {
                return Err(JoinError::WrongCa);
            }
            identity::store(identity_dir, &certificate, &ca)
                .map_err(|source| JoinError::Keep { path: identity_dir.to_owned(), source })
        }
    }
}

fn request(key: &rcgen::KeyPair, node_name: &str) -> Result<Vec<u8>, JoinError> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("system:node:{node_name}"));
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    let request = params.serialize_request(key).map_err(JoinError::Request)?;
    Ok(request.der().to_vec())
}

async fn ask(
    token: &JoinToken,
    finder: &Finder,
    server: &str,
    node_name: &str,
    csr: Vec<u8>,
) -> Result<JoinReply, JoinError> {
    let name =
        server_name(server).ok_or_else(|| JoinError::Server { server: server.to_owned() })?;
    let config = tls::join_config(token.ca_key_sha256, JOIN_ALPN).map_err(JoinError::Tls)?;
    let socket = finder
        .connect(server)
        .await
        .map_err(|source| JoinError::Connect { server: server.to_owned(), source })?;
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|source| JoinError::WrongCluster { server: server.to_owned(), source })?;
    let request = JoinRequest { token: token.secret.clone(), node_name: node_name.to_owned(), csr };
    let frame = encode(&request).map_err(|_| JoinError::Answer)?;
    stream.write_all(&frame).await.map_err(JoinError::Broken)?;
    stream.flush().await.map_err(JoinError::Broken)?;
    let mut decoder = FrameDecoder::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let len = stream.read(&mut chunk).await.map_err(JoinError::Broken)?;
        if len == 0 {
            return Err(JoinError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        decoder.push(chunk.get(..len).unwrap_or_default());
        if let Some(reply) = decoder.decode().map_err(|_| JoinError::Answer)? {
            return Ok(reply);
        }
    }
}

/// The host part of `host:port` in the form that TLS wants.
pub(crate) fn server_name(server: &str) -> Option<ServerName<'static>> {
    let (host, port) = server.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::net::TcpListener;

    /// A server with a CA of its own; counts the bytes that it gets after the handshake.
    async fn server() -> (String, [u8; 32], tokio::task::JoinHandle<usize>) {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap().der().clone();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["m1".to_owned()]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key, &Issuer::new(params, ca_key)).unwrap().der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let hash = tls::key_sha256(&ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf, ca.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let served = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(socket).await else { return 0 };
            let mut bytes = vec![0; 4096];
            let len = stream.read(&mut bytes).await.unwrap_or(0);
            let reply =
                JoinReply::Accepted { certificate: b"certificate".to_vec(), ca: ca.to_vec() };
            let _ = stream.write_all(&encode(&reply).unwrap()).await;
            let _ = stream.flush().await;
            len
        });
        (address, hash, served)
    }

    fn finder() -> Finder {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let flags = crate::config::File::default();
        Finder::new(&crate::config::Config::load(Some(empty.path()), &flags).unwrap(), "pi-1")
    }

    #[tokio::test]
    async fn board_keeps_what_the_right_server_gives() {
        let folder = tempfile::tempdir().unwrap();
        let (address, hash, served) = server().await;
        let token = JoinToken { ca_key_sha256: hash, secret: "id.secret".to_owned() };
        join(&token, &finder(), &address, "pi-1", folder.path()).await.unwrap();
        assert!(served.await.unwrap() > 100);
        let identity = identity::Identity::load(folder.path()).unwrap();
        assert_eq!(identity.certificate.as_ref(), b"certificate");
    }

    #[tokio::test]
    async fn wrong_server_gets_no_byte_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (address, _, served) = server().await;
        let token = JoinToken { ca_key_sha256: [9; 32], secret: "id.secret".to_owned() };
        let error = join(&token, &finder(), &address, "pi-1", folder.path()).await.unwrap_err();
        assert!(matches!(error, JoinError::WrongCluster { .. }), "{error}");
        assert_eq!(served.await.unwrap(), 0);
    }

    #[test]
    fn addresses_are_checked() {
        assert!(server_name("10.0.0.1:6443").is_some());
        assert!(server_name("pi-1.local:6443").is_some());
        assert!(server_name("pi-1.local").is_none());
    }
}
