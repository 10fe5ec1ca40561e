//! TLS to the master: the cluster's CA is all that is believed, and the clock is not.
//!
//! Boards boot in 1970. A certificate's times are therefore only advice here: the chain is
//! checked as of a time within the certificate's own validity. The chain, the CA's key and the
//! server purpose are never advice: a node's certificate comes from the same CA, and a node
//! must not be able to pass for the master.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::Identity;

/// What is known of the CA.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum TrustedCa {
    /// The certificate itself, after the join.
    Certificate(CertificateDer<'static>),
    /// SHA-256 of its SubjectPublicKeyInfo, from a join token.
    KeyHash([u8; 32]),
}

/// Checks the master's certificate against the CA only.
struct MasterVerifier {
    ca: TrustedCa,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for MasterVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterVerifier")
    }
}

/// Client configuration for a join: no certificate yet.
///
/// # Errors
///
/// When the provider cannot do TLS 1.3; a mistake of the build.
pub(crate) fn join_config(ca_key_sha256: [u8; 32], alpn: &[u8]) -> Result<ClientConfig, Error> {
    let mut config = builder(TrustedCa::KeyHash(ca_key_sha256))?.with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

/// Client configuration for the node link.
///
/// # Errors
///
/// When key and certificate do not fit.
pub(crate) fn link_config(identity: Identity, alpn: &[u8]) -> Result<ClientConfig, Error> {
    let Identity { key, certificate, ca } = identity;
    let mut config = builder(TrustedCa::Certificate(ca.clone()))?
        .with_client_auth_cert(vec![certificate, ca], key)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session has no fresh certificates: revocation must be seen at every dial.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn builder(
    ca: TrustedCa,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
    let provider = Arc::new(provider::default_provider());
    let verifier = MasterVerifier { ca, provider: Arc::clone(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo.
pub(crate) fn key_sha256(certificate: &[u8]) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    digest(&SHA256, parsed.public_key().raw).as_ref().try_into().ok()
}

impl ServerCertVerifier for MasterVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = match &self.ca {
            TrustedCa::Certificate(ca) => ca.clone(),
            TrustedCa::KeyHash(wanted) => intermediates
                .iter()
                .find(|certificate| key_sha256(certificate).as_ref() == Some(wanted))
                .cloned()
                .map(CertificateDer::into_owned)
                .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?,
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        let (_, leaf) = X509Certificate::from_der(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let usage = leaf.extended_key_usage().ok().flatten();
        if !usage.is_some_and(|usage| usage.value.server_auth) {
            return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        let second = |time: i64| u64::try_from(time).unwrap_or(0);
        let validity = leaf.validity();
        let (from, to) =
            (second(validity.not_before.timestamp()), second(validity.not_after.timestamp()));
        let as_of = now.as_secs().max(from).min(to);
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            intermediates,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(as_of)),
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, date_time_ymd,
    };

    struct Ca {
        der: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn ca() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let der = params.self_signed(&key).unwrap().der().clone();
        Ca { der, issuer: Issuer::new(params, key) }
    }

    fn leaf(ca: &Ca, purpose: ExtendedKeyUsagePurpose) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["m1".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2031, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &ca.issuer).unwrap().der().clone()
    }

    fn check(trusted: TrustedCa, leaf: &CertificateDer<'_>, sent: &Ca, now_s: u64) -> bool {
        let verifier =
            MasterVerifier { ca: trusted, provider: Arc::new(provider::default_provider()) };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s));
        let name = ServerName::try_from("elsewhere").unwrap();
        let sent = std::slice::from_ref(&sent.der);
        verifier.verify_server_cert(leaf, sent, &name, &[], now).is_ok()
    }

    #[test]
    fn only_a_server_of_the_pinned_ca_is_believed_whatever_the_clock_says() {
        let (ours, other) = (ca(), ca());
        let server = leaf(&ours, ExtendedKeyUsagePurpose::ServerAuth);
        let foreign = leaf(&other, ExtendedKeyUsagePurpose::ServerAuth);
        let node = leaf(&ours, ExtendedKeyUsagePurpose::ClientAuth);
        let hash = key_sha256(&ours.der).unwrap();
        for trusted in [TrustedCa::KeyHash(hash), TrustedCa::Certificate(ours.der.clone())] {
            for now_s in [0, 1_900_000_000, 9_000_000_000] {
                assert!(check(trusted.clone(), &server, &ours, now_s), "{now_s}");
                assert!(!check(trusted.clone(), &foreign, &other, now_s));
                // The right CA beside a certificate that it did not sign.
                assert!(!check(trusted.clone(), &foreign, &ours, now_s));
                assert!(!check(trusted.clone(), &node, &ours, now_s));
            }
        }
    }
}
