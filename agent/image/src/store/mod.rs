//! The images on this node's disk: blobs by digest, layers unpacked once, names in one file.
//!
//! ```text
//!  <data>/images/lock                     held by the process that has the store open
//!                images.json              names, and who may use them   (index.rs)
//!                blobs/sha256/<hex>       manifests, configurations, compressed layers
//!                partial/<hex>            downloads that go on after a cut
//!                layers/<hex>/fs          one unpacked layer per diff id
//!                incomplete/              half-unpacked and half-removed; emptied when opened
//! ```
//! Everything appears under its final name only when it is whole and on the disk, so a power cut
//! leaves nothing to repair but what `open` throws away. The store does not pull, and does not
//! decide what is garbage.

mod blob;
mod index;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufReader, Read},
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{FlockOperation, OFlags};

pub(crate) use self::{
    blob::{FinishBlobError, PartialBlob},
    index::{Access, Record},
};
use crate::{
    Digest, Image, Reference, implied,
    manifest::{Configuration, Document, Manifest},
    remove_tree::remove_tree,
    unpack::{UnpackError, unpack},
};

/// The images of one node. Clones share it.
#[derive(Clone, Debug)]
pub struct ImageStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    index: Mutex<BTreeMap<Reference, Record>>,
    /// What a pull or import is working on, and how many of them.
    pinned: Mutex<BTreeMap<Digest, usize>>,
    incomplete_count: AtomicU64,
    _lock: File,
}

/// What garbage collection must leave.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Names that pods of this node use.
    pub references: BTreeSet<Reference>,
    /// `Image::digest` of every container whose root is mounted, whatever its name means by now.
    pub digests: BTreeSet<Digest>,
}

/// What garbage collection removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Names that are gone.
    pub references: Vec<Reference>,
    /// Number of blobs and layers that are gone.
    pub removed: u64,
    /// Bytes of the blobs that are gone; their layers freed more.
    pub blob_bytes: u64,
}

impl ImageStore {
    /// Opens the store in `<data>/images`, and throws away what a power cut left half done.
    ///
    /// # Errors
    /// The folder cannot be made or read, or another process has the store open.
    pub fn open(data: &Path) -> Result<Self, OpenStoreError> {
        let root = data.join("images");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenStoreError::Prepare { path, source }
        };
        for folder in ["blobs/sha256", "partial", "layers", "incomplete"] {
            let folder = root.join(folder);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(failed(&folder))?;
        }
        let lock = File::create(root.join("lock")).map_err(failed(&root))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(OpenStoreError::InUse { path: root });
        }
        for entry in fs::read_dir(root.join("incomplete")).map_err(failed(&root))? {
            let path = entry.map_err(failed(&root))?.path();
            let removed = if path.is_dir() && !path.is_symlink() {
                remove_tree(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(failed(&path))?;
        }
        let index = index::read(&root);
        let store = Self(Arc::new(Inner {
            root,
            index: Mutex::new(index),
            pinned: Mutex::default(),
            incomplete_count: AtomicU64::new(0),
            _lock: lock,
        }));
        store.forget_incomplete();
        Ok(store)
    }

    /// Returns an image by name, if all of it is here.
    ///
    /// Whether a pod may use it is for `ImageService::ensure` to say.
    pub fn get(&self, reference: &Reference) -> Option<Image> {
        let record = self.index().get(reference).cloned()?;
        self.load(reference, &record).map(|(image, _)| image)
    }

    /// Returns all images, by name.
    pub fn list(&self) -> Vec<Image> {
        let records = self.index().clone();
        records
            .iter()
            .filter_map(|(reference, record)| Some(self.load(reference, record)?.0))
            .collect()
    }

    /// Forgets a name. Returns false if it was not known. Its blobs go with the next collection.
    ///
    /// # Errors
    /// The index could not be written.
    pub fn remove(&self, reference: &Reference) -> Result<bool, StoreError> {
        let mut index = self.index();
        let Some(record) = index.remove(reference) else { return Ok(false) };
        index::write(&self.0.root, &index).inspect_err(|_| {
            index.insert(reference.clone(), record);
        })?;
        Ok(true)
    }

    /// Removes every image, blob and layer that nothing in `keep` and no running pull needs.
    ///
    /// # Errors
    /// The index could not be written or a file not removed; the rest is still tried.
    pub fn garbage_collect(&self, keep: &Keep) -> Result<Collected, StoreError> {
        // Held to the end, so that no pull can record an image while its layers are removed.
        let mut index = self.index();
        let pinned: BTreeSet<Digest> = self.pinned().keys().copied().collect();
        let mut collected = Collected::default();
        let gone = index.iter().filter(|(reference, record)| {
            !keep.references.contains(reference)
                && !keep.digests.contains(&record.manifest)
                && !pinned.contains(&record.manifest)
        });
        collected.references = gone.map(|(reference, _)| reference.clone()).collect();
        if !collected.references.is_empty() {
            for reference in &collected.references {
                index.remove(reference);
            }
            index::write(&self.0.root, &index)?;
        }
        let mut needed = pinned;
        let manifests = index.values().map(|record| record.manifest);
        for manifest in manifests.chain(keep.digests.iter().copied()).collect::<BTreeSet<_>>() {
            needed.extend(self.contents(manifest));
        }
        let blobs = self.sweep("blobs/sha256", &needed, &mut collected);
        let partial = self.sweep("partial", &needed, &mut collected);
        let layers = self.sweep("layers", &needed, &mut collected);
        blobs.and(partial).and(layers)?;
        tracing::info!(
            images = collected.references.len(),
            removed = collected.removed,
            bytes = collected.blob_bytes,
            "collected image garbage"
        );
        Ok(collected)
    }

    /// Opens a whole blob for reading, so that a peer can have it.
    ///
    /// # Errors
    /// The blob is here and cannot be opened.
    pub fn open_blob(&self, digest: Digest) -> Result<Option<File>, StoreError> {
        match File::open(self.blob_path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::new("read a blob", &self.blob_path(digest), source)),
        }
    }

    /// Returns how many bytes images may still take of the disk, which is the node's, too: what it
    /// must write to go on is never theirs.
    pub fn room(&self) -> u64 {
        // Where it cannot be told, the write that follows says what is wrong.
        self.disk().map_or(u64::MAX, |(total, free)| free.saturating_sub(reserve(total)))
    }

    /// Returns the size of the disk and what is free of it, in bytes.
    ///
    /// # Errors
    /// The disk does not say.
    pub fn disk(&self) -> io::Result<(u64, u64)> {
        let disk = rustix::fs::statvfs(&self.0.root)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok((bytes(disk.f_blocks), bytes(disk.f_bavail)))
    }

    /// Refuses to take more than [`Self::room`].
    pub(crate) fn reserve_room(&self, bytes: u64) -> io::Result<()> {
        let room = self.room();
        match bytes > room {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, NoRoom { bytes, room })),
            false => Ok(()),
        }
    }

    /// Returns the folders of an image's layers, lowest first.
    pub(crate) fn layer_paths(&self, image: &Image) -> Vec<PathBuf> {
        image.layers.iter().map(|diff_id| self.layer_path(*diff_id).join("fs")).collect()
    }

    /// Returns an image and who may use it, if all of it is here.
    pub(crate) fn get_with_access(&self, reference: &Reference) -> Option<(Image, Access)> {
        let record = self.index().get(reference).cloned()?;
        Some((self.load(reference, &record)?.0, record.access))
    }

    pub(crate) fn has_blob(&self, digest: Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    pub(crate) fn has_layer(&self, diff_id: Digest) -> bool {
        self.layer_path(diff_id).is_dir()
    }

    /// Reads a manifest or configuration, and checks that it is still what its name says.
    pub(crate) fn read_document(&self, digest: Digest) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.blob_path(digest)).ok()?;
        file.take(crate::manifest::CONFIG_LEN_MAX + 1).read_to_end(&mut bytes).ok()?;
        (Digest::of(&bytes) == digest).then_some(bytes)
    }

    /// Keeps a document that is already in memory.
    pub(crate) fn write_document(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        Ok(self.write_blob(bytes)?.0)
    }

    /// Keeps what a reader gives, under its digest. Returns that and its size.
    pub(crate) fn write_blob(&self, mut content: impl Read) -> Result<(Digest, u64), StoreError> {
        let path = self.incomplete_path("blob");
        let failed = |source| StoreError::new("write a blob", &path, source);
        let mut file = File::create_new(&path).map_err(failed)?;
        let mut reader = crate::digest::HashingReader::new(&mut content);
        let copied = io::copy(&mut reader, &mut file).and_then(|_| file.sync_all());
        let (digest, size) = reader.finish();
        let kept = copied.map_err(failed).and_then(|()| self.keep_blob(&path, digest));
        if kept.is_err() {
            // The next opening of the store removes it if this does not.
            let _ = fs::remove_file(&path);
        }
        kept.map(|()| (digest, size))
    }

    /// Unpacks a layer whose blob is here. Returns its diff id.
    ///
    /// With `expected`, a layer that turns out to be another one is thrown away.
    pub(crate) fn unpack_layer(
        &self,
        blob: Digest,
        expected: Option<Digest>,
    ) -> Result<Digest, UnpackLayerError> {
        let path = self.incomplete_path("layer");
        let unpacked = self.unpack_into(&path, blob, expected);
        if unpacked.is_err()
            && let Err(error) = remove_tree(&path)
        {
            tracing::warn!(path = %path.display(), %error, "could not remove a half-unpacked layer");
        }
        unpacked
    }

    fn unpack_into(
        &self,
        path: &Path,
        blob: Digest,
        expected: Option<Digest>,
    ) -> Result<Digest, UnpackLayerError> {
        let content = path.join("fs");
        let io = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| UnpackLayerError::Store(StoreError::new(what, &path, source))
        };
        fs::create_dir_all(&content).map_err(io("make a folder", &content))?;
        fs::set_permissions(&content, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(io("make a folder", &content))?;
        let folder = rustix::fs::open(
            &content,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(|errno| io("open a folder", &content)(errno.into()))?;
        let blob_path = self.blob_path(blob);
        let file = File::open(&blob_path).map_err(io("read a blob", &blob_path))?;
        let room = self.room();
        let unpacked = unpack(BufReader::with_capacity(READ_LEN, file), room, folder.as_fd())
            .map_err(|source| UnpackLayerError::Unpack { layer: blob, source })?;
        if let Some(expected) = expected
            && expected != unpacked.diff_id
        {
            return Err(UnpackLayerError::WrongDiffId { expected, found: unpacked.diff_id });
        }
        implied::note(path, &unpacked.implied).map_err(io("describe a layer", path))?;
        // One call for thousands of files: all must be on the disk before the name appears.
        rustix::fs::syncfs(&folder).map_err(|errno| io("sync a layer", &content)(errno.into()))?;
        let target = self.layer_path(unpacked.diff_id);
        match fs::rename(path, &target) {
            Ok(()) => {}
            // Another image brought the same layer meanwhile.
            Err(_) if target.is_dir() => remove_tree(path).map_err(io("remove a folder", path))?,
            Err(source) => return Err(io("keep a layer", &target)(source)),
        }
        sync_folder(&self.0.root.join("layers"))?;
        tracing::debug!(layer = %unpacked.diff_id, bytes = unpacked.bytes, "unpacked a layer");
        Ok(unpacked.diff_id)
    }

    /// Gives an image, all of whose parts are here, its name.
    pub(crate) fn record(
        &self,
        reference: &Reference,
        record: Record,
    ) -> Result<Image, StoreError> {
        let mut index = self.index();
        let merged = match index.get(reference) {
            Some(present) if present.manifest == record.manifest => record.merged_with(present),
            Some(_) | None => record,
        };
        let Some((image, _)) = self.load(reference, &merged) else {
            return Err(StoreError::new(
                "read back an image",
                &self.blob_path(merged.manifest),
                io::ErrorKind::NotFound.into(),
            ));
        };
        let before = index.insert(reference.clone(), merged);
        if let Err(error) = index::write(&self.0.root, &index) {
            match before {
                Some(record) => index.insert(reference.clone(), record),
                None => index.remove(reference),
            };
            return Err(error);
        }
        Ok(image)
    }

    /// Keeps garbage collection away from some blobs and layers until the guard is dropped.
    pub(crate) fn pin(&self, digests: impl IntoIterator<Item = Digest>) -> Pinned {
        let digests: Vec<Digest> = digests.into_iter().collect();
        let mut pinned = self.pinned();
        for digest in &digests {
            *pinned.entry(*digest).or_default() += 1;
        }
        Pinned { store: self.clone(), digests }
    }

    /// Opens the unfinished download of a blob, or begins it.
    pub(crate) fn partial_blob(
        &self,
        digest: Digest,
        size: u64,
    ) -> Result<PartialBlob, StoreError> {
        PartialBlob::open(self.clone(), digest, size)
    }

    fn keep_blob(&self, from: &Path, digest: Digest) -> Result<(), StoreError> {
        let target = self.blob_path(digest);
        fs::rename(from, &target)
            .map_err(|source| StoreError::new("keep a blob", &target, source))?;
        sync_folder(&self.0.root.join("blobs/sha256"))
    }

    /// Reads an image's documents. `None` if a part is missing or damaged.
    fn load(&self, reference: &Reference, record: &Record) -> Option<(Image, Manifest)> {
        let Ok(Document::Manifest(manifest)) =
            Document::parse(&self.read_document(record.manifest)?)
        else {
            return None;
        };
        let configuration =
            Configuration::parse(&self.read_document(manifest.config.digest)?).ok()?;
        if !configuration.diff_ids.iter().all(|diff_id| self.has_layer(*diff_id)) {
            return None;
        }
        let image = Image {
            reference: reference.clone(),
            digest: record.manifest,
            target_digest: record.target,
            config_digest: manifest.config.digest,
            config: configuration.config,
            layers: configuration.diff_ids,
            size_bytes: manifest.size_bytes(),
        };
        Some((image, manifest))
    }

    /// Returns a manifest with all that it refers to.
    fn contents(&self, manifest: Digest) -> Vec<Digest> {
        let mut contents = vec![manifest];
        let Some(bytes) = self.read_document(manifest) else { return contents };
        let Ok(Document::Manifest(manifest)) = Document::parse(&bytes) else { return contents };
        contents.push(manifest.config.digest);
        contents.extend(manifest.layers.iter().map(|layer| layer.digest));
        let configuration = self
            .read_document(manifest.config.digest)
            .and_then(|bytes| Configuration::parse(&bytes).ok());
        contents.extend(configuration.into_iter().flat_map(|configuration| configuration.diff_ids));
        contents
    }

    /// Drops names whose image lost a part, so that the next use pulls it again.
    fn forget_incomplete(&self) {
        let mut index = self.index();
        let damaged: Vec<Reference> = index
            .iter()
            .filter(|(reference, record)| self.load(reference, record).is_none())
            .map(|(reference, _)| reference.clone())
            .collect();
        for reference in damaged {
            tracing::warn!(image = %reference, "image has lost a part and will be pulled again");
            index.remove(&reference);
        }
    }

    fn sweep(
        &self,
        folder: &str,
        needed: &BTreeSet<Digest>,
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        let folder = self.0.root.join(folder);
        let entries = fs::read_dir(&folder)
            .map_err(|source| StoreError::new("read a folder", &folder, source))?;
        let mut outcome = Ok(());
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let digest = entry
                .file_name()
                .to_str()
                .and_then(|name| format!("sha256:{name}").parse::<Digest>().ok());
            if digest.is_some_and(|digest| needed.contains(&digest)) {
                continue;
            }
            match self.discard(&path) {
                Ok(bytes) => {
                    collected.removed += 1;
                    collected.blob_bytes = collected.blob_bytes.saturating_add(bytes);
                }
                Err(source) => {
                    outcome = outcome.and_then(|()| Err(StoreError::new("remove", &path, source)))
                }
            }
        }
        outcome
    }

    /// Removes a blob or layer. Returns the bytes of a blob.
    fn discard(&self, path: &Path) -> io::Result<u64> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_dir() {
            fs::remove_file(path)?;
            return Ok(metadata.len());
        }
        // A layer loses its name at once: half of it must never be taken for the whole.
        let doomed = self.incomplete_path("removed");
        fs::rename(path, &doomed)?;
        remove_tree(&doomed)?;
        Ok(0)
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.0.root.join("blobs/sha256").join(digest.hex())
    }

    fn layer_path(&self, diff_id: Digest) -> PathBuf {
        self.0.root.join("layers").join(diff_id.hex())
    }

    fn incomplete_path(&self, kind: &str) -> PathBuf {
        let number = self.0.incomplete_count.fetch_add(1, Ordering::Relaxed);
        self.0.root.join("incomplete").join(format!("{kind}-{number}"))
    }

    /// A panic while the lock was held leaves the map itself whole.
    fn index(&self) -> MutexGuard<'_, BTreeMap<Reference, Record>> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pinned(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        self.0.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps blobs and layers from being collected while they are worked on.
#[derive(Debug)]
pub(crate) struct Pinned {
    store: ImageStore,
    digests: Vec<Digest>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pinned = self.store.pinned();
        for digest in &self.digests {
            match pinned.get_mut(digest) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => drop(pinned.remove(digest)),
            }
        }
    }
}

/// Why the image store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// A folder could not be made, read or cleaned.
    #[error("could not prepare image store at `{}`", path.display())]
    Prepare {
        /// What was being prepared.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("image store `{}` is in use by another process", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
}

/// Why something could not be read from or written to the store.
#[derive(Debug, thiserror::Error)]
#[error("could not {what} `{}`", path.display())]
pub struct StoreError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl StoreError {
    pub(crate) fn new(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self { what, path: path.to_owned(), source }
    }

    /// Returns whether the disk, or a quota on it, is full.
    pub fn disk_full(&self) -> bool {
        is_disk_full(&self.source)
    }
}

/// What images leave of a disk of so many bytes: a tenth, as much as a kubelet evicts pods for, but
/// no more than the records, logs and upgrades of a large node need.
fn reserve(disk_bytes: u64) -> u64 {
    (disk_bytes / 10).min(1 << 30)
}

/// Images would take what the node keeps for itself.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes are needed, and images may take {room} more of this disk")]
struct NoRoom {
    bytes: u64,
    room: u64,
}

pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull)
        || error.raw_os_error() == Some(rustix::io::Errno::DQUOT.raw_os_error())
}

/// Why a layer that is here could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackLayerError {
    #[error("could not unpack layer {layer}")]
    Unpack {
        layer: Digest,
        #[source]
        source: UnpackError,
    },
    #[error("layer unpacks to {found}, its image says {expected}")]
    WrongDiffId { expected: Digest, found: Digest },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnpackLayerError {
    pub(crate) fn disk_full(&self) -> bool {
        match self {
            Self::Unpack {
                source: UnpackError::Write { source, .. } | UnpackError::Read(source),
                ..
            } => is_disk_full(source),
            Self::Store(error) => error.disk_full(),
            Self::Unpack { .. } | Self::WrongDiffId { .. } => false,
        }
    }
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::new("sync", path, source))
}

/// How much of a blob is read at once, in bytes.
const READ_LEN: usize = 128 << 10;

#[cfg(test)]
mod tests;
