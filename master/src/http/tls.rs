//! The TLS side of the port: which certificates are shown and which are believed.

use std::sync::Arc;

use bramble_shared::link::{JOIN_ALPN, LINK_ALPN};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use crate::pki::CertificateAndKey;

/// Why the port's TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The certificates do not fit.
    #[error("the server's certificate cannot be used")]
    Certificate(#[from] rustls::Error),
    /// The CA cannot verify clients.
    #[error("the CA cannot be used to verify clients")]
    Verifier(#[from] VerifierBuilderError),
}

/// Returns the configuration of the port.
///
/// Clients may come without a certificate (boards that want to join, health checks); one that
/// is shown must be the CA's.
///
/// # Errors
///
/// When a certificate cannot be used.
pub(crate) fn server_config(
    ca: &CertificateDer<'static>,
    (chain, key): CertificateAndKey,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = [LINK_ALPN, JOIN_ALPN, b"h2", b"http/1.1"].map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}
