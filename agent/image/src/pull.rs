//! Makes an image present for a pod: from the store if the pod may have it, else from a registry.
//!
//! Concurrent wishes for the same image with the same credentials are one pull. Waiting is
//! cancelled by dropping; the pull goes on, as the next attempt would want it anyway. Nothing is
//! retried here: the pod's worker decides when to try again.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, Shared},
    stream,
};
use tokio::{sync::Semaphore, task::JoinError};

use crate::{
    Digest, Image, ImageStore, Platform, PullSecrets, Reference, Registries,
    manifest::{Configuration, Descriptor, Document, Manifest, ParseManifestError},
    registry::{Allowed, FetchError, NewTransportError, RegistryClient, Session},
    store::{Access, FinishBlobError, Record, StoreError, UnpackLayerError},
};

/// A container's `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PullPolicy {
    /// Ask the registry each time what the name means.
    Always,
    /// Ask only if the image is not here, or not for this pod.
    IfNotPresent,
    /// Never ask.
    Never,
}

/// Pulls images into a store. Clones share it.
#[derive(Clone)]
pub struct ImageService(Arc<Inner>);

struct Inner {
    store: ImageStore,
    client: Arc<RegistryClient>,
    platform: Platform,
    running: Mutex<BTreeMap<PullKey, SharedPull>>,
    /// Those that may unpack a layer.
    unpackers: Semaphore,
    /// One per blob and layer, so that two images with the same layer fetch it once.
    work_locks: Mutex<BTreeMap<(Work, Digest), WorkLock>>,
}

/// What must not be done twice at a time. Unpacking holds its lock while it downloads, and the two
/// digests are equal for a layer that is not compressed, so the kinds are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Unpack,
    Download,
}

type WorkLock = Arc<tokio::sync::Mutex<()>>;
type PullKey = (Reference, Vec<String>);
type SharedPull = Shared<BoxFuture<'static, Result<Image, PullError>>>;

impl fmt::Debug for ImageService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ImageService").field("store", &self.0.store).finish_non_exhaustive()
    }
}

impl ImageService {
    /// Makes a service that pulls into `store`.
    ///
    /// # Errors
    /// A certificate authority that `registries` names cannot be read.
    pub fn new(store: ImageStore, registries: Registries) -> Result<Self, NewImageServiceError> {
        let client = Arc::new(RegistryClient::new(registries)?);
        Ok(Self(Arc::new(Inner {
            store,
            client,
            platform: Platform::host(),
            running: Mutex::default(),
            unpackers: Semaphore::new(UNPACKERS_MAX),
            work_locks: Mutex::default(),
        })))
    }

    /// Returns the store that images are pulled into.
    pub fn store(&self) -> &ImageStore {
        &self.0.store
    }

    /// Returns the image, with all layers unpacked, if the pod with these secrets may have it.
    ///
    /// # Errors
    /// See [`PullError`]; `PullError::reason` is the container's waiting reason.
    pub async fn ensure(
        &self,
        reference: &Reference,
        policy: PullPolicy,
        secrets: &PullSecrets,
    ) -> Result<Image, PullError> {
        let fingerprints = secrets.fingerprints(reference);
        let store = self.0.store.clone();
        let name = reference.clone();
        // Reading the image's documents touches the card.
        let present = tokio::task::spawn_blocking(move || store.get_with_access(&name)).await?;
        match (policy, present) {
            (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, None) => {}
            (PullPolicy::IfNotPresent | PullPolicy::Never, Some((image, access)))
                if access.allows(&fingerprints) =>
            {
                return Ok(image);
            }
            // Here, but another pod's: the registry has to say whether this one may have it too.
            (PullPolicy::IfNotPresent, Some(_)) => {}
            (PullPolicy::Never, Some(_)) => {
                return Err(PullError::NotForThisPod { image: Arc::new(reference.clone()) });
            }
            (PullPolicy::Never, None) => {
                return Err(PullError::NeverPull { image: Arc::new(reference.clone()) });
            }
        }
        self.join(reference, fingerprints, secrets).await
    }

    /// Joins the pull that is running, or starts it.
    fn join(
        &self,
        reference: &Reference,
        fingerprints: Vec<String>,
        secrets: &PullSecrets,
    ) -> SharedPull {
        let key = (reference.clone(), fingerprints);
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pull) = running.get(&key) {
            return pull.clone();
        }
        let (service, reference, secrets, own_key) =
            (self.clone(), reference.clone(), secrets.clone(), key.clone());
        let task = tokio::spawn(async move {
            // Also when the pull panics or the runtime ends.
            let _forget = ForgetPull { service: &service, key: own_key };
            service.pull(&reference, &secrets).await
        });
        let pull =
            task.map(|ended| ended.unwrap_or_else(|error| Err(error.into()))).boxed().shared();
        running.insert(key, pull.clone());
        pull
    }

    async fn pull(&self, reference: &Reference, secrets: &PullSecrets) -> Result<Image, PullError> {
        let failed = |error| PullError::fetch(reference, error);
        let session = self.0.client.session(reference, secrets);
        let which = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_owned(),
        };
        tracing::info!(image = %reference, "pulling image");
        let (bytes, allowed) = session.manifest(&which).await.map_err(failed)?;
        let target = Digest::of(&bytes);
        let (bytes, manifest) = self.resolve_platform(reference, &session, bytes).await?;
        let digest = Digest::of(&bytes);
        let mut digests = vec![digest, manifest.config.digest];
        digests.extend(manifest.layers.iter().map(|layer| layer.digest));
        let _pinned = self.0.store.pin(digests);
        self.write_document(bytes).await?;
        self.fetch(&session, reference, &manifest.config).await?;
        let configuration = self.configuration(reference, &manifest)?;
        let _pinned_layers = self.0.store.pin(configuration.diff_ids.iter().copied());
        let mut layers = Vec::new();
        for (layer, diff_id) in manifest.layers.iter().zip(&configuration.diff_ids) {
            layers.push(self.layer(&session, reference, layer, *diff_id).boxed());
        }
        stream::iter(layers).buffer_unordered(LAYERS_AT_ONCE).try_collect::<()>().await?;
        let access = match allowed {
            Allowed::Everyone => Access { public: true, fingerprints: Vec::new() },
            Allowed::Holder { fingerprint } => {
                Access { public: false, fingerprints: vec![fingerprint] }
            }
        };
        let (store, name) = (self.0.store.clone(), reference.clone());
        let record = Record { target, manifest: digest, access };
        let image = tokio::task::spawn_blocking(move || store.record(&name, record)).await??;
        tracing::info!(image = %reference, digest = %image.digest, bytes = image.size_bytes, "pulled image");
        Ok(image)
    }

    /// Finds the manifest for this machine.
    async fn resolve_platform(
        &self,
        reference: &Reference,
        session: &Session,
        bytes: Vec<u8>,
    ) -> Result<(Vec<u8>, Manifest), PullError> {
        let malformed = |source| PullError::Malformed {
            image: Arc::new(reference.clone()),
            source: Arc::new(source),
        };
        let index = match Document::parse(&bytes).map_err(malformed)? {
            Document::Manifest(manifest) => return Ok((bytes, manifest)),
            Document::Index(index) => index,
        };
        let selected =
            index.select(&self.0.platform).ok_or_else(|| self.wrong_platform(reference))?;
        let fetched = session.manifest(&selected.digest.to_string()).await;
        let (bytes, _) = fetched.map_err(|error| PullError::fetch(reference, error))?;
        match Document::parse(&bytes).map_err(malformed)? {
            Document::Manifest(manifest) => Ok((bytes, manifest)),
            // An index in an index is allowed by the letter and used by nobody.
            Document::Index(_) => Err(malformed(ParseManifestError::Unsupported)),
        }
    }

    /// Reads the configuration that was just fetched, and checks that it can run here.
    fn configuration(
        &self,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<Configuration, PullError> {
        let malformed = |source| PullError::Malformed {
            image: Arc::new(reference.clone()),
            source: Arc::new(source),
        };
        let bytes = self.0.store.read_document(manifest.config.digest).unwrap_or_default();
        let configuration = Configuration::parse(&bytes).map_err(malformed)?;
        if self.0.platform.rank(&configuration.platform).is_none() {
            return Err(self.wrong_platform(reference));
        }
        if configuration.diff_ids.len() != manifest.layers.len() {
            return Err(malformed(ParseManifestError::Ambiguous));
        }
        Ok(configuration)
    }

    fn wrong_platform(&self, reference: &Reference) -> PullError {
        PullError::WrongPlatform {
            image: Arc::new(reference.clone()),
            platform: self.0.platform.clone(),
        }
    }

    async fn write_document(&self, bytes: Vec<u8>) -> Result<(), PullError> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || store.write_document(&bytes)).await??;
        Ok(())
    }

    /// Makes one layer present, unpacked.
    async fn layer(
        &self,
        session: &Session,
        reference: &Reference,
        layer: &Descriptor,
        diff_id: Digest,
    ) -> Result<(), PullError> {
        let lock = self.work_lock(Work::Unpack, diff_id);
        let _one_at_a_time = lock.lock().await;
        if self.0.store.has_layer(diff_id) {
            tracing::debug!(image = %reference, layer = %diff_id, "layer is already here");
            return Ok(());
        }
        self.fetch(session, reference, layer).await?;
        let (store, blob) = (self.0.store.clone(), layer.digest);
        // It is never closed.
        let _permit = self.0.unpackers.acquire().await.ok();
        let unpacked =
            tokio::task::spawn_blocking(move || store.unpack_layer(blob, Some(diff_id))).await?;
        unpacked.map_err(|source| match source.disk_full() {
            true => PullError::DiskFull { image: Arc::new(reference.clone()) },
            false => {
                PullError::Unpack { image: Arc::new(reference.clone()), source: Arc::new(source) }
            }
        })?;
        Ok(())
    }

    /// Makes one blob present.
    async fn fetch(
        &self,
        session: &Session,
        reference: &Reference,
        blob: &Descriptor,
    ) -> Result<(), PullError> {
        let lock = self.work_lock(Work::Download, blob.digest);
        let _one_at_a_time = lock.lock().await;
        if self.0.store.has_blob(blob.digest) {
            return Ok(());
        }
        let fetched = session.blob(&self.0.store, blob.digest, blob.size).await;
        fetched.map_err(|error| PullError::fetch(reference, error))?;
        tracing::debug!(image = %reference, blob = %blob.digest, size = blob.size, "downloaded");
        Ok(())
    }

    fn work_lock(&self, work: Work, digest: Digest) -> WorkLock {
        let mut locks = self.0.work_locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds are of no more use.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry((work, digest)).or_default())
    }
}

struct ForgetPull<'a> {
    service: &'a ImageService,
    key: PullKey,
}

impl Drop for ForgetPull<'_> {
    fn drop(&mut self) {
        let mut running = self.service.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.key);
    }
}

/// Why the image service could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not set up image pulls")]
pub struct NewImageServiceError(#[from] NewTransportError);

/// Why a pod cannot have an image. The texts are those that users of Kubernetes know.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PullError {
    /// The registry has no such image.
    #[error("failed to resolve reference \"{image}\": {image}: not found")]
    NotFound {
        /// The image.
        image: Arc<Reference>,
    },
    /// The registry refuses, or hides, the image.
    #[error(
        "failed to resolve reference \"{image}\": pull access denied, repository does not exist or may \
         require authorization: server message: {message}"
    )]
    Unauthorized {
        /// The image.
        image: Arc<Reference>,
        /// The registry's words.
        message: String,
    },
    /// The registry gives no usable answer: no connection, no TLS, too many requests.
    #[error("failed to pull image \"{image}\"")]
    Unreachable {
        /// The image.
        image: Arc<Reference>,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// What came is not what its digest says.
    #[error(
        "failed to pull image \"{image}\": unexpected content: got {found}, expected {expected}"
    )]
    WrongDigest {
        /// The image.
        image: Arc<Reference>,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The image is for other machines.
    #[error(
        "failed to pull and unpack image \"{image}\": no match for platform {platform} in manifest"
    )]
    WrongPlatform {
        /// The image.
        image: Arc<Reference>,
        /// This machine's platform.
        platform: Platform,
    },
    /// The manifest or configuration cannot be used.
    #[error("failed to pull image \"{image}\": unusable manifest")]
    Malformed {
        /// The image.
        image: Arc<Reference>,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A blob is longer or shorter than its descriptor says.
    #[error("failed to pull image \"{image}\"")]
    WrongSize {
        /// The image.
        image: Arc<Reference>,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A layer could not be unpacked.
    #[error("failed to pull and unpack image \"{image}\"")]
    Unpack {
        /// The image.
        image: Arc<Reference>,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The node has no room.
    #[error(
        "failed to pull image \"{image}\": no space left on device: images may not take the last \
         tenth of the node's disk"
    )]
    DiskFull {
        /// The image.
        image: Arc<Reference>,
    },
    /// The store failed otherwise.
    #[error("image store failed")]
    Store {
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Policy `Never`, and the image is not here.
    #[error("Container image \"{image}\" is not present with pull policy of Never")]
    NeverPull {
        /// The image.
        image: Arc<Reference>,
    },
    /// Policy `Never`, and the image is here for other pods only.
    #[error(
        "Container image \"{image}\" is present, but was pulled with credentials that this pod does not have"
    )]
    NotForThisPod {
        /// The image.
        image: Arc<Reference>,
    },
    /// The pull was stopped with its task.
    #[error("pull was stopped")]
    Stopped {
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl PullError {
    /// Returns the reason for `status.containerStatuses[].state.waiting`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NeverPull { .. } | Self::NotForThisPod { .. } => "ErrImageNeverPull",
            Self::Unreachable { .. } => "RegistryUnavailable",
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::WrongDigest { .. }
            | Self::WrongPlatform { .. }
            | Self::Malformed { .. }
            | Self::WrongSize { .. }
            | Self::Unpack { .. }
            | Self::DiskFull { .. }
            | Self::Store { .. }
            | Self::Stopped { .. } => "ErrImagePull",
        }
    }

    /// Returns the text with all causes, for a status or an event.
    pub fn message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Returns whether the policy forbids what would be needed.
    pub fn never_pull(&self) -> bool {
        matches!(self, Self::NeverPull { .. } | Self::NotForThisPod { .. })
    }

    /// Returns whether the node had no room.
    pub fn disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    fn fetch(image: &Reference, error: FetchError) -> Self {
        let image = Arc::new(image.clone());
        match error {
            FetchError::NotFound => Self::NotFound { image },
            FetchError::Unauthorized { message } => Self::Unauthorized { image, message },
            FetchError::WrongDigest { expected, found } => {
                Self::WrongDigest { image, expected, found }
            }
            FetchError::Blob { source } => match &*source {
                FinishBlobError::Store(error) if error.disk_full() => Self::DiskFull { image },
                FinishBlobError::Store(_) => Self::Store { source },
                FinishBlobError::TooLong { .. }
                | FinishBlobError::TooShort { .. }
                | FinishBlobError::WrongDigest { .. } => Self::WrongSize { image, source },
            },
            FetchError::Stopped { source } => Self::Stopped { source },
            error @ (FetchError::Unreachable { .. }
            | FetchError::Status { .. }
            | FetchError::Realm { .. }
            | FetchError::AnswerTooLong) => Self::Unreachable { image, source: Arc::new(error) },
        }
    }
}

impl From<StoreError> for PullError {
    fn from(error: StoreError) -> Self {
        Self::Store { source: Arc::new(error) }
    }
}

impl From<JoinError> for PullError {
    fn from(error: JoinError) -> Self {
        Self::Stopped { source: Arc::new(error) }
    }
}

impl From<UnpackLayerError> for PullError {
    fn from(error: UnpackLayerError) -> Self {
        Self::Store { source: Arc::new(error) }
    }
}

/// Layers of all images that are unpacked at a time: each takes a thread and up to 32 MiB for as long
/// as the card needs.
const UNPACKERS_MAX: usize = 2;

/// Layers of one image at a time: a card and a slow link are not made faster by more.
const LAYERS_AT_ONCE: usize = 3;

#[cfg(test)]
mod tests;
