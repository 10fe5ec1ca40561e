//! The store of a single master: all entries in memory, a log in one file as the durable copy.
//!
//! Reads and watches never touch the file. One thread writes; see [`writer`].

mod errors;
mod file;
mod frame;
mod header;
mod medium;
mod replay;
mod unwritten;
mod writer;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use tokio::sync::oneshot;

pub use errors::{CreateStoreError, OpenStoreError};

use crate::draft::assert_keys_differ;
use crate::history::{History, HistoryLimits};
use crate::published::Published;
use crate::{
    KeyValue, RangeReply, RangeRequest, Revision, Store, StoreError, Txn, TxnReply, Watch,
};
use writer::{Request, Writer};

/// Entries in memory, with a durable copy in one file. Dropping it writes what agents reported
/// last and closes the file.
pub struct LogStore {
    published: Arc<Published>,
    commits: Arc<AtomicU64>,
    /// None once the store is being dropped. Unbounded: each caller has one request in it and
    /// waits for the reply, so the API server's limit on requests bounds it.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("published", &self.published)
            .field("commits", &self.commits())
            .finish_non_exhaustive()
    }
}

impl LogStore {
    /// Creates the file of a new cluster, readable by its owner only, and opens it.
    ///
    /// # Errors
    /// If a file is there already, or it cannot be written.
    pub fn create(path: &Path, cluster_id: &str) -> Result<Self, CreateStoreError> {
        // A fresh state's keys come from the system's source of randomness.
        let salt = RandomState::new().build_hasher().finish();
        file::create(path, cluster_id, salt)?;
        Ok(Self::open(path, cluster_id)?)
    }

    /// Opens the file of an existing cluster, and checks all of it: a damaged one is refused, not
    /// served in part.
    ///
    /// # Errors
    /// If it is missing, damaged, in use, or not this cluster's.
    pub fn open(path: &Path, cluster_id: &str) -> Result<Self, OpenStoreError> {
        Self::open_with_limits(path, cluster_id, HistoryLimits::default())
    }

    /// As [`LogStore::open`], with a past of this size.
    ///
    /// # Errors
    /// As [`LogStore::open`].
    pub fn open_with_limits(
        path: &Path,
        cluster_id: &str,
        limits: HistoryLimits,
    ) -> Result<Self, OpenStoreError> {
        let loaded = file::open(path, cluster_id)?;
        let history = History::new(loaded.entries, loaded.revision, limits);
        Self::start(history, loaded.log, loaded.reserved)
            .map_err(|source| OpenStoreError::StartWriter { source })
    }

    fn start(history: History, log: file::Log, reserved: Revision) -> Result<Self, std::io::Error> {
        let published = Arc::new(Published::new(history));
        let commits = Arc::new(AtomicU64::new(0));
        let (requests, receiver) = mpsc::channel();
        let writer =
            Writer::new(Arc::clone(&published), Arc::clone(&commits), receiver, log, reserved);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(|| writer.run())?;
        Ok(Self { published, commits, requests: Some(requests), thread: Some(thread) })
    }

    /// Times that the file was written since it was opened.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
        // Watches may outlive the store; they end here.
        self.published.stop("it is closed".to_owned());
    }
}

#[async_trait]
impl Store for LogStore {
    fn revision(&self) -> Revision {
        self.published.revision()
    }

    fn running(&self) -> Result<(), StoreError> {
        self.published.with(|_| ())
    }

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.published.get(key)
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeReply, StoreError> {
        self.published.range(&request)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        assert_keys_differ(&txn);
        let (reply, received) = oneshot::channel();
        let request = Request { txn, reply };
        let sent = self.requests.as_ref().is_some_and(|sender| sender.send(request).is_ok());
        if !sent {
            return Err(self.published.stopped());
        }
        received.await.map_err(|_| self.published.stopped())?
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        Ok(Box::new(self.published.watch(prefix, after)?))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.published.compact(revision)
    }

    async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        self.published.wait_for(revision).await
    }

    async fn wait_until_stopped(&self) -> StoreError {
        self.published.wait_until_stopped().await
    }
}

#[cfg(test)]
mod tests;
