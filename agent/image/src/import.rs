//! Imports images from a file or folder: OCI layouts and what `docker save` writes.
//!
//! An archive is read once, front to back. Each file in it becomes a blob under its digest, and
//! the small ones that say what belongs together are kept in memory until the end; so neither the
//! order of the files nor their paths matter, and no path of the archive is ever written to.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde::Deserialize;

use crate::{
    Digest, Image, ImageStore, ParseReferenceError, Platform, Reference,
    decompress::decompress,
    manifest::{
        Configuration, DOCUMENT_LEN_MAX, Descriptor, Document, Index, IndexEntry, Manifest,
        ParseManifestError,
    },
    store::{Access, Pinned, Record, StoreError, UnpackLayerError},
};

/// Imports all images for this machine in `path`; gzip and zstd are told by themselves.
///
/// With `name`, the image gets this name whatever the archive says, and there must be only one.
/// Imported images may be used by every pod of the node. Blocks.
///
/// # Errors
/// Not an image archive, damaged, for another platform, without a name, or the store failed.
pub fn import(
    store: &ImageStore,
    path: &Path,
    name: Option<&Reference>,
) -> Result<Vec<Image>, ImportError> {
    let unreadable = |source| ImportError::Read { path: path.to_owned(), source };
    let mut contents = Contents::new(store);
    if path.is_dir() {
        contents.read_folder(path).map_err(unreadable)?;
    } else {
        let file = File::open(path).map_err(unreadable)?;
        contents.read_archive(BufReader::new(file), path)?;
    }
    let images = contents.images()?;
    let names = match (name, images.as_slice()) {
        (_, []) => return Err(ImportError::Empty { path: path.to_owned() }),
        (Some(name), [(target, manifest, _)]) => vec![(name.clone(), *target, *manifest)],
        (Some(_), _) => return Err(ImportError::SeveralImages),
        (None, _) => named(images)?,
    };
    names
        .into_iter()
        .map(|(name, target, manifest)| contents.finish(&name, target, manifest))
        .collect()
}

/// Target, manifest for this machine, and the names that the archive gives.
type Found = (Digest, Digest, Vec<String>);

fn named(images: Vec<Found>) -> Result<Vec<(Reference, Digest, Digest)>, ImportError> {
    let mut named = Vec::new();
    for (target, manifest, names) in images {
        if names.is_empty() {
            return Err(ImportError::NoName { digest: target });
        }
        for name in names {
            named.push((Reference::parse(&name)?, target, manifest));
        }
    }
    Ok(named)
}

/// What an archive turned out to hold.
struct Contents<'a> {
    store: &'a ImageStore,
    /// Keeps what was read from garbage collection.
    pins: Vec<Pinned>,
    /// Digest and size by normalised path; only files.
    files: BTreeMap<String, (Digest, u64)>,
    /// Old `docker save` links equal layers to each other.
    links: BTreeMap<String, String>,
    /// The folder, if it is not an archive.
    folder: Option<PathBuf>,
}

impl<'a> Contents<'a> {
    fn new(store: &'a ImageStore) -> Self {
        Self {
            store,
            pins: Vec::new(),
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            folder: None,
        }
    }

    fn read_archive(&mut self, file: BufReader<File>, path: &Path) -> Result<(), ImportError> {
        let unreadable = |source| ImportError::Read { path: path.to_owned(), source };
        let room = self.store.room();
        let mut archive = tar::Archive::new(decompress(file, room).map_err(unreadable)?);
        for (count, entry) in archive.entries().map_err(unreadable)?.enumerate() {
            let mut entry = entry.map_err(unreadable)?;
            if count >= FILES_MAX {
                return Err(ImportError::TooMany);
            }
            let path = normalise(&String::from_utf8_lossy(&entry.path_bytes()));
            let kind = entry.header().entry_type();
            if kind.is_file() || kind.is_contiguous() {
                let blob = self.store.write_blob(&mut entry)?;
                self.keep(path, blob);
            } else if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                // Only a symlink starts from its own folder.
                let parent =
                    path.rsplit_once('/').filter(|_| kind.is_symlink()).map(|(parent, _)| parent);
                let target =
                    parent.map_or_else(|| target.clone(), |parent| format!("{parent}/{target}"));
                self.links.insert(path, normalise(&target));
            }
        }
        Ok(())
    }

    fn read_folder(&mut self, path: &Path) -> io::Result<()> {
        self.folder = Some(path.to_owned());
        for name in ["index.json", "manifest.json"] {
            if let Some(file) = self.open_in_folder(name)? {
                let blob = self.store.write_blob(file).map_err(io::Error::other)?;
                self.keep(name.to_owned(), blob);
            }
        }
        Ok(())
    }

    /// Opens a file of the folder; a symlink in it must not lead out of it.
    fn open_in_folder(&self, name: &str) -> io::Result<Option<File>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let folder = rustix::fs::openat(
            CWD,
            folder,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve) {
            Ok(file) => Ok(Some(File::from(file))
                .filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn keep(&mut self, path: String, blob: (Digest, u64)) {
        self.pins.push(self.store.pin([blob.0]));
        self.files.insert(path, blob);
    }

    /// Finds the images: by `index.json` if there is one, else by Docker's `manifest.json`.
    fn images(&mut self) -> Result<Vec<Found>, ImportError> {
        let docker: Vec<DockerImage> = match self.small("manifest.json") {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(ParseManifestError::from)?,
            None => Vec::new(),
        };
        let Some(bytes) = self.small("index.json") else {
            return docker.into_iter().map(|image| self.docker_image(image)).collect();
        };
        let Document::Index(index) = Document::parse(&bytes)? else {
            return Err(ImportError::NoIndex);
        };
        let mut found = Vec::new();
        // One image, whose name Docker wrote elsewhere.
        let docker_names = match docker.as_slice() {
            [only] if index.manifests.len() == 1 => only.repo_tags.clone().unwrap_or_default(),
            _ => Vec::new(),
        };
        for entry in index.manifests {
            let mut names = names_of(&entry);
            if names.is_empty() {
                names = docker_names.clone();
            }
            let target = entry.descriptor.digest;
            match self.for_this_machine(entry)? {
                Some(manifest) => found.push((target, manifest, names)),
                None => return Err(ImportError::WrongPlatform { platform: Platform::host() }),
            }
        }
        // `umoci` and `skopeo` write one name as often as they were asked to.
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn for_this_machine(&mut self, entry: IndexEntry) -> Result<Option<Digest>, ImportError> {
        let digest = entry.descriptor.digest;
        match Document::parse(&self.document(digest)?)? {
            Document::Manifest(_) => {
                let only = Index { manifests: vec![entry] };
                Ok(only.select(&Platform::host()).map(|_| digest))
            }
            Document::Index(index) => match index.select(&Platform::host()) {
                Some(selected) => {
                    let digest = selected.digest;
                    self.document(digest)?;
                    Ok(Some(digest))
                }
                None => Ok(None),
            },
        }
    }

    /// Writes the manifest that old `docker save` archives leave out.
    fn docker_image(&mut self, image: DockerImage) -> Result<Found, ImportError> {
        let descriptor = |contents: &Self, path: &str, media_type: &str| {
            let (digest, size) = contents
                .file(path)
                .ok_or_else(|| ImportError::Missing { what: path.to_owned() })?;
            Ok::<_, ImportError>(Descriptor { media_type: media_type.to_owned(), digest, size })
        };
        let config = descriptor(self, &image.config, "application/vnd.oci.image.config.v1+json")?;
        let layers = image
            .layers
            .iter()
            .map(|path| descriptor(self, path, "application/vnd.oci.image.layer.v1.tar"));
        let manifest = Manifest {
            schema_version: 2,
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            config,
            layers: layers.collect::<Result<_, _>>()?,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(ParseManifestError::from)?;
        Document::parse(&bytes)?;
        let digest = self.store.write_document(&bytes)?;
        self.pins.push(self.store.pin([digest]));
        Ok((digest, digest, image.repo_tags.unwrap_or_default()))
    }

    /// Unpacks what is not yet unpacked and names the image.
    fn finish(
        &mut self,
        name: &Reference,
        target: Digest,
        digest: Digest,
    ) -> Result<Image, ImportError> {
        let Document::Manifest(manifest) = Document::parse(&self.document(digest)?)? else {
            return Err(ImportError::NoIndex);
        };
        let configuration = Configuration::parse(&self.document(manifest.config.digest)?)?;
        if Platform::host().rank(&configuration.platform).is_none() {
            return Err(ImportError::WrongPlatform { platform: Platform::host() });
        }
        if configuration.diff_ids.len() != manifest.layers.len() {
            return Err(ParseManifestError::Ambiguous.into());
        }
        self.pins.push(self.store.pin(configuration.diff_ids.iter().copied()));
        for (layer, diff_id) in manifest.layers.iter().zip(&configuration.diff_ids) {
            if !self.store.has_layer(*diff_id) {
                self.blob(layer.digest)?;
                self.store.unpack_layer(layer.digest, Some(*diff_id))?;
            }
        }
        let access = Access { public: true, fingerprints: Vec::new() };
        Ok(self.store.record(name, Record { target, manifest: digest, access })?)
    }

    /// Makes a blob of the folder or archive present in the store.
    fn blob(&mut self, digest: Digest) -> Result<(), ImportError> {
        if self.store.has_blob(digest) {
            self.pins.push(self.store.pin([digest]));
            return Ok(());
        }
        let path = format!("blobs/sha256/{}", digest.hex());
        let missing = || ImportError::Missing { what: digest.to_string() };
        let opened = self.open_in_folder(&path);
        let file = opened
            .map_err(|source| ImportError::Read { path: path.clone().into(), source })?
            .ok_or_else(missing)?;
        let (found, size) = self.store.write_blob(file)?;
        self.keep(path, (found, size));
        if found == digest {
            Ok(())
        } else {
            Err(ImportError::WrongDigest { expected: digest, found })
        }
    }

    fn document(&mut self, digest: Digest) -> Result<Vec<u8>, ImportError> {
        self.blob(digest)?;
        self.store
            .read_document(digest)
            .ok_or_else(|| ImportError::Missing { what: digest.to_string() })
    }

    fn small(&self, path: &str) -> Option<Vec<u8>> {
        let (digest, size) = self.file(path)?;
        let len_max = u64::try_from(DOCUMENT_LEN_MAX).unwrap_or(u64::MAX);
        if size <= len_max { self.store.read_document(digest) } else { None }
    }

    fn file(&self, path: &str) -> Option<(Digest, u64)> {
        let path = normalise(path);
        let path = self.links.get(&path).unwrap_or(&path);
        self.files.get(path).copied()
    }
}

/// Resolves `.` and `..` in a path that is only ever a key here.
fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Takes the full name if there is one; a bare tag is no name of an image.
fn names_of(entry: &IndexEntry) -> Vec<String> {
    let full = entry.annotations.get("io.containerd.image.name");
    let short = entry
        .annotations
        .get("org.opencontainers.image.ref.name")
        .filter(|name| name.contains([':', '/']));
    full.or(short).cloned().into_iter().collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Why an archive could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file or folder could not be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Neither `index.json` nor `manifest.json`, or no image in them.
    #[error("no image in `{}`: neither an OCI layout nor an archive of `docker save`", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
    /// `index.json` is no index.
    #[error("index of the archive is malformed")]
    NoIndex,
    /// The archive has more files than an image archive needs.
    #[error("archive has more than {FILES_MAX} files")]
    TooMany,
    /// The archive refers to what it does not hold.
    #[error("archive lacks `{what}`")]
    Missing {
        /// What is missing.
        what: String,
    },
    /// A file of the layout is not what its name says.
    #[error("archive has content with digest {found} under the name {expected}")]
    WrongDigest {
        /// The name.
        expected: Digest,
        /// The content.
        found: Digest,
    },
    /// The archive gives an image no name, and neither did the caller.
    #[error("image {digest} has no name in the archive, give it one")]
    NoName {
        /// The image.
        digest: Digest,
    },
    /// One name for several images.
    #[error("archive holds several images, which cannot all have the same name")]
    SeveralImages,
    /// A name in the archive is malformed.
    #[error("name in the archive is malformed")]
    Name(#[from] ParseReferenceError),
    /// The image is for other machines.
    #[error("no match for platform {platform} in manifest")]
    WrongPlatform {
        /// This machine's platform.
        platform: Platform,
    },
    /// A manifest or configuration is malformed.
    #[error("archive has an unusable manifest")]
    Manifest {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A layer could not be unpacked.
    #[error("could not unpack the image")]
    Unpack {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ParseManifestError> for ImportError {
    fn from(error: ParseManifestError) -> Self {
        Self::Manifest { source: error.into() }
    }
}

impl From<UnpackLayerError> for ImportError {
    fn from(error: UnpackLayerError) -> Self {
        Self::Unpack { source: error.into() }
    }
}

/// An archive of many images has a few thousand.
const FILES_MAX: usize = 20_000;

#[cfg(test)]
mod tests;
