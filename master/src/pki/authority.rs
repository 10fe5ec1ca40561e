//! The certificate authority: signs for the server, for people and for nodes.
//!
//! Boards boot in 1970 and Pis live long: certificates are valid from 1970 on and do not run
//! out. What ends them is revocation, not time.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::extensions::GeneralName;

use bramble_master_core::access::user::{NODE_PREFIX, NODES};

/// The latest end of a person's certificate, in seconds since 1970: 2199.
const END_S_MAX: u64 = 7_226_582_400;

/// The cluster's certificate authority.
pub(crate) struct Authority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    spki_sha256: [u8; 32],
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
pub(crate) struct Issued {
    /// Certificate.
    pub(crate) certificate: String,
    /// Key.
    pub(crate) key: String,
}

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// The request or certificate is not valid.
    #[error("certificate or request is not valid")]
    Certificate(#[from] rcgen::Error),
    /// The PEM text is not valid.
    #[error("not a PEM certificate: {0}")]
    Pem(String),
    /// Key and certificate do not belong together.
    #[error("the CA's key does not belong to its certificate")]
    KeyMismatch,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority; returns its key (PEM) as well.
    ///
    /// # Errors
    ///
    /// When the key cannot be made.
    pub(super) fn create(cluster_id: &str) -> Result<(Self, String), SignError> {
        let key = KeyPair::generate()?;
        let mut params = params(&format!("{cluster_id} CA"), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key)?;
        let key_pem = key.serialize_pem();
        Ok((Self::from_pem(&certificate.pem(), &key_pem)?, key_pem))
    }

    /// Reads an authority.
    ///
    /// # Errors
    ///
    /// When certificate or key are not valid, or do not belong together.
    pub(super) fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, SignError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| SignError::Pem(error.to_string()))?;
        let key = KeyPair::from_pem(key_pem)?;
        let spki = key.subject_public_key_info();
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| SignError::Pem(error.to_string()))?;
        if parsed.tbs_certificate.subject_pki.raw != spki {
            return Err(SignError::KeyMismatch);
        }
        let spki_sha256 = sha256(&spki);
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let certificate_pem = certificate_pem.to_owned();
        Ok(Self { certificate_pem, certificate, spki_sha256, issuer })
    }

    /// The CA's certificate, PEM.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's certificate, DER.
    pub(crate) fn ca_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the CA's SubjectPublicKeyInfo: what a join token pins.
    pub(crate) fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    /// Signs a node's request: whatever it asks for, it gets a client certificate of its name.
    ///
    /// `request` is PKCS#10, DER. Returns the certificate, DER.
    ///
    /// # Errors
    ///
    /// When the request is malformed or its signature is wrong.
    pub(crate) fn sign_node(&self, request: &[u8], node_name: &str) -> Result<Vec<u8>, SignError> {
        let request = CertificateSigningRequestDer::from(request);
        let mut request = CertificateSigningRequestParams::from_der(&request)?;
        request.params = client_params(&format!("{NODE_PREFIX}{node_name}"), Some(NODES));
        Ok(request.signed_by(&self.issuer)?.der().to_vec())
    }

    /// Signs a person's request: it gets a client certificate of this subject, from 1970 until
    /// `ends_s`, in seconds since then.
    ///
    /// `request` is PKCS#10, DER. Returns the certificate, PEM.
    ///
    /// # Errors
    ///
    /// When the request is malformed, its signature is wrong or the time is out of bounds.
    pub(crate) fn sign_user(
        &self,
        request: &[u8],
        subject: &RequestedSubject,
        ends_s: i64,
    ) -> Result<String, SignError> {
        let request = CertificateSigningRequestDer::from(request);
        let mut request = CertificateSigningRequestParams::from_der(&request)?;
        request.params = client_params(&subject.user, subject.groups.first().map(String::as_str));
        let seconds = u64::try_from(ends_s.max(0)).unwrap_or(0);
        request.params.not_after =
            date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds.min(END_S_MAX));
        Ok(request.signed_by(&self.issuer)?.pem())
    }

    /// Makes a key and a client certificate for it.
    ///
    /// # Errors
    ///
    /// When the key cannot be made.
    pub(super) fn sign_client(&self, user: &str, group: &str) -> Result<Issued, SignError> {
        self.issue(&client_params(user, Some(group)))
    }

    /// Makes a key and a server certificate for it.
    ///
    /// # Errors
    ///
    /// When a name is not valid.
    pub(super) fn sign_server(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<Issued, SignError> {
        let mut params = params("bramble", None);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        self.issue(&params)
    }

    /// Tells whether this authority signed a certificate.
    pub(super) fn signed(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, ca)) = x509_parser::parse_x509_certificate(&self.certificate) else {
            return false;
        };
        x509_parser::parse_x509_certificate(certificate)
            .is_ok_and(|(_, parsed)| parsed.verify_signature(Some(ca.public_key())).is_ok())
    }

    fn issue(&self, params: &CertificateParams) -> Result<Issued, SignError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Whom a request for a certificate is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestedSubject {
    /// Common name: the user; empty if there is none.
    pub(crate) user: String,
    /// Organizations: the groups.
    pub(crate) groups: Vec<String>,
    /// Whether it asks for other names, too.
    pub(crate) alternatives: bool,
}

impl RequestedSubject {
    /// Reads a request (PKCS#10, DER).
    ///
    /// # Errors
    ///
    /// When it is malformed or its signature is wrong.
    pub(crate) fn of(request: &[u8]) -> Result<Self, SignError> {
        use x509_parser::extensions::ParsedExtension;
        use x509_parser::prelude::FromDer as _;

        let malformed = || SignError::Certificate(rcgen::Error::CouldNotParseCertificationRequest);
        let (_, parsed) =
            x509_parser::certification_request::X509CertificationRequest::from_der(request)
                .map_err(|_| malformed())?;
        parsed.verify_signature().map_err(|_| malformed())?;
        let subject = &parsed.certification_request_info.subject;
        let texts = |mut names: Vec<Result<&str, _>>| -> Result<Vec<String>, SignError> {
            names
                .drain(..)
                .map(|name| {
                    name.map(str::to_owned).map_err(|_: x509_parser::error::X509Error| malformed())
                })
                .collect()
        };
        let users = texts(subject.iter_common_name().map(|it| it.as_str()).collect())?;
        let groups = texts(subject.iter_organization().map(|it| it.as_str()).collect())?;
        let extensions = parsed.requested_extensions();
        let alternatives = extensions.is_some_and(|mut all| {
            all.any(|it| matches!(it, ParsedExtension::SubjectAlternativeName(_)))
        });
        if users.len() > 1 {
            return Err(malformed());
        }
        Ok(Self { user: users.into_iter().next().unwrap_or_default(), groups, alternatives })
    }
}

/// Returns the SHA-256 of the public key (SubjectPublicKeyInfo) in a PKCS#10 request, DER.
///
/// # Errors
///
/// When the request is malformed or its signature is wrong.
pub(crate) fn request_key_sha256(request: &[u8]) -> Result<[u8; 32], SignError> {
    use x509_parser::prelude::FromDer as _;

    let malformed = || SignError::Certificate(rcgen::Error::CouldNotParseCertificationRequest);
    let (_, parsed) =
        x509_parser::certification_request::X509CertificationRequest::from_der(request)
            .map_err(|_| malformed())?;
    parsed.verify_signature().map_err(|_| malformed())?;
    Ok(sha256(parsed.certification_request_info.subject_pki.raw))
}

/// Returns the SHA-256 of a certificate's public key (SubjectPublicKeyInfo).
///
/// # Errors
///
/// When the certificate is malformed.
pub(crate) fn certificate_key_sha256(
    certificate: &CertificateDer<'_>,
) -> Result<[u8; 32], SignError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| SignError::Pem(error.to_string()))?;
    Ok(sha256(parsed.tbs_certificate.subject_pki.raw))
}

/// Tells whether a certificate is of this key.
pub(super) fn is_of_key(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    let hash = sha256(&key.subject_public_key_info());
    certificate_key_sha256(certificate).is_ok_and(|found| found == hash)
}

/// Tells whether a server certificate (PEM) is for exactly these names and addresses.
pub(super) fn is_for(pem: &str, names: &[String], addresses: &[IpAddr]) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&certificate) else {
        return false;
    };
    let Ok(Some(present)) = parsed.subject_alternative_name() else {
        return false;
    };
    let mut present: Vec<String> = present.value.general_names.iter().map(san_text).collect();
    let mut wanted: Vec<String> = names.to_vec();
    wanted.extend(addresses.iter().map(IpAddr::to_string));
    present.sort_unstable();
    wanted.sort_unstable();
    present == wanted
}

/// Writes a name as the configuration has it; names that we never give come out as something else.
fn san_text(name: &GeneralName<'_>) -> String {
    if let GeneralName::IPAddress(octets) = name {
        let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(*octets).map(IpAddr::from);
        return v4.or(v6).map(|address| address.to_string()).unwrap_or_default();
    }
    if let GeneralName::DNSName(name) = name {
        return (*name).to_owned();
    }
    format!("{name:?}")
}

fn client_params(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = params(user, group);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(2199, 12, 31);
    params.use_authority_key_identifier_extension = true;
    params
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::{Authority, SignError, request_key_sha256};

    fn request(user: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, user);
        let key = KeyPair::generate().unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn node_gets_its_name_and_nothing_that_it_asked_for() {
        let (authority, _) = Authority::create("bramble-0000").unwrap();
        let der = authority.sign_node(&request("system:masters"), "pi-2").unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(parsed.subject().to_string(), "O=system:nodes, CN=system:node:pi-2");
        assert!(parsed.subject_alternative_name().unwrap().is_none());
        let ca = x509_parser::parse_x509_certificate(authority.ca_der()).unwrap().1;
        parsed.verify_signature(Some(ca.public_key())).unwrap();
    }

    #[test]
    fn damaged_request_is_refused() {
        let (authority, _) = Authority::create("bramble-0000").unwrap();
        let mut bytes = request("pi-2");
        request_key_sha256(&bytes).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(authority.sign_node(&bytes, "pi-2").is_err());
        assert!(request_key_sha256(&bytes).is_err());
        assert!(request_key_sha256(b"").is_err());
    }

    #[test]
    fn foreign_key_is_refused() {
        let (one, _) = Authority::create("bramble-0001").unwrap();
        let (_, key) = Authority::create("bramble-0002").unwrap();
        let result = Authority::from_pem(one.ca_pem(), &key);
        assert!(matches!(result, Err(SignError::KeyMismatch)));
    }
}
