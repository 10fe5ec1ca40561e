//! Connections to servers in the cluster, by the link of the node that has them.

use std::fmt;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;

use bramble_api::Status;
use bramble_shared::link::{DialRequest, StreamRequest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
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
        TlsConnector::from(Arc::new(believing()?)).connect(name, plain).await
    };
    Ok(Box::pin(secured.await.map_err(|error| failed(&error))?))
}

/// Believes every certificate, as upstream: a pod's is made for whoever calls it by its name, and is
/// called by its address here.
fn believing() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let verifier = Arc::new(Anybody(provider));
    Ok(versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

struct Anybody(Arc<CryptoProvider>);

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
