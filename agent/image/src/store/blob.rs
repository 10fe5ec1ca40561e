//! A blob while it is downloaded: hashed as it comes, never longer than announced, resumable.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::PathBuf,
};

use super::{ImageStore, StoreError};
use crate::{Digest, digest::Hasher};

/// An unfinished blob. Dropped unfinished, it stays for the next attempt.
pub(crate) struct PartialBlob {
    store: ImageStore,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    digest: Digest,
    /// Invariant: bytes in `file` and in `hasher`; never above `size`.
    len: u64,
    size: u64,
}

impl PartialBlob {
    pub(super) fn open(store: ImageStore, digest: Digest, size: u64) -> Result<Self, StoreError> {
        let path = store.0.root.join("partial").join(digest.hex());
        let failed = |source| StoreError::new("open an unfinished blob", &path, source);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        let mut hasher = Hasher::new();
        let mut len = 0;
        let mut buffer = vec![0; super::READ_LEN];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
            len += u64::try_from(read).unwrap_or(u64::MAX);
        }
        let mut partial = Self { store, path, file, hasher, digest, len, size };
        // A whole one that was not finished is either wrong or cheap to check again.
        if partial.len > partial.size {
            partial.restart()?;
        }
        let missing = partial.size.saturating_sub(partial.len);
        partial
            .store
            .reserve_room(missing)
            .map_err(|source| StoreError::new("make room for a blob", &partial.path, source))?;
        Ok(partial)
    }

    /// Returns how many bytes are here already.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns how many bytes there will be.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Begins again, for a server that cannot continue.
    pub(crate) fn restart(&mut self) -> Result<(), StoreError> {
        self.file
            .set_len(0)
            .map_err(|source| StoreError::new("truncate an unfinished blob", &self.path, source))?;
        self.hasher = Hasher::new();
        self.len = 0;
        Ok(())
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FinishBlobError> {
        let len = self.len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if len > self.size {
            self.restart()?;
            return Err(FinishBlobError::TooLong { digest: self.digest, size: self.size });
        }
        self.file
            .write_all(bytes)
            .map_err(|source| StoreError::new("write an unfinished blob", &self.path, source))?;
        self.hasher.update(bytes);
        self.len = len;
        Ok(())
    }

    /// Checks the whole and gives it its name.
    pub(crate) fn finish(self) -> Result<(), FinishBlobError> {
        if self.len < self.size {
            return Err(FinishBlobError::TooShort {
                digest: self.digest,
                size: self.size,
                found: self.len,
            });
        }
        let found = self.hasher.finish();
        if found != self.digest {
            fs::remove_file(&self.path)
                .map_err(|source| StoreError::new("remove a wrong blob", &self.path, source))?;
            return Err(FinishBlobError::WrongDigest { expected: self.digest, found });
        }
        self.file
            .sync_all()
            .map_err(|source: io::Error| StoreError::new("sync a blob", &self.path, source))?;
        Ok(self.store.keep_blob(&self.path, self.digest)?)
    }
}

/// Why a download is not the blob that was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FinishBlobError {
    #[error("blob {digest} is longer than the {size} bytes announced")]
    TooLong { digest: Digest, size: u64 },
    #[error("blob {digest} ended after {found} of {size} bytes")]
    TooShort { digest: Digest, size: u64, found: u64 },
    #[error("blob has digest {found}, expected {expected}")]
    WrongDigest { expected: Digest, found: Digest },
    #[error(transparent)]
    Store(#[from] StoreError),
}
