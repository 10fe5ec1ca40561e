//! The cluster's memory: etcd's semantics behind one trait.
//!
//! One global, strictly increasing revision; get, ordered range, transaction with compare on
//! modification revision, watch from a revision, compaction. Knows nothing of Kubernetes
//! objects: values are opaque bytes.
#![forbid(unsafe_code)]

mod clock;
mod disk;
mod draft;
mod history;
mod memory;
mod published;

#[cfg(test)]
mod cases;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use disk::{CreateStoreError, LogStore, OpenStoreError};
pub use history::HistoryLimits;
pub use memory::MemoryStore;

/// Position in the cluster's history. 0 means "never".
pub type Revision = u64;

/// One stored entry.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Key, ordered by bytes.
    pub key: Arc<str>,
    /// Opaque value.
    pub value: Arc<[u8]>,
    /// Revision of its creation.
    pub create_revision: Revision,
    /// Revision of its last change.
    pub mod_revision: Revision,
    /// Changes since its creation, starting at 1.
    pub version: u64,
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.key, self.mod_revision, self.value.len())
    }
}

/// How durable a write must be; see `ARCHITECTURE.md`, "Store".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A: what a client was told is stored. The reply leaves only after the commit.
    Intent,
    /// B: what agents report. In memory; written along with the next commit.
    Reported,
    /// C: leases, events, metrics. In memory only.
    Volatile,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Key that is looked at.
    pub key: String,
    /// Its modification revision must be this; 0 means that it must not exist.
    pub mod_revision: Revision,
}

/// A change that a transaction makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces.
    Put {
        /// Key.
        key: String,
        /// Value.
        value: Arc<[u8]>,
        /// Durability.
        class: Class,
    },
    /// Removes; no effect if it does not exist.
    Delete {
        /// Key.
        key: String,
    },
}

/// All changes are made, at one revision, if all conditions hold; else none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions.
    pub compares: Vec<Compare>,
    /// Changes; each key at most once.
    pub ops: Vec<Op>,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnReply {
    /// All conditions held.
    Committed {
        /// Revision of the changes.
        revision: Revision,
    },
    /// One did not.
    Conflict {
        /// Key of the first condition that failed.
        key: String,
        /// What is there.
        current: Option<KeyValue>,
        /// Revision at which it was looked at.
        revision: Revision,
    },
}

/// Which entries, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// Keys that start with this.
    pub prefix: String,
    /// Keys after this one (exclusive).
    pub start_after: Option<String>,
    /// Most entries; 0 means all.
    pub limit: usize,
    /// As of this revision; 0 means now.
    pub revision: Revision,
}

/// Entries of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeReply {
    /// Entries.
    pub entries: Vec<KeyValue>,
    /// Revision as of which they were read.
    pub revision: Revision,
    /// Entries beyond the limit.
    pub remaining: usize,
}

/// One change, as a watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// Revision of the change.
    pub revision: Revision,
    /// The entry after it; for a deletion the key with `mod_revision` of the deletion.
    pub key: Arc<str>,
    /// New entry; none if it was deleted.
    pub current: Option<KeyValue>,
    /// Entry before it; none if it was created.
    pub previous: Option<KeyValue>,
}

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// History before this revision is gone.
    #[error("revision {requested} is compacted, the oldest is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// Oldest revision that can be had.
        oldest: Revision,
    },
    /// The revision lies in the future.
    #[error("revision {requested} is in the future, the newest is {newest}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// Newest revision.
        newest: Revision,
    },
    /// The store has stopped, because its disk failed or the process is ending.
    #[error("the store has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Batches of changes in the order of their revisions, without gap or repeat. All changes of one
/// transaction come in one batch.
#[async_trait]
pub trait Watch: Send {
    /// Next batch; an error ends the watch (`Compacted`: the reader was too slow).
    async fn next(&mut self) -> Result<Arc<[WatchEvent]>, StoreError>;
}

/// A key-value store with etcd's semantics.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Newest revision.
    fn revision(&self) -> Revision;
    /// Whether the store still serves.
    ///
    /// # Errors
    /// `Stopped`, if it does not.
    fn running(&self) -> Result<(), StoreError>;
    /// One entry, as of now.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError>;
    /// Entries in the order of their keys.
    async fn range(&self, request: RangeRequest) -> Result<RangeReply, StoreError>;
    /// All or nothing; see [`Txn`].
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError>;
    /// Changes of keys that start with `prefix`, of revisions above `after`.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, StoreError>;
    /// Forgets history up to and including `revision`.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;
    /// Waits until a revision is visible: a read that must not be older than what another copy of
    /// the store has shown.
    async fn wait_for(&self, revision: Revision) -> Result<(), StoreError>;
    /// Waits until the store has stopped, and says why. One that is in use stops only because its
    /// disk failed; whoever runs it then has to end, since what the disk holds is unknown.
    async fn wait_until_stopped(&self) -> StoreError;
}
