//! What must survive a restart: the cluster's identity and its store, made and opened together.
//!
//! The store's file lies in the identity's folder, so that one rename commits both. An identity
//! whose store is missing or damaged is a broken cluster, never a new one.

use std::path::Path;
use std::sync::Arc;

use bramble_store::{CreateStoreError, LogStore, MemoryStore, OpenStoreError, Store};
use tracing::info;

use crate::config::StoreKind;
use crate::pki::{Identity, IdentityError, Origin};

const STORE_FILE: &str = "store.log";

/// Why the cluster's state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenStateError {
    /// Identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A new store could not be made.
    #[error("could not create the store")]
    Create(#[from] CreateStoreError),
    /// The store of an existing cluster cannot be used.
    #[error(
        "the store of cluster `{cluster_id}` cannot be used; put a snapshot of it in its place, \
         or begin a new cluster in another data folder"
    )]
    Open { cluster_id: String, source: OpenStoreError },
}

/// Opens the cluster's state; makes a new cluster in an empty data folder, or begins the one whose
/// identity `origin` holds. Where a cluster is already, `origin` is not looked at.
///
/// # Errors
///
/// When something is damaged or missing, or the disk refuses.
pub(crate) fn open(
    data_dir: &Path,
    kind: StoreKind,
    origin: Origin<'_>,
) -> Result<(Identity, Arc<dyn Store>), OpenStateError> {
    if !Identity::exists(data_dir) {
        let identity = Identity::create(data_dir, origin, |folder, cluster_id| {
            if kind == StoreKind::Disk {
                // Opened again below, at its final place.
                drop(LogStore::create(&folder.join(STORE_FILE), cluster_id)?);
            }
            Ok::<(), OpenStateError>(())
        })?;
        info!(cluster = identity.cluster_id, ?origin, "made a new cluster");
    }
    Identity::add_join_key(data_dir)?;
    let identity = Identity::load(data_dir)?;
    let store: Arc<dyn Store> = match kind {
        StoreKind::Memory => Arc::new(MemoryStore::new()),
        StoreKind::Disk => {
            let path = Identity::folder(data_dir).join(STORE_FILE);
            let opened = LogStore::open(&path, &identity.cluster_id);
            Arc::new(opened.map_err(|source| OpenStateError::Open {
                cluster_id: identity.cluster_id.clone(),
                source,
            })?)
        }
    };
    Ok((identity, store))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{OpenStateError, open};
    use crate::config::StoreKind;
    use crate::pki::Origin;

    #[test]
    fn cluster_without_its_store_is_not_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), StoreKind::Disk, Origin::New).unwrap());
        drop(open(folder.path(), StoreKind::Disk, Origin::New).unwrap());
        fs::remove_file(folder.path().join("cluster/store.log")).unwrap();
        let result = open(folder.path(), StoreKind::Disk, Origin::New);
        assert!(matches!(result, Err(OpenStateError::Open { .. })), "{result:?}");
    }

    #[test]
    fn damaged_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), StoreKind::Disk, Origin::New).unwrap());
        fs::write(folder.path().join("cluster/store.log"), b"").unwrap();
        assert!(matches!(
            open(folder.path(), StoreKind::Disk, Origin::New),
            Err(OpenStateError::Open { .. })
        ));
    }
}
