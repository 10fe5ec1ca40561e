//! Where a new identity comes from: made here, or by whoever flashed this board's card.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use bramble_master_core::access::user::MASTERS;

use super::{Authority, JoinKey, JoinVerifier, SignError};
use crate::random;

/// Id of the cluster.
pub(super) const CLUSTER_ID: &str = "cluster-id";
/// Checks tokens of cards.
pub(super) const JOIN_PUBLIC: &str = "join.pub";
/// Signs tokens of cards.
pub(super) const JOIN_PRIVATE: &str = "join.key";

/// Files that a card of a master carries. The join key is not one of them: who steals the
/// card cannot flash others.
pub(crate) const CARD_FILES: [&str; 6] =
    [CLUSTER_ID, "ca.crt", "ca.key", "admin.crt", "admin.key", JOIN_PUBLIC];

/// Where a new identity comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// Made now.
    New,
    /// Made by the flasher, in this folder.
    Folder(&'a Path),
}

/// Why an identity was not taken from a folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeIdentityError {
    /// A file is missing.
    #[error(
        "could not take the cluster's identity from `{}`; flash the master's card again", path.display()
    )]
    Read { path: PathBuf, source: io::Error },
    /// A certificate or key is damaged.
    #[error("`{}` in the identity to be taken is damaged; flash the master's card again", path.display())]
    Damaged { path: PathBuf, source: SignError },
    /// The files are not of one cluster.
    #[error(
        "the identity in `{}` is not of one piece: {problem}; flash the master's card again", folder.display()
    )]
    Mixed { folder: PathBuf, problem: &'static str },
}

/// Names and contents of an identity's files.
pub(super) type Files = Vec<(&'static str, String)>;

/// Makes an identity.
///
/// # Errors
///
/// When a key cannot be made.
pub(super) fn make() -> Result<Files, SignError> {
    let cluster_id = new_cluster_id();
    let (authority, ca_key) = Authority::create(&cluster_id)?;
    let admin = authority.sign_client("bramble-admin", MASTERS)?;
    let join = JoinKey::create()?;
    Ok(vec![
        ("ca.crt", authority.ca_pem().to_owned()),
        ("ca.key", ca_key),
        ("admin.crt", admin.certificate),
        ("admin.key", admin.key),
        (JOIN_PRIVATE, join.private_pem()),
        (JOIN_PUBLIC, join.public_pem()),
        (CLUSTER_ID, cluster_id),
    ])
}

/// Reads an identity that somebody else made, and checks that it is one.
///
/// # Errors
///
/// When a file is missing or damaged, or belongs to another cluster.
pub(super) fn take(folder: &Path) -> Result<Files, TakeIdentityError> {
    let mut files = Files::new();
    for name in CARD_FILES {
        let path = folder.join(name);
        let text =
            fs::read_to_string(&path).map_err(|source| TakeIdentityError::Read { path, source })?;
        files.push((name, text));
    }
    let text = |name: &str| {
        files.iter().find(|(present, _)| *present == name).map_or("", |(_, text)| text.as_str())
    };
    let damaged = |name: &str| {
        let path = folder.join(name);
        move |source| TakeIdentityError::Damaged { path, source }
    };
    let mixed = |problem| TakeIdentityError::Mixed { folder: folder.to_path_buf(), problem };
    if !valid_cluster_id(text(CLUSTER_ID).trim()) {
        return Err(mixed("its cluster id is no name"));
    }
    let authority =
        Authority::from_pem(text("ca.crt"), text("ca.key")).map_err(damaged("ca.crt"))?;
    JoinVerifier::from_pem(text(JOIN_PUBLIC)).map_err(damaged(JOIN_PUBLIC))?;
    let admin = CertificateDer::from_pem_slice(text("admin.crt").as_bytes())
        .map_err(|error| SignError::Pem(error.to_string()))
        .map_err(damaged("admin.crt"))?;
    if !authority.signed(&admin) {
        return Err(mixed("the administrator's certificate is not of its CA"));
    }
    let key = rcgen::KeyPair::from_pem(text("admin.key")).map_err(SignError::from);
    let key = key.map_err(damaged("admin.key"))?;
    if !super::authority::is_of_key(&admin, &key) {
        return Err(mixed("the administrator's key is not of its certificate"));
    }
    Ok(files)
}

fn new_cluster_id() -> String {
    let [first, second] = random::bytes::<2>();
    format!("bramble-{first:02x}{second:02x}")
}

/// A cluster id is part of file names and of signed texts.
pub(crate) fn valid_cluster_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&id.len()) && id.bytes().all(plain)
}
