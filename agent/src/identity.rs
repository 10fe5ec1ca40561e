//! Who this node is: its key, its certificate and the cluster's CA, as files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bramble_runtime::whole_file;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The node's identity in its cluster.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) ca: CertificateDer<'static>,
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadIdentityError {
    /// The board has not joined.
    #[error(
        "this board has not joined a cluster yet; run `bramble-agent join TOKEN --server HOST:PORT`"
    )]
    NotJoined,
    /// A file cannot be read or written.
    #[error("could not use `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The key was damaged.
    #[error("the key in `{}` is damaged; leave and join again", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: rcgen::Error,
    },
}

impl Identity {
    /// Reads the identity.
    ///
    /// # Errors
    ///
    /// When the board has not joined, or a file cannot be read.
    pub(crate) fn load(dir: &Path) -> Result<Self, LoadIdentityError> {
        let read = |name| {
            let path = dir.join(name);
            whole_file::read(&path)
                .map_err(|source| LoadIdentityError::File { path, source })?
                .ok_or(LoadIdentityError::NotJoined)
        };
        let certificate = CertificateDer::from(read("node.der")?);
        let ca = CertificateDer::from(read("ca.der")?);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(read("key.der")?));
        Ok(Self { key, certificate, ca })
    }
}

/// The board's key: the one that it has, or a new one, durable before it is returned.
///
/// # Errors
///
/// When the disk refuses or the key is damaged.
pub(crate) fn open_key(dir: &Path) -> Result<rcgen::KeyPair, LoadIdentityError> {
    let path = dir.join("key.der");
    let file = |source| LoadIdentityError::File { path: path.clone(), source };
    let damaged = |source| LoadIdentityError::Key { path: path.clone(), source };
    if let Some(bytes) = whole_file::read(&path).map_err(file)? {
        return rcgen::KeyPair::try_from(bytes).map_err(damaged);
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(damaged)?;
    fs::create_dir_all(dir).map_err(file)?;
    whole_file::replace_durably(&path, &key.serialize_der(), 0o600).map_err(file)?;
    Ok(key)
}

/// Keeps what the master gave. The certificate is written last: it says that the board joined.
///
/// # Errors
///
/// When the disk refuses.
pub(crate) fn store(dir: &Path, certificate: &[u8], ca: &[u8]) -> io::Result<()> {
    whole_file::replace_durably(&dir.join("ca.der"), ca, 0o644)?;
    whole_file::replace_durably(&dir.join("node.der"), certificate, 0o644)
}

/// Count of agent starts on this board, one more with each call.
///
/// # Errors
///
/// When the disk refuses.
pub(crate) fn next_incarnation(data_dir: &Path) -> io::Result<u64> {
    let path = data_dir.join("incarnation");
    let last = whole_file::read(&path)?
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(0);
    let next = last.saturating_add(1);
    whole_file::replace_durably(&path, format!("{next}\n").as_bytes(), 0o644)?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_the_same_after_a_power_cut() {
        let folder = tempfile::tempdir().unwrap();
        let first = open_key(folder.path()).unwrap().serialize_der();
        assert_eq!(open_key(folder.path()).unwrap().serialize_der(), first);
        assert!(matches!(Identity::load(folder.path()), Err(LoadIdentityError::NotJoined)));
        store(folder.path(), b"cert", b"ca").unwrap();
        assert_eq!(Identity::load(folder.path()).unwrap().ca.as_ref(), b"ca");
    }

    #[test]
    fn incarnations_grow() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(next_incarnation(folder.path()).unwrap(), 1);
        assert_eq!(next_incarnation(folder.path()).unwrap(), 2);
    }
}
