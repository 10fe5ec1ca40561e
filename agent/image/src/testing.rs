//! What the tests share: archives of any kind, well-formed or not, and a store that goes away.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Digest, Image, ImageStore, Platform, Reference, import};

/// Writes tar archives, also those that no honest tool would write.
pub(crate) struct TarBuilder(Vec<u8>);

impl TarBuilder {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(b'0', path, "", 0o644, content)
    }

    pub(crate) fn folder(self, path: &str, mode: u32) -> Self {
        self.entry(b'5', path, "", mode, b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, 0o777, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, 0o644, b"")
    }

    /// Adds PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let len = body + (body + body.to_string().len()).to_string().len();
            content.extend_from_slice(format!("{len} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(b'x', "pax", "", 0o644, &content)
    }

    pub(crate) fn entry(
        mut self,
        kind: u8,
        path: &str,
        link: &str,
        mode: u32,
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        {
            let old = header.as_old_mut();
            for (field, text) in [(&mut old.name, path), (&mut old.linkname, link)] {
                field[..text.len()].copy_from_slice(text.as_bytes());
            }
        }
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_000_000_000);
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// An image as blobs in memory.
pub(crate) struct TestImage {
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
}

impl TestImage {
    /// Makes an image for this machine of uncompressed layers.
    pub(crate) fn new(layers: &[Vec<u8>]) -> Self {
        Self::build(layers, &host_architecture(), &[])
    }

    pub(crate) fn for_architecture(layers: &[Vec<u8>], architecture: &str) -> Self {
        Self::build(layers, architecture, &[])
    }

    /// Makes an image that says its blobs are to be had elsewhere.
    pub(crate) fn with_foreign_urls(layers: &[Vec<u8>], urls: &[&str]) -> Self {
        Self::build(layers, &host_architecture(), urls)
    }

    fn build(layers: &[Vec<u8>], architecture: &str, urls: &[&str]) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = serde_json::json!({
            "os": "linux", "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "config": { "Cmd": ["sh"], "Env": ["A=b"], "User": "web" },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let descriptor = |media_type: &str, bytes: &[u8]| {
            serde_json::json!({
                "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len(),
                "urls": urls,
            })
        };
        let layer_type = "application/vnd.oci.image.layer.v1.tar";
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(|layer| descriptor(layer_type, layer)).collect::<Vec<_>>(),
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut blobs = layers.to_vec();
        blobs.push(config);
        Self { blobs, manifest }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Writes an OCI layout.
    pub(crate) fn write_layout(&self, folder: &Path, name: Option<&str>) {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for blob in self.blobs.iter().chain([&self.manifest]) {
            fs::write(blobs.join(Digest::of(blob).hex()), blob).unwrap();
        }
        let annotations =
            name.map(|name| serde_json::json!({ "org.opencontainers.image.ref.name": name }));
        let index = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": self.digest(), "size": self.manifest.len(), "annotations": annotations.unwrap_or_else(|| serde_json::json!({})),
            }],
        });
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
    }
}

/// Returns this machine's architecture in Go's words.
pub(crate) fn host_architecture() -> String {
    Platform::host().to_string().split('/').nth(1).unwrap().to_owned()
}

/// A store in a folder that is removed at the end.
pub(crate) struct TestStore {
    pub(crate) store: ImageStore,
    home: tempfile::TempDir,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { store: ImageStore::open(home.path()).unwrap(), home }
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// Imports an image of these layers.
    pub(crate) fn image(&self, name: &str, layers: &[Vec<u8>]) -> Image {
        let layout: PathBuf = self.path().join("layout").join(name);
        TestImage::new(layers).write_layout(&layout, None);
        let name = Reference::parse(name).unwrap();
        let image = import(&self.store, &layout, Some(&name)).unwrap().remove(0);
        fs::remove_dir_all(self.path().join("layout")).unwrap();
        image
    }

    /// Closes the store and opens it again, as after a restart.
    pub(crate) fn reopen(self, damage: impl FnOnce(&Path)) -> Self {
        let Self { store, home } = self;
        drop(store);
        damage(&home.path().join("images"));
        Self { store: ImageStore::open(home.path()).unwrap(), home }
    }
}
