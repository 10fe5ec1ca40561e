//! The names of the images, in one small JSON file.
//!
//! The file is replaced as a whole; the one before is kept beside it, so that damage costs at most
//! the last change. If both are damaged the store starts without names, and since blobs and layers
//! carry their own digests, pulling again downloads none of them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{StoreError, sync_folder};
use crate::{Digest, Reference};

/// What is remembered of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What the name pointed to: the manifest, or the index that lists it.
    pub(crate) target: Digest,
    /// The manifest for this platform.
    pub(crate) manifest: Digest,
    /// Who may use it.
    pub(crate) access: Access,
}

impl Record {
    /// Adds those who were allowed the same image before.
    pub(super) fn merged_with(mut self, before: &Self) -> Self {
        self.access.public |= before.access.public;
        for fingerprint in &before.access.fingerprints {
            if !self.access.fingerprints.contains(fingerprint) {
                self.access.fingerprints.push(fingerprint.clone());
            }
        }
        // The latest are the likeliest to be asked for again.
        self.access.fingerprints.truncate(FINGERPRINTS_MAX);
        self
    }
}

/// Who has proved to a registry, or to the operator, that they may have an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// Pulled without credentials, or imported by the operator.
    pub(crate) public: bool,
    /// Digests of the credentials that a registry accepted for it.
    pub(crate) fingerprints: Vec<String>,
}

impl Access {
    /// Returns whether someone with these fingerprints may use the image.
    pub(crate) fn allows(&self, fingerprints: &[String]) -> bool {
        self.public
            || fingerprints.iter().any(|fingerprint| self.fingerprints.contains(fingerprint))
    }
}

#[derive(Serialize, Deserialize)]
struct IndexFile {
    version: u32,
    images: BTreeMap<String, Record>,
}

/// Reads the index, or what can be had of it.
pub(super) fn read(root: &Path) -> BTreeMap<Reference, Record> {
    match read_file(&root.join(FILE)) {
        Ok(Some(index)) => return index,
        Ok(None) if !root.join(FILE_BEFORE).exists() => return BTreeMap::new(),
        Ok(None) => tracing::warn!("index of the image store is missing, taking the one before"),
        Err(error) => {
            tracing::warn!(%error, "index of the image store is damaged, taking the one before");
            // Kept for whoever wants to know what happened; the next damage replaces it.
            if let Err(error) = fs::rename(root.join(FILE), root.join(FILE_DAMAGED)) {
                tracing::warn!(%error, "could not set the damaged index aside");
            }
        }
    }
    match read_file(&root.join(FILE_BEFORE)) {
        Ok(index) => index.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "no index of the image store can be read, images will be pulled again");
            BTreeMap::new()
        }
    }
}

fn read_file(path: &Path) -> io::Result<Option<BTreeMap<Reference, Record>>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let file: IndexFile = serde_json::from_slice(&bytes)?;
    if file.version != VERSION {
        return Err(io::Error::other(format!(
            "index has version {}, this build reads {VERSION}",
            file.version
        )));
    }
    let images = file
        .images
        .into_iter()
        .filter_map(|(name, record)| Some((Reference::parse(&name).ok()?, record)));
    Ok(Some(images.collect()))
}

/// Replaces the index.
pub(super) fn write(root: &Path, index: &BTreeMap<Reference, Record>) -> Result<(), StoreError> {
    let images =
        index.iter().map(|(reference, record)| (reference.to_string(), record.clone())).collect();
    let path = root.join(FILE);
    let new = root.join(FILE_NEW);
    let failed = |source| StoreError::new("write", &path, source);
    let bytes = serde_json::to_vec_pretty(&IndexFile { version: VERSION, images })
        .map_err(|error| failed(error.into()))?;
    let mut file = File::create(&new).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    let before = root.join(FILE_BEFORE);
    match fs::remove_file(&before).and_then(|()| fs::hard_link(&path, &before)) {
        Ok(()) => {}
        // The first write, or the second.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match fs::hard_link(&path, &before) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Err(error) => return Err(failed(error)),
    }
    fs::rename(&new, &path).map_err(failed)?;
    sync_folder(root)
}

const FILE: &str = "images.json";
const FILE_NEW: &str = "images.json.new";
const FILE_BEFORE: &str = "images.json.before";
const FILE_DAMAGED: &str = "images.json.damaged";
const VERSION: u32 = 1;

/// More rotations of a secret than a node remembers; forgotten ones ask the registry again.
const FINGERPRINTS_MAX: usize = 32;
