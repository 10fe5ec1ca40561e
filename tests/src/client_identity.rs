//! Certificates that clients of the API show.
//!
//! The harness stands on the master's board and so may use the cluster's CA: that is how it gets
//! several people who are told apart by name. A node's identity is what its board has on its card.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Group whose members may do everything.
pub const MASTERS: &str = "system:masters";

/// Who a client is: certificate chain and key.
#[derive(Debug)]
pub struct ClientIdentity {
    /// The certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// A certificate for a person of this name and group, by the CA in a master's data folder.
    ///
    /// # Errors
    /// The folder has no CA.
    pub fn sign(master_data: &Path, name: &str, group: &str) -> Result<Self> {
        let read = |file: &str| {
            let path = master_data.join("cluster").join(file);
            fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
        };
        let issuer =
            Issuer::from_ca_cert_pem(&read("ca.crt")?, KeyPair::from_pem(&read("ca.key")?)?)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// What a board that has joined carries in the data folder of its agent.
    ///
    /// # Errors
    /// The board has not joined.
    pub fn of_node(agent_data: &Path) -> Result<Self> {
        let read = |file: &str| {
            let path = agent_data.join("identity").join(file);
            fs::read(&path).with_context(|| format!("could not read {}", path.display()))
        };
        Ok(Self {
            chain: vec![CertificateDer::from(read("node.der")?)],
            key: PrivatePkcs8KeyDer::from(read("key.der")?).into(),
        })
    }
}
