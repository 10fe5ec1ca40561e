//! Volumes of a [`Pod`](super::Pod).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

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
    /// Files from a ConfigMap or Secret.
    Data {
        /// Which of the two.
        kind: DataKind,
        /// Name of the object.
        name: String,
        /// Absence is no error.
        optional: bool,
        /// Mode of the files.
        mode: u32,
        /// Which keys at which paths; empty means all under their own names.
        items: Vec<DataItem>,
    },
    /// A path of the node.
    HostPath {
        /// The path.
        path: String,
        /// `type` as written, possibly empty.
        kind: String,
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
