//! ConfigMaps and Secrets that pods of a node use.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// ConfigMap or Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DataKind {
    /// ConfigMap.
    ConfigMap,
    /// Secret: kept in memory only on the node.
    Secret,
}

/// Identity of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DataKey {
    /// Which of the two.
    pub kind: DataKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A ConfigMap or Secret that a pod here uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Identity.
    pub key: DataKey,
    /// Store revision of its last change.
    pub revision: u64,
    /// `type` of a Secret, else empty.
    pub secret_type: String,
    /// Content: `data`, and `binaryData` or the decoded `data` of a Secret.
    pub entries: BTreeMap<String, Vec<u8>>,
}
