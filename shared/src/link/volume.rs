//! Volumes of a [`Pod`](super::Pod).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::link::container::ResourceField;
use crate::link::data::DataKind;

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Name, unique in the pod.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// Empty at the pod's start, gone with it.
    EmptyDir {
        /// In memory, not on the card.
        memory: bool,
        /// Most bytes.
        size_limit: Option<u64>,
    },
    /// Files that the node writes and keeps up to date: `configMap`, `secret`, `downwardAPI` and
    /// `projected`.
    Files {
        /// Mode of the files that name none of their own.
        mode: u32,
        /// Where they come from; a later source replaces an earlier one's file of the same path.
        sources: Vec<FileSource>,
    },
    /// A path of the node.
    HostPath {
        /// The path.
        path: String,
        /// `type` as written, possibly empty.
        kind: String,
    },
}

/// Where files of a volume come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSource {
    /// Keys of a ConfigMap or Secret.
    Data {
        /// Which of the two.
        kind: DataKind,
        /// Name of the object.
        name: String,
        /// Absence, of the object or of a key, is no error.
        optional: bool,
        /// Which keys at which paths; empty means all under their own names.
        items: Vec<DataItem>,
    },
    /// One field of the pod.
    Field {
        /// The field (`metadata.labels`, ...).
        field: String,
        /// Path in the volume.
        path: String,
        /// Mode, if it differs from the volume's.
        mode: Option<u32>,
    },
    /// One resource of one of the pod's containers.
    Resource {
        /// Which.
        resource: ResourceField,
        /// Path in the volume.
        path: String,
        /// Mode, if it differs from the volume's.
        mode: Option<u32>,
    },
    /// A token of the pod's service account.
    Token {
        /// For whom; empty means the API server.
        audience: String,
        /// Life that is asked for, in seconds.
        expiration_s: u64,
        /// Path in the volume.
        path: String,
    },
}

/// One key of a ConfigMap or Secret as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataItem {
    /// Key.
    pub key: String,
    /// Path in the volume.
    pub path: String,
    /// Mode, if it differs from the volume's.
    pub mode: Option<u32>,
}
