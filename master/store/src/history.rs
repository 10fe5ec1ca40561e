//! Current entries and the recent past, as a value.
//!
//! Does no I/O, takes no lock and wakes nobody. The past is a ring of changes, each with the entry
//! before it: an older revision is read by undoing the changes made since.
//!
//! ```text
//!   compacted                               revision
//!       |  batch  batch  batch  ...  batch  |  entries
//!  forgotten <-------- can be undone ------->  now
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use crate::{KeyValue, RangeReply, RangeRequest, Revision, StoreError, WatchEvent};

/// How much of the past is kept; whichever bound is met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Most changes.
    pub events_max: usize,
    /// Most bytes held only for the past.
    pub bytes_max: usize,
}

impl Default for HistoryLimits {
    /// Several minutes of a busy small cluster, in a fifth of the idle master's 20 MB.
    fn default() -> Self {
        Self { events_max: 8_192, bytes_max: 4 << 20 }
    }
}

/// What one change costs beside the key and the value that it keeps alive.
const EVENT_OVERHEAD_BYTES: usize = 192;

/// Entries as of [`History::revision`], and the way back to [`History::compacted`].
#[derive(Debug)]
pub(crate) struct History {
    entries: BTreeMap<Arc<str>, KeyValue>,
    /// Invariant: one batch per revision, without gap, from `compacted + 1` to `revision`.
    batches: VecDeque<Arc<[WatchEvent]>>,
    events: usize,
    bytes: usize,
    revision: Revision,
    compacted: Revision,
    limits: HistoryLimits,
}

impl History {
    /// Starts at `revision` with these entries and no past.
    pub(crate) fn new(
        entries: impl IntoIterator<Item = KeyValue>,
        revision: Revision,
        limits: HistoryLimits,
    ) -> Self {
        Self {
            entries: entries.into_iter().map(|entry| (Arc::clone(&entry.key), entry)).collect(),
            batches: VecDeque::new(),
            events: 0,
            bytes: 0,
            revision,
            compacted: revision,
            limits,
        }
    }

    /// Newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Oldest revision that can be read and watched from.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// One entry, as of now.
    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.entries.get(key)
    }

    /// All entries, in the order of their keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &KeyValue> {
        self.entries.values()
    }

    /// Refuses a revision that lies outside of what is known.
    pub(crate) fn check(&self, requested: Revision) -> Result<(), StoreError> {
        if requested < self.compacted {
            return Err(StoreError::Compacted { requested, oldest: self.compacted });
        }
        if requested > self.revision {
            return Err(StoreError::Future { requested, newest: self.revision });
        }
        Ok(())
    }

    /// Entries with a prefix, in the order of their keys.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, StoreError> {
        let revision = if request.revision == 0 { self.revision } else { request.revision };
        self.check(revision)?;
        let selected = |key: &str| {
            key.starts_with(&request.prefix)
                && request.start_after.as_deref().is_none_or(|start| key > start)
        };
        let undone = self.undone(revision, selected);
        let limit = if request.limit == 0 { usize::MAX } else { request.limit };
        let mut reply = RangeReply { entries: Vec::new(), revision, remaining: 0 };
        for entry in merge(self.current(request), &undone) {
            if reply.entries.len() < limit {
                reply.entries.push(entry.clone());
            } else {
                reply.remaining += 1;
            }
        }
        Ok(reply)
    }

    /// Current entries of a request, in the order of their keys.
    fn current<'a>(&'a self, request: &'a RangeRequest) -> impl Iterator<Item = &'a KeyValue> {
        let start = match request.start_after.as_deref() {
            Some(after) if after >= request.prefix.as_str() => Bound::Excluded(after),
            Some(_) | None => Bound::Included(request.prefix.as_str()),
        };
        self.entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&request.prefix))
            .map(|(_, entry)| entry)
    }

    /// What the selected keys that changed after `revision` held at that time.
    fn undone(
        &self,
        revision: Revision,
        selected: impl Fn(&str) -> bool,
    ) -> BTreeMap<&str, Option<&KeyValue>> {
        let mut undone = BTreeMap::new();
        // From new to old, so that the oldest change has the last word.
        let recent = self.batches.iter().rev();
        for batch in recent.take_while(|batch| revision_of(batch) > revision) {
            for event in batch.iter().filter(|event| selected(&event.key)) {
                undone.insert(&*event.key, event.previous.as_ref());
            }
        }
        undone
    }

    /// Makes the changes of one transaction, at the next revision.
    pub(crate) fn apply(&mut self, batch: Arc<[WatchEvent]>) {
        assert!(
            revision_of(&batch) == self.revision + 1,
            "changes are applied in the order of their revisions"
        );
        self.revision += 1;
        for event in batch.iter() {
            match &event.current {
                Some(entry) => {
                    self.entries.insert(Arc::clone(&event.key), entry.clone());
                }
                None => {
                    self.entries.remove(&event.key);
                }
            }
        }
        self.events += batch.len();
        self.bytes += cost(&batch);
        self.batches.push_back(batch);
        // The newest batch always stays: else a large transaction would end every watch.
        while self.batches.len() > 1
            && (self.events > self.limits.events_max || self.bytes > self.limits.bytes_max)
        {
            self.forget_oldest();
        }
    }

    /// Forgets changes up to and including `revision`; what is forgotten already stays so.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), StoreError> {
        if revision > self.revision {
            return Err(StoreError::Future { requested: revision, newest: self.revision });
        }
        while self.compacted < revision && self.forget_oldest() {}
        Ok(())
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(batch) = self.batches.pop_front() else { return false };
        self.events -= batch.len();
        self.bytes -= cost(&batch);
        self.compacted = revision_of(&batch);
        true
    }

    /// Batches of revisions above `after`, oldest first.
    pub(crate) fn batches_after(
        &self,
        after: Revision,
    ) -> impl Iterator<Item = (Revision, &Arc<[WatchEvent]>)> {
        let start = self.batches.partition_point(|batch| revision_of(batch) <= after);
        self.batches.range(start..).map(|batch| (revision_of(batch), batch))
    }
}

/// Current entries, with those in `undone` as they were.
fn merge<'a>(
    current: impl Iterator<Item = &'a KeyValue>,
    undone: &'a BTreeMap<&str, Option<&'a KeyValue>>,
) -> impl Iterator<Item = &'a KeyValue> {
    let mut current = current.filter(|entry| !undone.contains_key(&*entry.key)).peekable();
    let mut past = undone.values().copied().flatten().peekable();
    iter::from_fn(move || match (current.peek(), past.peek()) {
        (Some(now), Some(then)) if now.key < then.key => current.next(),
        (_, Some(_)) => past.next(),
        (_, None) => current.next(),
    })
}

/// Revision of a batch. Invariant: batches are not empty.
pub(crate) fn revision_of(batch: &[WatchEvent]) -> Revision {
    batch.first().map_or(0, |event| event.revision)
}

fn cost(batch: &[WatchEvent]) -> usize {
    batch
        .iter()
        .map(|event| {
            let previous = event.previous.as_ref().map_or(0, |entry| entry.value.len());
            EVENT_OVERHEAD_BYTES + event.key.len() + previous
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::draft::Draft;
    use crate::{Class, Compare, Op, Txn, TxnReply};

    const KEYS: [&str; 6] = ["/a/1", "/a/2", "/a/20", "/b/1", "/b/", "/a"];
    const PREFIXES: [&str; 5] = ["", "/a", "/a/", "/a/2", "/z"];

    /// Every state that ever was, kept whole.
    #[derive(Default)]
    struct Naive {
        states: Vec<BTreeMap<String, KeyValue>>,
    }

    impl Naive {
        fn txn(&mut self, txn: &Txn) -> bool {
            let now = self.states.last().cloned().unwrap_or_default();
            let holds = |compare: &Compare| {
                now.get(&compare.key).map_or(0, |entry| entry.mod_revision) == compare.mod_revision
            };
            if !txn.compares.iter().all(holds) {
                return false;
            }
            let revision = u64::try_from(self.states.len()).unwrap();
            let mut next = now.clone();
            for op in &txn.ops {
                match op {
                    Op::Put { key, value, .. } => {
                        let old = now.get(key);
                        let entry = KeyValue {
                            key: key.as_str().into(),
                            value: Arc::clone(value),
                            create_revision: old.map_or(revision, |old| old.create_revision),
                            mod_revision: revision,
                            version: old.map_or(1, |old| old.version + 1),
                        };
                        next.insert(key.clone(), entry);
                    }
                    Op::Delete { key } => {
                        next.remove(key);
                    }
                }
            }
            if next != now {
                self.states.push(next);
            }
            true
        }
    }

    fn any_txn() -> impl Strategy<Value = Txn> {
        let op = (any::<bool>(), any::<u8>());
        let ops = proptest::collection::btree_map(0..KEYS.len(), op, 0..3);
        let compares = proptest::collection::vec((0..KEYS.len(), 0..30u64), 0..2);
        (ops, compares).prop_map(|(ops, compares)| Txn {
            compares: compares
                .into_iter()
                .map(|(key, mod_revision)| Compare { key: KEYS[key].to_owned(), mod_revision })
                .collect(),
            ops: ops
                .into_iter()
                .map(|(key, (put, byte))| {
                    let key = KEYS[key].to_owned();
                    if put {
                        Op::Put { key, value: Arc::from([byte]), class: Class::Intent }
                    } else {
                        Op::Delete { key }
                    }
                })
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn every_revision_reads_as_a_copy_kept_whole_would(
            txns in proptest::collection::vec(any_txn(), 0..40),
            events_max in 1..30usize,
            limit in 0..4usize,
        ) {
            let limits = HistoryLimits { events_max, bytes_max: usize::MAX };
            let mut history = History::new([], 0, limits);
            let mut naive = Naive { states: vec![BTreeMap::new()] };
            for txn in txns {
                let held = naive.txn(&txn);
                let mut draft = Draft::new(&history);
                let reply = draft.txn(txn);
                prop_assert_eq!(held, matches!(reply, TxnReply::Committed { .. }));
                for batch in draft.finish().batches {
                    history.apply(batch.events);
                }
                prop_assert_eq!(history.revision() + 1, u64::try_from(naive.states.len()).unwrap());
            }
            for (revision, state) in (0u64..).zip(&naive.states) {
                if revision == 0 { continue }
                for prefix in PREFIXES {
                    for start_after in [None, Some("/a/1".to_owned()), Some("/".to_owned())] {
                        let request = RangeRequest {
                            prefix: prefix.to_owned(), start_after: start_after.clone(), limit, revision,
                        };
                        let wanted: Vec<_> = state.values()
                            .filter(|entry| entry.key.starts_with(prefix))
                            .filter(|entry| start_after.as_deref().is_none_or(|s| &*entry.key > s))
                            .cloned().collect();
                        match history.range(&request) {
                            Ok(reply) => {
                                let shown = if limit == 0 { wanted.len() } else { limit.min(wanted.len()) };
                                prop_assert_eq!(reply.entries.as_slice(), &wanted[..shown]);
                                prop_assert_eq!(reply.remaining, wanted.len() - shown);
                            }
                            Err(error) => {
                                prop_assert!(revision < history.compacted(), "{}", error);
                            }
                        }
                    }
                }
            }
            // Replaying the events from any revision leads from that state to the newest.
            for after in history.compacted().max(1)..=history.revision() {
                let mut state = naive.states[usize::try_from(after).unwrap()].clone();
                for (_, batch) in history.batches_after(after) {
                    for event in batch.iter() {
                        let before = match &event.current {
                            Some(entry) => state.insert(event.key.to_string(), entry.clone()),
                            None => state.remove(&*event.key),
                        };
                        prop_assert_eq!(&before, &event.previous);
                    }
                }
                prop_assert_eq!(&state, naive.states.last().unwrap());
            }
        }
    }

    #[test]
    fn history_stays_within_its_bytes() {
        let limits = HistoryLimits { events_max: usize::MAX, bytes_max: 10_000 };
        let mut history = History::new([], 0, limits);
        for _ in 0..100 {
            let mut draft = Draft::new(&history);
            let put =
                Op::Put { key: "/a".into(), value: Arc::from([7; 500]), class: Class::Volatile };
            draft.txn(Txn { compares: vec![], ops: vec![put] });
            for batch in draft.finish().batches {
                history.apply(batch.events);
            }
        }
        assert!(history.bytes <= 10_000, "{} bytes", history.bytes);
        assert!(history.compacted > 80 && history.compacted < 100, "{}", history.compacted);
    }
}
