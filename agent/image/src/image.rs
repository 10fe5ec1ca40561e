//! What the rest of the agent sees of an image.

use std::collections::BTreeMap;

use crate::{Digest, Reference};

/// An image whose layers are unpacked on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The name under which it was asked for.
    pub reference: Reference,
    /// Digest of the manifest for this node's platform.
    pub digest: Digest,
    /// Digest that the name pointed to: of the index if the image is for several platforms.
    pub target_digest: Digest,
    /// Digest of the image configuration.
    pub config_digest: Digest,
    /// What the image says about how to run it.
    pub config: ImageConfig,
    /// Diff ids, lowest layer first.
    pub layers: Vec<Digest>,
    /// Bytes of its blobs, as in the node's `status.images[].sizeBytes`.
    pub size_bytes: u64,
}

impl Image {
    /// Returns the text for `status.containerStatuses[].imageID`.
    pub fn image_id(&self) -> String {
        format!(
            "{}/{}@{}",
            self.reference.registry(),
            self.reference.repository(),
            self.target_digest
        )
    }
}

/// The part of an image's configuration that concerns running it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `Entrypoint`; a pod's `command` replaces it (and drops `cmd`).
    pub entrypoint: Vec<String>,
    /// `Cmd`; a pod's `args` replaces it.
    pub cmd: Vec<String>,
    /// `Env`, each `NAME=value`.
    pub env: Vec<String>,
    /// `User`: empty, or `user[:group]` as names or numbers; see `resolve_user`.
    pub user: String,
    /// `WorkingDir`; empty means `/`.
    pub working_dir: String,
    /// `ExposedPorts`, each `port/protocol`, sorted.
    pub exposed_ports: Vec<String>,
    /// `Volumes`: paths, sorted.
    pub volumes: Vec<String>,
    /// `StopSignal`: a name or a number.
    pub stop_signal: Option<String>,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
}
