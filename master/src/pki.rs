//! The cluster's identity: its id, its certificate authority and the certificates made by it.
//!
//! ```text
//! <data-dir>/cluster/cluster-id     bramble-xxxx
//!                    ca.crt ca.key
//!                    admin.crt admin.key
//!                    join.pub                   checks the tokens of cards
//!                    join.key                   signs them; only where cards are flashed
//!                    service-account.key        signs the tokens of service accounts
//!                    server.crt server.key      made again when the addresses change
//!                    store.log                 the store's; see `durable_state.rs`
//! <data-dir>/admin.kubeconfig
//! ```
//!
//! The folder is made beside its place and renamed into it, so it is there whole, with the store,
//! or not at all. Knows nothing of the store: [`Identity::create`] takes its making as a closure.

mod account_key;
mod authority;
mod join_key;
mod kubeconfig;
mod origin;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::durable::{self, WriteFileError};
use origin::{CLUSTER_ID, JOIN_PRIVATE, JOIN_PUBLIC};

pub(crate) use account_key::AccountKey;
pub(crate) use authority::{
    Authority, Issued, RequestedSubject, SignError, certificate_key_sha256, request_key_sha256,
};
pub(crate) use join_key::{JoinKey, JoinVerifier};
pub(crate) use kubeconfig::kubeconfig;
pub(crate) use origin::{CARD_FILES, Origin, TakeIdentityError, valid_cluster_id};

const FOLDER: &str = "cluster";
const FOLDER_UNFINISHED: &str = "cluster.new";
/// Signs the tokens of service accounts.
const ACCOUNT_KEY: &str = "service-account.key";

/// The identity of the cluster that this master serves.
#[derive(Debug)]
pub(crate) struct Identity {
    /// `bramble-xxxx`.
    pub(crate) cluster_id: String,
    /// Signs certificates.
    pub(crate) authority: Authority,
    /// The administrator's certificate and key, both PEM.
    pub(crate) admin: Issued,
    /// Checks tokens of cards.
    pub(crate) join: JoinVerifier,
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
    /// The flasher's identity cannot be taken.
    #[error(transparent)]
    Take(#[from] TakeIdentityError),
}

impl Identity {
    /// Tells whether the data folder holds an identity.
    pub(crate) fn exists(data_dir: &Path) -> bool {
        data_dir.join(FOLDER).exists()
    }

    /// Makes or takes a new identity. `before_commit` gets its folder and the cluster id when all of it is
    /// on the disk but not yet in its place: if it fails, the next start begins anew.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written, or what `before_commit` returns.
    pub(crate) fn create<E: From<IdentityError>>(
        data_dir: &Path,
        origin: Origin<'_>,
        before_commit: impl FnOnce(&Path, &str) -> Result<(), E>,
    ) -> Result<Self, E> {
        let unfinished = data_dir.join(FOLDER_UNFINISHED);
        let cluster_id = prepare(data_dir, &unfinished, origin)?;
        before_commit(&unfinished, &cluster_id)?;
        durable::rename(&unfinished, &data_dir.join(FOLDER)).map_err(IdentityError::from)?;
        Ok(Self::load(data_dir)?)
    }

    /// Makes a new identity in a folder of its own below `parent`, named after the cluster.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn create_below(parent: &Path) -> Result<Self, IdentityError> {
        // Several at a time do not meet: the names are as random as the ids.
        loop {
            let unfinished = parent.join(format!(".new-{}", crate::random::name_suffix()));
            let cluster_id = prepare(parent, &unfinished, Origin::New)?;
            let folder = parent.join(&cluster_id);
            if folder.exists() {
                fs::remove_dir_all(&unfinished)
                    .map_err(|source| IdentityError::Remove { path: unfinished, source })?;
                continue;
            }
            durable::rename(&unfinished, &folder)?;
            return Self::open(&folder);
        }
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
        Self::open(&data_dir.join(FOLDER))
    }

    /// Reads the identity in this very folder.
    ///
    /// # Errors
    ///
    /// When a file is missing or damaged.
    pub(crate) fn open(folder: &Path) -> Result<Self, IdentityError> {
        let cluster_id = read(&folder.join(CLUSTER_ID))?.trim().to_owned();
        let authority =
            Authority::from_pem(&read(&folder.join("ca.crt"))?, &read(&folder.join("ca.key"))?)?;
        let admin = Issued {
            certificate: read(&folder.join("admin.crt"))?,
            key: read(&folder.join("admin.key"))?,
        };
        let join_path = folder.join(JOIN_PUBLIC);
        let join = JoinVerifier::from_pem(&read(&join_path)?).map_err(|problem| {
            IdentityError::Damaged { path: join_path, problem: problem.to_string() }
        })?;
        Ok(Self { cluster_id, authority, admin, join, folder: folder.to_path_buf() })
    }

    /// Gives a cluster that was begun before there were cards a key for their tokens.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub(crate) fn add_join_key(data_dir: &Path) -> Result<(), IdentityError> {
        let folder = data_dir.join(FOLDER);
        if folder.join(JOIN_PUBLIC).exists() {
            return Ok(());
        }
        let key = JoinKey::create()?;
        // The public half goes last: it is what the next start looks at.
        durable::write_file(&folder.join(JOIN_PRIVATE), key.private_pem().as_bytes())?;
        Ok(durable::write_file(&folder.join(JOIN_PUBLIC), key.public_pem().as_bytes())?)
    }

    /// Reads the key that signs tokens of cards; none where this cluster's cards are not flashed.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is damaged.
    pub(crate) fn join_key(&self) -> Result<Option<JoinKey>, IdentityError> {
        let path = self.folder.join(JOIN_PRIVATE);
        let pem = match fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::Read { path, source }),
        };
        let damaged =
            |problem: SignError| IdentityError::Damaged { path, problem: problem.to_string() };
        JoinKey::from_pem(&pem).map(Some).map_err(damaged)
    }

    /// Reads the key that signs the tokens of service accounts; makes it at the master's first start.
    ///
    /// # Errors
    ///
    /// When it cannot be made, read or written, or is damaged.
    pub(crate) fn account_key(&self) -> Result<AccountKey, IdentityError> {
        let path = self.folder.join(ACCOUNT_KEY);
        if !path.exists() {
            durable::write_file(&path, AccountKey::create_pem()?.as_bytes())?;
        }
        let damaged = |problem: SignError| IdentityError::Damaged {
            path: path.clone(),
            problem: problem.to_string(),
        };
        AccountKey::from_pem(&read(&path)?).map_err(damaged)
    }

    /// Reads the files that a card of this cluster's master carries.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub(crate) fn card_files(&self) -> Result<Vec<(String, Vec<u8>)>, IdentityError> {
        let read = |name: &str| Ok((name.to_owned(), read(&self.folder.join(name))?.into_bytes()));
        CARD_FILES.into_iter().map(read).collect()
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

fn prepare(parent: &Path, unfinished: &Path, origin: Origin<'_>) -> Result<String, IdentityError> {
    let files = match origin {
        Origin::New => origin::make()?,
        Origin::Folder(folder) => origin::take(folder)?,
    };
    durable::create_folder(parent)?;
    if unfinished.exists() {
        fs::remove_dir_all(unfinished)
            .map_err(|source| IdentityError::Remove { path: unfinished.to_path_buf(), source })?;
    }
    durable::create_folder(unfinished)?;
    let mut cluster_id = String::new();
    for (name, content) in files {
        durable::write_file(&unfinished.join(name), content.as_bytes())?;
        if name == CLUSTER_ID {
            cluster_id = content.trim().to_owned();
        }
    }
    Ok(cluster_id)
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

    use super::{CARD_FILES, Identity, IdentityError, Origin, TakeIdentityError};

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
        let made =
            Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap();
        let read = Identity::load(folder.path()).unwrap();
        assert_eq!(made.cluster_id, read.cluster_id);
        assert_eq!(made.authority.ca_pem(), read.authority.ca_pem());
        assert_eq!(made.authority.spki_sha256(), read.authority.spki_sha256());
    }

    #[test]
    fn interrupted_first_start_leaves_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        let result = Identity::create(folder.path(), Origin::New, |_, _| Err(StartError::Stopped));
        assert!(matches!(result, Err(StartError::Stopped)));
        assert!(!Identity::exists(folder.path()));
        Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap();
    }

    #[test]
    fn server_certificate_changes_only_with_its_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let identity =
            Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap();
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
    fn cluster_from_before_cards_gets_a_join_key_once() {
        let folder = tempfile::tempdir().unwrap();
        Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap();
        for name in ["join.key", "join.pub"] {
            fs::remove_file(folder.path().join("cluster").join(name)).unwrap();
        }
        let join = || {
            Identity::add_join_key(folder.path()).unwrap();
            let identity = Identity::load(folder.path()).unwrap();
            assert!(identity.join_key().unwrap().is_some());
            identity.join
        };
        assert_eq!(join(), join());
    }

    #[test]
    fn key_of_service_accounts_is_made_once_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let identity =
            Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap();
        let token = identity.account_key().unwrap().sign(&serde_json::json!({})).unwrap();
        assert!(identity.account_key().unwrap().verify(&token).is_some());
        fs::write(folder.path().join("cluster/service-account.key"), "").unwrap();
        assert!(matches!(identity.account_key(), Err(IdentityError::Damaged { .. })));
    }

    #[test]
    fn damaged_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap();
        fs::remove_file(folder.path().join("cluster/ca.key")).unwrap();
        let error = Identity::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("ca.key"), "{error}");
    }
    #[test]
    fn identity_is_taken_from_the_flasher_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let made = Identity::create_below(folder.path()).unwrap();
        let card = folder.path().join("card");
        fs::create_dir(&card).unwrap();
        for (name, content) in made.card_files().unwrap() {
            fs::write(card.join(name), content).unwrap();
        }
        let data = folder.path().join("data");
        let take =
            || Identity::create::<IdentityError>(&data, Origin::Folder(&card), |_, _| Ok(()));
        let taken = take().unwrap();
        assert_eq!(taken.cluster_id, made.cluster_id);
        assert_eq!(taken.join, made.join);
        assert_eq!(taken.authority.spki_sha256(), made.authority.spki_sha256());
        assert!(taken.join_key().unwrap().is_none());
        assert!(made.join_key().unwrap().is_some());
    }

    #[test]
    fn identity_with_missing_or_foreign_files_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let made = Identity::create_below(folder.path()).unwrap();
        let other = Identity::create_below(folder.path()).unwrap();
        let take = |broken: &str, content: Option<&[u8]>| {
            let card = tempfile::tempdir().unwrap();
            for (name, good) in made.card_files().unwrap() {
                let content = if name == broken { content } else { Some(good.as_slice()) };
                if let Some(content) = content {
                    fs::write(card.path().join(name), content).unwrap();
                }
            }
            let data = tempfile::tempdir().unwrap();
            let result = Identity::create::<IdentityError>(
                data.path(),
                Origin::Folder(card.path()),
                |_, _| Ok(()),
            );
            assert!(!Identity::exists(data.path()), "{broken}");
            result.unwrap_err()
        };
        for name in CARD_FILES {
            let missing = take(name, None);
            assert!(missing.to_string().contains(name), "{missing}");
            assert!(matches!(take(name, Some(b"?!")), IdentityError::Take(_)), "{name}");
        }
        for (name, content) in other.card_files().unwrap() {
            // Another id and another join key look as good; certificates do not.
            if !["cluster-id", "join.pub"].contains(&name.as_str()) {
                let error = take(&name, Some(&content));
                assert!(
                    matches!(
                        error,
                        IdentityError::Take(
                            TakeIdentityError::Mixed { .. } | TakeIdentityError::Damaged { .. }
                        )
                    ),
                    "{name}: {error}"
                );
            }
        }
    }
}
