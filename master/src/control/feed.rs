//! Feeds the snapshot, and what nodes need, from the store: everything once, then every change.

use std::collections::BTreeSet;
use std::sync::Arc;

use bramble_master_core::controllers::lanes::Lanes;
use bramble_master_core::scheduler::Scheduler;
use bramble_master_core::snapshot::{Changed, Snapshot};
use bramble_master_core::view::resource::Resource;
use bramble_store::{KeyValue, RangeRequest, Revision, Store, StoreError, Watch, WatchEvent};

use super::is_noise;
use crate::link::Desired;
use crate::telemetry::Chain;

/// What is not an object.
const OWN_PREFIX: &str = "/bramble/";

/// The cache of the control loop.
#[derive(Debug)]
pub(super) struct Feed {
    snapshot: Snapshot,
    lanes: Lanes,
    desired: Arc<Desired>,
    /// Keys that were read, to know what was deleted while nobody watched.
    keys: BTreeSet<Arc<str>>,
    revision: Revision,
    changed: bool,
}

impl Feed {
    /// A cache that knows nothing.
    pub(super) fn new(desired: Arc<Desired>) -> Self {
        let (snapshot, keys) = (Snapshot::new(), BTreeSet::new());
        let lanes = Lanes::default();
        Self { snapshot, lanes, desired, keys, revision: 0, changed: false }
    }

    /// What is known.
    pub(super) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is known, and what has to be looked at.
    pub(super) const fn parts(&mut self) -> (&Snapshot, &mut Lanes) {
        (&self.snapshot, &mut self.lanes)
    }

    /// Everything up to this revision is known.
    pub(super) const fn revision(&self) -> Revision {
        self.revision
    }

    /// True if something changed that controllers look at.
    pub(super) const fn changed(&self) -> bool {
        self.changed
    }

    /// As [`Self::changed`], which is false afterwards.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Reads everything and returns the watch for what follows.
    pub(super) async fn list(&mut self, store: &dyn Store) -> Result<Box<dyn Watch>, StoreError> {
        let request = RangeRequest { prefix: "/".to_owned(), ..RangeRequest::default() };
        let reply = store.range(request).await?;
        self.snapshot = Snapshot::new();
        let before = std::mem::take(&mut self.keys);
        for entry in &reply.entries {
            self.take(&entry.key, Some(entry), entry.mod_revision);
        }
        self.snapshot.synced = true;
        self.lanes.note_everything();
        self.revision = reply.revision;
        let gone = before.iter().filter(|key| !self.keys.contains(*key)).map(|key| (&**key, None));
        let present = reply.entries.iter().map(|entry| (&*entry.key, Some(entry)));
        self.desired.apply(gone.chain(present), reply.revision);
        self.changed = true;
        store.watch("/", reply.revision).await
    }

    /// Takes in a batch of changes; true if a Node was among them.
    pub(super) fn apply(&mut self, batch: &[WatchEvent], scheduler: &mut Scheduler) -> bool {
        let mut nodes_changed = false;
        for event in batch {
            let entry = event.current.as_ref();
            let changed = self.take(&event.key, entry, event.revision);
            self.revision = self.revision.max(event.revision);
            let Some(id) = changed.id() else { continue };
            nodes_changed |= id.resource == Resource::NODES;
            self.changed |= !is_noise(&id.resource);
            scheduler.update(&self.snapshot, &changed);
        }
        let entries = batch.iter().map(|event| (&*event.key, event.current.as_ref()));
        self.desired.apply(entries, self.revision);
        nodes_changed
    }

    fn take(&mut self, key: &Arc<str>, entry: Option<&KeyValue>, revision: Revision) -> Changed {
        if key.starts_with(OWN_PREFIX) {
            return Changed::Nothing;
        }
        match entry {
            Some(_) => drop(self.keys.insert(Arc::clone(key))),
            None => drop(self.keys.remove(key)),
        }
        let value = entry.map(|entry| &*entry.value);
        let applied = self.lanes.apply(&mut self.snapshot, key, value, revision);
        let changed = applied.unwrap_or_else(|error| {
            tracing::error!(error = %Chain(&error), "a stored object cannot be read");
            Changed::Nothing
        });
        if let Some((id, reason)) =
            changed.id().and_then(|id| Some((id, self.snapshot.unreadable(id)?)))
        {
            tracing::warn!(object = %id, reason, "only the metadata of an object can be read");
        }
        changed
    }
}
