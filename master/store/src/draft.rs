//! Transactions worked out on top of a history, before anyone sees them.
//!
//! A draft may hold several transactions, each of which sees the ones before it. It changes
//! nothing: its batches become visible when they are applied to the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::history::History;
use crate::{Class, KeyValue, Op, Revision, Txn, TxnReply, WatchEvent};

/// Changes of one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Changes, all of the same revision. Invariant: not empty.
    pub(crate) events: Arc<[WatchEvent]>,
    /// Durability of each change; none for a deletion.
    pub(crate) classes: Vec<Option<Class>>,
}

/// What a draft comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drafted {
    /// One batch per revision, in order.
    pub(crate) batches: Vec<Batch>,
    /// Entries after all batches, of the keys that changed.
    pub(crate) changes: BTreeMap<Arc<str>, Option<KeyValue>>,
}

/// Transactions on top of a history.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    history: &'a History,
    revision: Revision,
    drafted: Drafted,
}

impl<'a> Draft<'a> {
    /// Starts at the history's newest revision.
    pub(crate) fn new(history: &'a History) -> Self {
        Self { history, revision: history.revision(), drafted: Drafted::default() }
    }

    /// Revision after the transactions so far.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    fn get(&self, key: &str) -> Option<&KeyValue> {
        match self.drafted.changes.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.history.get(key),
        }
    }

    /// Adds one transaction. One that changes nothing takes no revision.
    pub(crate) fn txn(&mut self, txn: Txn) -> TxnReply {
        for compare in &txn.compares {
            let current = self.get(&compare.key);
            if current.map_or(0, |entry| entry.mod_revision) != compare.mod_revision {
                let current = current.cloned();
                return TxnReply::Conflict {
                    key: compare.key.clone(),
                    current,
                    revision: self.revision,
                };
            }
        }
        let next = self.revision + 1;
        let (events, classes): (Vec<_>, Vec<_>) =
            txn.ops.into_iter().filter_map(|op| self.event(op, next)).unzip();
        if events.is_empty() {
            return TxnReply::Committed { revision: self.revision };
        }
        self.revision = next;
        for event in &events {
            self.drafted.changes.insert(Arc::clone(&event.key), event.current.clone());
        }
        self.drafted.batches.push(Batch { events: events.into(), classes });
        TxnReply::Committed { revision: next }
    }

    fn event(&self, op: Op, revision: Revision) -> Option<(WatchEvent, Option<Class>)> {
        match op {
            Op::Put { key, value, class } => {
                let previous = self.get(&key).cloned();
                // The key's bytes are shared by everything that speaks of this entry.
                let key =
                    previous.as_ref().map_or_else(|| Arc::from(key), |old| Arc::clone(&old.key));
                let current = KeyValue {
                    key: Arc::clone(&key),
                    value,
                    create_revision: previous.as_ref().map_or(revision, |old| old.create_revision),
                    mod_revision: revision,
                    version: previous.as_ref().map_or(1, |old| old.version + 1),
                };
                let event = WatchEvent { revision, key, current: Some(current), previous };
                Some((event, Some(class)))
            }
            Op::Delete { key } => {
                let previous = self.get(&key)?.clone();
                let key = Arc::clone(&previous.key);
                Some((WatchEvent { revision, key, current: None, previous: Some(previous) }, None))
            }
        }
    }

    /// Ends the draft.
    pub(crate) fn finish(self) -> Drafted {
        self.drafted
    }
}

/// Holds callers to the contract of [`Txn`].
pub(crate) fn assert_keys_differ(txn: &Txn) {
    if txn.ops.len() < 2 {
        return;
    }
    let mut keys = BTreeSet::new();
    for op in &txn.ops {
        let (Op::Put { key, .. } | Op::Delete { key }) = op;
        assert!(keys.insert(key.as_str()), "a transaction changes `{key}` twice");
    }
}
