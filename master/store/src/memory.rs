//! A store without a disk: for tests, simulations and clusters that may forget.

use std::sync::Arc;

use async_trait::async_trait;

use crate::draft::{Draft, assert_keys_differ};
use crate::history::{History, HistoryLimits};
use crate::published::Published;
use crate::{
    KeyValue, RangeReply, RangeRequest, Revision, Store, StoreError, Txn, TxnReply, Watch,
};

/// Everything in memory, every class visible at once.
#[derive(Debug)]
pub struct MemoryStore {
    published: Arc<Published>,
}

impl MemoryStore {
    /// Starts empty, at revision 1, as etcd does.
    pub fn new() -> Self {
        Self::with_limits(HistoryLimits::default())
    }

    /// Starts empty, with a past of this size.
    pub fn with_limits(limits: HistoryLimits) -> Self {
        Self { published: Arc::new(Published::new(History::new([], 1, limits))) }
    }

    #[cfg(test)]
    pub(crate) fn watcher_count(&self) -> usize {
        self.published.watcher_count()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
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
        self.published.update(|history| {
            let mut draft = Draft::new(history);
            let reply = draft.txn(txn);
            (draft.finish().batches.into_iter().map(|batch| batch.events).collect(), reply)
        })
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
mod tests {
    use super::*;
    use crate::cases;

    cases::run_all!(async |limits| (MemoryStore::with_limits(limits), ()));

    #[tokio::test]
    async fn dropped_watch_leaves_nothing_behind() {
        let store = MemoryStore::new();
        let watch = store.watch("/", 1).await.unwrap();
        assert_eq!(store.watcher_count(), 1);
        drop(watch);
        assert_eq!(store.watcher_count(), 0);
    }
}
