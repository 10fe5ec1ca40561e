//! The cluster's identity: its id, its certificate authority and the certificates made by it.
//!
//! ```text
//! <data-dir>/cluster/cluster-id     bramble-xxxx
//!                    ca.crt ca.key
//!                    admin.crt admin.key
//!                    server.crt server.key      made again when the addresses change
//!                    store.redb                 the store's; see `durable_state.rs`
//! <data-dir>/admin.kubeconfig
//! ```
//!
//! The folder is made beside its place and renamed into it, so it is there whole, with the store,
//! or not at all. Knows nothing of the store: [`Identity::create`] takes its making as a closure.

mod authority;
mod kubeconfig;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::durable::{self, WriteFileError};
use crate::random;

pub(crate) use authority::{Authority, Issued, SignError, request_key_sha256};
pub(crate) use kubeconfig::kubeconfig;

/// Group whose members may do everything.
pub(crate) const GROUP_MASTERS: &str = "system:masters";
/// Group of all nodes.
pub(crate) const GROUP_NODES: &str = "system:nodes";
/// What the common name of a node's certificate starts with.
pub(crate) const NODE_USER_PREFIX: &str = "system:node:";

const FOLDER: &str = "cluster";
const FOLDER_UNFINISHED: &str = "cluster.new";
const CLUSTER_ID: &str = "cluster-id";

/// The identity of the cluster that this master serves.
#[derive(Debug)]
pub(crate) struct Identity {
    /// `bramble-xxxx`.
    pub(crate) cluster_id: String,
    /// Signs certificates.
    pub(crate) authority: Authority,
    /// The administrator's certificate and key, both PEM.
    pub(crate) admin: Issued,
    folder: PathBuf,
}

/// A certificate chain and its key, for TLS.
pub(crate) type CertificateAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Why the identity could not be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A file could not be read.
    #[error("could not read `{}`; restore the data folder from a backup", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file could not be written.
    #[error("could not write the cluster's identity")]
    Write(#[from] WriteFileError),
    /// Left-overs of an unfinished start could not be removed.
    #[error("could not remove `{}`", path.display())]
    Remove { path: PathBuf, source: io::Error },
    /// A certificate could not be made or read.
    #[error("could not make or read a certificate")]
    Sign(#[from] SignError),
    /// A PEM file holds something else.
    #[error("`{}` is damaged: {problem}; restore the data folder from a backup", path.display())]
    Damaged { path: PathBuf, problem: String },
}

impl Identity {
    /// Tells whether the data folder holds an identity.
    pub(crate) fn exists(data_dir: &Path) -> bool {
        data_dir.join(FOLDER).exists()
    }

    /// Makes a new identity. `before_commit` gets its folder and the cluster id when all of it is
    /// on the disk but not yet in its place: if it fails, the next start begins anew.
    ///
    /// # Errors
    ///
    /// When a file cannot be written, or what `before_commit` returns.
    pub(crate) fn create<E: From<IdentityError>>(
        data_dir: &Path,
        before_commit: impl FnOnce(&Path, &str) -> Result<(), E>,
    ) -> Result<Self, E> {
        let unfinished = data_dir.join(FOLDER_UNFINISHED);
        let cluster_id = prepare(data_dir, &unfinished)?;
        before_commit(&unfinished, &cluster_id)?;
        durable::rename(&unfinished, &data_dir.join(FOLDER)).map_err(IdentityError::from)?;
        Ok(Self::load(data_dir)?)
    }

    /// Folder of the identity, and of what must not exist without it.
    pub(crate) fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join(FOLDER)
    }

    /// Reads the identity.
    ///
    /// # Errors
    ///
    /// When a file is missing or damaged.
    pub(crate) fn load(data_dir: &Path) -> Result<Self, IdentityError> {
        let folder = data_dir.join(FOLDER);
        let cluster_id = read(&folder.join(CLUSTER_ID))?.trim().to_owned();
        let authority =
            Authority::from_pem(&read(&folder.join("ca.crt"))?, &read(&folder.join("ca.key"))?)?;
        let admin = Issued {
            certificate: read(&folder.join("admin.crt"))?,
            key: read(&folder.join("admin.key"))?,
        };
        Ok(Self { cluster_id, authority, admin, folder })
    }

    /// Returns the server's certificate, made anew if it is not for exactly these names.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub(crate) fn server_certificate(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<CertificateAndKey, IdentityError> {
        let certificate_path = self.folder.join("server.crt");
        let key_path = self.folder.join("server.key");
        let present = fs::read_to_string(&certificate_path)
            .ok()
            .filter(|pem| key_path.exists() && authority::is_for(pem, names, addresses));
        if present.is_none() {
            let issued = self.authority.sign_server(names, addresses)?;
            // The certificate goes last: it is what the next start looks at.
            let _ = fs::remove_file(&certificate_path);
            durable::write_file(&key_path, issued.key.as_bytes())?;
            durable::write_file(&certificate_path, issued.certificate.as_bytes())?;
        }
        let certificate = parse_certificate(&certificate_path)?;
        // The CA goes along: a board that joins knows only its hash.
        Ok((vec![certificate, self.authority.ca_der().clone()], parse_key(&key_path)?))
    }

    /// Writes `<data-dir>/admin.kubeconfig` and returns its path.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write_kubeconfig(
        &self,
        data_dir: &Path,
        server: &str,
    ) -> Result<PathBuf, IdentityError> {
        let path = data_dir.join("admin.kubeconfig");
        let text = kubeconfig(&self.cluster_id, server, self.authority.ca_pem(), &self.admin);
        if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            durable::write_file(&path, text.as_bytes())?;
        }
        Ok(path)
    }

    /// The administrator's certificate and key in the form that TLS takes.
    ///
    /// # Errors
    ///
    /// When a file is damaged.
    pub(crate) fn admin_certificate(&self) -> Result<CertificateAndKey, IdentityError> {
        let certificate = parse_certificate(&self.folder.join("admin.crt"))?;
        Ok((vec![certificate], parse_key(&self.folder.join("admin.key"))?))
    }
}

fn prepare(data_dir: &Path, unfinished: &Path) -> Result<String, IdentityError> {
    durable::create_folder(data_dir)?;
    if unfinished.exists() {
        fs::remove_dir_all(unfinished)
            .map_err(|source| IdentityError::Remove { path: unfinished.to_path_buf(), source })?;
    }
    durable::create_folder(unfinished)?;
    let cluster_id = new_cluster_id();
    let (authority, ca_key) = Authority::create(&cluster_id)?;
    let admin = authority.sign_client("bramble-admin", GROUP_MASTERS)?;
    for (name, content) in [
        (CLUSTER_ID, cluster_id.as_str()),
        ("ca.crt", authority.ca_pem()),
        ("ca.key", &ca_key),
        ("admin.crt", &admin.certificate),
        ("admin.key", &admin.key),
    ] {
        durable::write_file(&unfinished.join(name), content.as_bytes())?;
    }
    Ok(cluster_id)
}

fn new_cluster_id() -> String {
    let [first, second] = random::bytes::<2>();
    format!("bramble-{first:02x}{second:02x}")
}

fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path)
        .map_err(|source| IdentityError::Read { path: path.to_path_buf(), source })
}

fn parse_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(read(path)?.as_bytes()).map_err(|problem| {
        IdentityError::Damaged { path: path.to_path_buf(), problem: problem.to_string() }
    })
}

fn parse_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(read(path)?.as_bytes()).map_err(|problem| {
        IdentityError::Damaged { path: path.to_path_buf(), problem: problem.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr};

    use super::{Identity, IdentityError};

    #[derive(Debug, thiserror::Error)]
    enum StartError {
        #[error("identity")]
        Identity(#[from] IdentityError),
        #[error("stopped")]
        Stopped,
    }

    #[test]
    fn identity_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let made = Identity::create::<IdentityError>(folder.path(), |_, _| Ok(())).unwrap();
        let read = Identity::load(folder.path()).unwrap();
        assert_eq!(made.cluster_id, read.cluster_id);
        assert_eq!(made.authority.ca_pem(), read.authority.ca_pem());
        assert_eq!(made.authority.spki_sha256(), read.authority.spki_sha256());
    }

    #[test]
    fn interrupted_first_start_leaves_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        let result = Identity::create(folder.path(), |_, _| Err(StartError::Stopped));
        assert!(matches!(result, Err(StartError::Stopped)));
        assert!(!Identity::exists(folder.path()));
        Identity::create::<IdentityError>(folder.path(), |_, _| Ok(())).unwrap();
    }

    #[test]
    fn server_certificate_changes_only_with_its_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::create::<IdentityError>(folder.path(), |_, _| Ok(())).unwrap();
        let names = vec!["kubernetes".to_owned(), "pi-1".to_owned()];
        let one = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let two = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))];
        let first = identity.server_certificate(&names, &one).unwrap();
        let again = identity.server_certificate(&names, &one).unwrap();
        let other = identity.server_certificate(&names, &two).unwrap();
        assert_eq!(first.0, again.0);
        assert_ne!(first.0, other.0);
    }

    #[test]
    fn damaged_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Identity::create::<IdentityError>(folder.path(), |_, _| Ok(())).unwrap();
        fs::remove_file(folder.path().join("cluster/ca.key")).unwrap();
        let error = Identity::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("ca.key"), "{error}");
    }
}
