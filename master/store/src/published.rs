//! The history as readers and watchers see it, shared between tasks.
//!
//! A watcher has no queue: it has a position in the shared ring, and is woken when a change that
//! it wants is published. So a slow one costs nothing and holds up nobody; when the ring has moved
//! past its position it is told so. Watchers are found by the folders of the keys that changed, so
//! that a change of one namespace's pods costs nothing for those who watch something else. Knows
//! nothing of disks: this is the cache of every back end, which shows here what it has committed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{fmt, iter};

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use crate::clock;
use crate::history::History;
use crate::{KeyValue, RangeReply, RangeRequest, Revision, StoreError, Watch, WatchEvent};

/// Position of a watcher that has seen everything.
const NOTHING_PENDING: Revision = 0;

/// What all users of a store share.
pub(crate) struct Published {
    state: RwLock<State>,
    /// Locked while `state` is held, never the other way round.
    watchers: Mutex<Watchers>,
    /// Becomes true together with `state.stopped`.
    ended: watch::Sender<bool>,
    /// Newest revision, for those who wait for one.
    newest: watch::Sender<Revision>,
}

#[derive(Debug)]
struct State {
    history: History,
    stopped: Option<String>,
}

#[derive(Debug, Default)]
struct Watchers {
    next_id: u64,
    /// By the folder of their prefix, everything up to its last slash, and by number.
    by_folder: BTreeMap<Box<str>, BTreeMap<u64, Arc<Watcher>>>,
}

impl Watchers {
    /// Those that may want a key: of each folder above it.
    fn near<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Arc<Watcher>> {
        let folders = key.match_indices('/').filter_map(|(at, _)| key.get(..=at));
        iter::once("")
            .chain(folders)
            .filter_map(|folder| self.by_folder.get(folder))
            .flat_map(BTreeMap::values)
            .filter(|watcher| key.starts_with(&*watcher.prefix))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Watcher>> {
        self.by_folder.values().flat_map(BTreeMap::values)
    }

    fn add(&mut self, watcher: Arc<Watcher>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let folder = folder(&watcher.prefix);
        self.by_folder.entry(folder.into()).or_default().insert(id, watcher);
        id
    }

    fn remove(&mut self, prefix: &str, id: u64) {
        let folder = folder(prefix);
        if let Some(watchers) = self.by_folder.get_mut(folder) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.by_folder.remove(folder);
            }
        }
    }
}

/// Everything up to the last slash.
fn folder(prefix: &str) -> &str {
    prefix.rfind('/').and_then(|at| prefix.get(..=at)).unwrap_or("")
}

#[derive(Debug)]
struct Watcher {
    prefix: Box<str>,
    /// Revision of the first change that it wants and was not given; written only with `state`
    /// locked for writing, or locked for reading by the watcher itself.
    pending: AtomicU64,
    wake: Notify,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        f.debug_struct("Published")
            .field("revision", &state.history.revision())
            .field("stopped", &state.stopped)
            .finish_non_exhaustive()
    }
}

impl Published {
    /// Shares a history.
    pub(crate) fn new(history: History) -> Self {
        Self {
            newest: watch::Sender::new(history.revision()),
            state: RwLock::new(State { history, stopped: None }),
            watchers: Mutex::new(Watchers::default()),
            ended: watch::Sender::new(false),
        }
    }

    // A panic of another thread has ended the process or a test; the state itself is whole, since
    // nothing in here panics half-way through a change.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Newest revision, also of a store that has stopped.
    pub(crate) fn revision(&self) -> Revision {
        self.read().history.revision()
    }

    /// Why the store has stopped.
    pub(crate) fn stopped(&self) -> StoreError {
        let reason = self.read().stopped.clone();
        StoreError::Stopped { reason: reason.unwrap_or_else(|| "it is closed".to_owned()) }
    }

    /// Reads the history.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&History) -> T) -> Result<T, StoreError> {
        let state = self.read();
        state.running()?;
        Ok(read(&state.history))
    }

    /// One entry, as of now.
    pub(crate) fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.with(|history| history.get(key).cloned())
    }

    /// Entries with a prefix.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, StoreError> {
        self.with(|history| history.range(request))?
    }

    /// Forgets the past up to `revision`.
    pub(crate) fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut state = self.write();
        state.running()?;
        state.history.compact(revision)
    }

    /// Works out batches on the history and shows them at once.
    pub(crate) fn update<T>(
        &self,
        work: impl FnOnce(&History) -> (Vec<Arc<[WatchEvent]>>, T),
    ) -> Result<T, StoreError> {
        let mut state = self.write();
        state.running()?;
        let (batches, result) = work(&state.history);
        self.publish(&mut state, batches);
        Ok(result)
    }

    /// Shows batches that were worked out, and made durable, before.
    pub(crate) fn show(&self, batches: Vec<Arc<[WatchEvent]>>) {
        self.publish(&mut self.write(), batches);
    }

    fn publish(&self, state: &mut State, batches: Vec<Arc<[WatchEvent]>>) {
        if batches.is_empty() {
            return;
        }
        let (watchers, now) = (self.watchers(), clock::now());
        for batch in batches {
            state.history.apply(&batch, now);
            let revision = state.history.revision();
            for watcher in batch.iter().flat_map(|event| watchers.near(&event.key)) {
                if watcher.pending.load(Ordering::Relaxed) == NOTHING_PENDING {
                    watcher.pending.store(revision, Ordering::Relaxed);
                    watcher.wake.notify_one();
                }
            }
        }
        self.newest.send_replace(state.history.revision());
    }

    /// Waits until a revision is visible.
    pub(crate) async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        let mut newest = self.newest.subscribe();
        tokio::select! {
            // Our own sender outlives this call.
            _ = newest.wait_for(|newest| *newest >= revision) => Ok(()),
            error = self.wait_until_stopped() => Err(error),
        }
    }

    /// Ends everything; the first reason stays.
    pub(crate) fn stop(&self, reason: String) {
        let mut state = self.write();
        state.stopped.get_or_insert(reason);
        for watcher in self.watchers().all() {
            watcher.wake.notify_one();
        }
        self.ended.send_replace(true);
    }

    /// Waits for the end, and says why it came.
    pub(crate) async fn wait_until_stopped(&self) -> StoreError {
        // Our own sender outlives this call.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
        self.stopped()
    }

    /// Changes of keys that start with `prefix`, of revisions above `after`.
    pub(crate) fn watch(
        self: &Arc<Self>,
        prefix: &str,
        after: Revision,
    ) -> Result<HistoryWatch, StoreError> {
        let state = self.read();
        state.running()?;
        state.history.check(prefix, after)?;
        let watcher = Watcher {
            prefix: prefix.into(),
            pending: AtomicU64::new(NOTHING_PENDING),
            wake: Notify::new(),
        };
        let pending = state.next_wanted(&watcher, after);
        watcher.pending.store(pending, Ordering::Relaxed);
        let watcher = Arc::new(watcher);
        let id = self.watchers().add(Arc::clone(&watcher));
        Ok(HistoryWatch { published: Arc::clone(self), id, watcher })
    }

    #[cfg(test)]
    pub(crate) fn watcher_count(&self) -> usize {
        self.watchers().all().count()
    }
}

impl State {
    fn running(&self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(reason) => Err(StoreError::Stopped { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn next_wanted(&self, watcher: &Watcher, after: Revision) -> Revision {
        self.history.next_after(&watcher.prefix, after).map_or(NOTHING_PENDING, |(at, _)| at)
    }
}

/// A reader's position in the shared history.
#[derive(Debug)]
pub(crate) struct HistoryWatch {
    published: Arc<Published>,
    id: u64,
    watcher: Arc<Watcher>,
}

impl HistoryWatch {
    fn take(&self) -> Result<Option<Arc<[WatchEvent]>>, StoreError> {
        let state = self.published.read();
        state.running()?;
        let pending = self.watcher.pending.load(Ordering::Relaxed);
        if pending == NOTHING_PENDING {
            return Ok(None);
        }
        let oldest = state.history.compacted(&self.watcher.prefix);
        if pending <= oldest {
            // The position stays, so that every later call says the same.
            return Err(StoreError::Compacted { requested: pending - 1, oldest });
        }
        let next = state.history.next_after(&self.watcher.prefix, pending - 1);
        let Some((_, batch)) = next else { return Ok(None) };
        let batch = filtered(batch, &self.watcher.prefix);
        let next = state.next_wanted(&self.watcher, pending);
        self.watcher.pending.store(next, Ordering::Relaxed);
        Ok(Some(batch))
    }
}

/// The batch itself if all of it is wanted, which is the rule, else a smaller one.
fn filtered(batch: &Arc<[WatchEvent]>, prefix: &str) -> Arc<[WatchEvent]> {
    if batch.iter().all(|event| event.key.starts_with(prefix)) {
        return Arc::clone(batch);
    }
    batch.iter().filter(|event| event.key.starts_with(prefix)).cloned().collect()
}

#[async_trait]
impl Watch for HistoryWatch {
    async fn next(&mut self) -> Result<Arc<[WatchEvent]>, StoreError> {
        loop {
            if let Some(batch) = self.take()? {
                return Ok(batch);
            }
            self.watcher.wake.notified().await;
        }
    }
}

impl Drop for HistoryWatch {
    fn drop(&mut self) {
        self.published.watchers().remove(&self.watcher.prefix, self.id);
    }
}
