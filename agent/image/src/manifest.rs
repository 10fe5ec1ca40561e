//! Manifests, indexes and image configurations, parsed and bounded.
//!
//! Pure: takes bytes whose digest was already checked. It says what they mean and never fetches
//! what they point to; the `urls` of a descriptor are not even parsed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, ImageConfig, Platform};

/// A pointer to a blob, with its exact size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What a manifest's bytes turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image per platform.
    Index(Index),
}

/// One image: its configuration and layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<IndexEntry>,
}

/// A manifest in an index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct IndexEntry {
    #[serde(flatten)]
    pub(crate) descriptor: Descriptor,
    #[serde(default)]
    pub(crate) platform: Option<RawPlatform>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A platform as written in an index or an image configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl RawPlatform {
    fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl Document {
    /// Parses the bytes of a manifest or index.
    ///
    /// # Errors
    /// Not JSON, of neither kind, of both kinds at once, or beyond a bound.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ParseManifestError> {
        if bytes.len() > DOCUMENT_LEN_MAX {
            return Err(ParseManifestError::TooLarge);
        }
        let raw: RawDocument = serde_json::from_slice(bytes)?;
        match (raw.config, raw.layers, raw.manifests) {
            (Some(config), layers, None) => {
                let layers = layers.unwrap_or_default();
                let manifest = Manifest {
                    schema_version: 2,
                    media_type: raw.media_type.unwrap_or_default(),
                    config,
                    layers,
                };
                manifest.check()?;
                Ok(Self::Manifest(manifest))
            }
            (None, None, Some(manifests)) if manifests.len() <= INDEX_ENTRIES_MAX => {
                Ok(Self::Index(Index { manifests }))
            }
            (None, None, Some(_)) => Err(ParseManifestError::TooLarge),
            // The same bytes must not mean two images to two readers.
            (_, _, Some(_)) => Err(ParseManifestError::Ambiguous),
            (None, _, None) => Err(ParseManifestError::Unsupported),
        }
    }
}

impl Index {
    /// Returns the manifest that runs best on `host`.
    pub(crate) fn select(&self, host: &Platform) -> Option<&Descriptor> {
        let ranked = self.manifests.iter().filter_map(|entry| {
            let rank = match &entry.platform {
                Some(platform) => host.rank(&platform.platform())?,
                // Written by tools that know one platform only; its configuration is checked later.
                None => u32::MAX,
            };
            Some((rank, &entry.descriptor))
        });
        // The first of equals wins, as in containerd.
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, descriptor)| descriptor)
    }
}

impl Manifest {
    fn check(&self) -> Result<(), ParseManifestError> {
        if self.layers.len() > LAYERS_MAX || self.config.size > CONFIG_LEN_MAX {
            return Err(ParseManifestError::TooLarge);
        }
        match self.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            Some(layer) => Err(ParseManifestError::LayerMediaType {
                found: layer.media_type.chars().take(200).collect(),
            }),
            None => Ok(()),
        }
    }

    /// Returns the bytes of all blobs.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.layers.iter().fold(self.config.size, |sum, layer| sum.saturating_add(layer.size))
    }
}

/// Compression is told by the bytes themselves, so only what is not a tar archive is refused.
fn is_layer(media_type: &str) -> bool {
    let base = media_type.split('+').next().unwrap_or_default();
    // Docker's types name the compression at their end, as tools write them for zstd, too.
    let plain = base.strip_suffix(".gzip").or_else(|| base.strip_suffix(".zstd")).unwrap_or(base);
    matches!(
        plain,
        "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar"
    ) && !media_type.contains("encrypted")
}

/// An image configuration, with what decides whether it can run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) platform: Platform,
    /// Digests of the uncompressed layers, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) config: ImageConfig,
}

impl Configuration {
    /// Parses the bytes of an image configuration.
    ///
    /// # Errors
    /// Not JSON, or without the layers' diff ids.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ParseManifestError> {
        let raw: RawConfiguration = serde_json::from_slice(bytes)?;
        if raw.rootfs.diff_ids.len() > LAYERS_MAX {
            return Err(ParseManifestError::TooLarge);
        }
        let config = raw.config.unwrap_or_default();
        Ok(Self {
            platform: raw.platform.platform(),
            diff_ids: raw.rootfs.diff_ids,
            config: ImageConfig {
                entrypoint: config.entrypoint.unwrap_or_default().into(),
                cmd: config.cmd.unwrap_or_default().into(),
                env: config.env.unwrap_or_default(),
                user: config.user.unwrap_or_default(),
                working_dir: config.working_dir.unwrap_or_default(),
                exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
                volumes: config.volumes.unwrap_or_default().into_keys().collect(),
                stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
                labels: config.labels.unwrap_or_default(),
            },
        })
    }
}

/// Why a manifest or configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseManifestError {
    #[error("manifest is not well-formed")]
    Json(#[from] serde_json::Error),
    #[error("manifest is larger than allowed")]
    TooLarge,
    #[error("manifest is an image and an index at once")]
    Ambiguous,
    #[error("manifest has an unsupported schema version")]
    Unsupported,
    #[error("unsupported layer media type `{found}`")]
    LayerMediaType { found: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<IndexEntry>>,
}

#[derive(Deserialize)]
struct RawConfiguration {
    #[serde(flatten)]
    platform: RawPlatform,
    config: Option<RawImageConfig>,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawImageConfig {
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// Old builders wrote a single string where the specification wants a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl Default for Words {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        match words {
            Words::Many(words) => words,
            Words::One(word) => vec![word],
        }
    }
}

/// containerd's and Docker's bound on a manifest, in bytes.
pub(crate) const DOCUMENT_LEN_MAX: usize = 4 << 20;

/// Bound on an image configuration, in bytes; real ones have a few thousand.
pub(crate) const CONFIG_LEN_MAX: u64 = 4 << 20;

/// Docker refuses to build more than 127; overlayfs takes 500.
const LAYERS_MAX: usize = 128;

/// Real indexes have a few dozen.
const INDEX_ENTRIES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":1}}"#)
    }

    #[test]
    fn image_and_index_at_once_is_refused() {
        let both = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}}"#,
            descriptor("x")
        );
        assert!(matches!(Document::parse(both.as_bytes()), Err(ParseManifestError::Ambiguous)));
    }

    #[test]
    fn schema_one_is_refused() {
        let old = br#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(Document::parse(old), Err(ParseManifestError::Unsupported)));
    }

    #[test]
    fn layers_that_are_no_archives_are_refused() {
        let text = |media_type| {
            format!(r#"{{"config":{},"layers":[{}]}}"#, descriptor("x"), descriptor(media_type))
        };
        for good in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ] {
            assert!(Document::parse(text(good).as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            "",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        ] {
            let refused = Document::parse(text(bad).as_bytes());
            assert!(matches!(refused, Err(ParseManifestError::LayerMediaType { .. })), "{bad}");
        }
    }

    #[test]
    fn best_platform_of_an_index_is_selected() {
        let entry = |architecture: &str, variant: &str, size: u32| {
            format!(
                r#"{{"mediaType":"m","digest":"{DIGEST}","size":{size},"platform":{{"os":"linux","architecture":"{architecture}","variant":"{variant}"}}}}"#
            )
        };
        let text = format!(
            r#"{{"manifests":[{},{},{}]}}"#,
            entry("arm", "v6", 1),
            entry("arm", "v7", 2),
            entry("arm64", "", 3)
        );
        let Ok(Document::Index(index)) = Document::parse(text.as_bytes()) else {
            panic!("not an index")
        };
        let size = |host: Platform| index.select(&host).map(|found| found.size);
        assert_eq!(size(Platform::new("linux", "arm", Some("v7"))), Some(2));
        assert_eq!(size(Platform::new("linux", "arm", Some("v6"))), Some(1));
        assert_eq!(size(Platform::new("linux", "arm64", Some("v8"))), Some(3));
        assert_eq!(size(Platform::new("linux", "amd64", None)), None);
    }

    #[test]
    fn configuration_is_read_with_nulls_and_single_words() {
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","config":{{"Entrypoint":"sh","Cmd":null,"ExposedPorts":{{"80/tcp":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}}}}"#
        );
        let configuration = Configuration::parse(text.as_bytes()).unwrap();
        assert_eq!(configuration.config.entrypoint, ["sh"]);
        assert_eq!(configuration.config.exposed_ports, ["80/tcp"]);
        assert_eq!(configuration.diff_ids.len(), 1);
    }
}
