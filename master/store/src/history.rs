//! Current entries and the recent past, as a value.
//!
//! Does no I/O, takes no lock, reads no clock and wakes nobody. Each resource, told by the first
//! two parts of a key, has a section with a past of its own: a ring of changes, each with the entry
//! before it, so that an older revision is read by undoing the changes made since. When the whole
//! past is too large, the section with the largest goes first: a roll-out of a thousand pods does
//! not make watchers of Nodes read everything anew.
//!
//! ```text
//!              compacted                               revision
//!  /core/pods/     |  batch  batch  batch  ...  batch  |  entries
//!  /core/nodes/  |      batch               batch      |  entries
//!             forgotten <-------- can be undone ------->  now
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{KeyValue, RangeReply, RangeRequest, Revision, StoreError, WatchEvent};

/// How much of the past is kept; whichever bound is met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Most bytes held only for the past.
    pub bytes_max: usize,
    /// Greatest age of a change.
    pub age_max: Duration,
}

impl Default for HistoryLimits {
    /// What upstream keeps for clients that come back or read page by page, in a third of the idle
    /// master's 13 MB.
    fn default() -> Self {
        Self { bytes_max: 4 << 20, age_max: Duration::from_secs(300) }
    }
}

/// What one change costs beside the key and the value that it keeps alive.
const EVENT_OVERHEAD_BYTES: usize = 192;
/// Time between two looks for changes that are too old.
const AGE_LOOK: Duration = Duration::from_secs(1);

/// Time between two moments whose revision is kept.
const AGE_STEP: Duration = Duration::from_secs(10);

/// Entries as of [`History::revision`], and the way back.
#[derive(Debug)]
pub(crate) struct History {
    sections: BTreeMap<Arc<str>, Section>,
    bytes: usize,
    revision: Revision,
    /// Everything up to here is forgotten, whatever the section.
    floor: Revision,
    limits: HistoryLimits,
    age_look_at: Option<Instant>,
    /// Newest revision at some moments, in order; those older than the greatest age become
    /// `aged`.
    moments: VecDeque<(Instant, Revision)>,
    /// Everything below is too old to be read as it was, changed or not.
    aged: Revision,
}

/// One resource's part.
#[derive(Debug, Default)]
struct Section {
    entries: BTreeMap<Arc<str>, KeyValue>,
    /// Batches that change something in this section, in order. Invariant: none is missing of
    /// those above `compacted`.
    past: VecDeque<Past>,
    bytes: usize,
    compacted: Revision,
}

/// One batch, which other sections may share.
#[derive(Debug)]
struct Past {
    batch: Arc<[WatchEvent]>,
    at: Instant,
    bytes: usize,
}

impl Past {
    fn revision(&self) -> Revision {
        revision_of(&self.batch)
    }
}

impl Section {
    fn forget_oldest(&mut self) -> usize {
        let Some(past) = self.past.pop_front() else { return 0 };
        self.compacted = past.revision();
        self.bytes -= past.bytes;
        past.bytes
    }

    fn after(&self, after: Revision) -> impl DoubleEndedIterator<Item = &Past> {
        let start = self.past.partition_point(|past| past.revision() <= after);
        self.past.range(start..)
    }
}

impl History {
    /// Starts at `revision` with these entries and no past.
    pub(crate) fn new(
        entries: impl IntoIterator<Item = KeyValue>,
        revision: Revision,
        limits: HistoryLimits,
    ) -> Self {
        let mut history = Self {
            sections: BTreeMap::new(),
            bytes: 0,
            revision,
            floor: revision,
            limits,
            age_look_at: None,
            moments: VecDeque::new(),
            aged: 0,
        };
        for entry in entries {
            let section = history.section_mut(section_of(&entry.key));
            section.entries.insert(Arc::clone(&entry.key), entry);
        }
        history
    }

    fn section_mut(&mut self, name: &str) -> &mut Section {
        if !self.sections.contains_key(name) {
            self.sections.insert(name.into(), Section::default());
        }
        self.sections.entry(name.into()).or_default()
    }

    /// Newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Oldest revision from which keys with this prefix can be read and watched.
    pub(crate) fn compacted(&self, prefix: &str) -> Revision {
        let sections = self.sections_of(prefix).map(|(_, section)| section.compacted);
        sections.fold(self.floor, Revision::max)
    }

    /// One entry, as of now.
    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.sections.get(section_of(key))?.entries.get(key)
    }

    /// All entries, section by section.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &KeyValue> {
        self.sections.values().flat_map(|section| section.entries.values())
    }

    /// Sections that may hold keys with a prefix: nearly always one.
    fn sections_of(&self, prefix: &str) -> impl Iterator<Item = (&Arc<str>, &Section)> {
        let own = section_of(prefix);
        let exact = self.sections.get_key_value(own).filter(|_| is_resource(own));
        let others = exact.is_none().then(|| {
            let wanted = move |name: &str| name.starts_with(prefix) || prefix.starts_with(name);
            self.sections.iter().filter(move |(name, _)| wanted(name))
        });
        exact.into_iter().chain(others.into_iter().flatten())
    }

    /// Refuses a revision that lies outside of what is known of keys with this prefix.
    pub(crate) fn check(&self, prefix: &str, requested: Revision) -> Result<(), StoreError> {
        let oldest = self.compacted(prefix);
        if requested < oldest {
            return Err(StoreError::Compacted { requested, oldest });
        }
        if requested > self.revision {
            return Err(StoreError::Future { requested, newest: self.revision });
        }
        Ok(())
    }

    /// Entries with a prefix, in the order of their keys.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, StoreError> {
        let revision = if request.revision == 0 { self.revision } else { request.revision };
        self.check(&request.prefix, revision)?;
        // A watch may go on from where its resource last changed, however long ago. A moment of
        // the past ends for all at once, as upstream's compaction has it.
        if revision < self.aged {
            return Err(StoreError::Compacted { requested: revision, oldest: self.aged });
        }
        let selected = |key: &str| {
            key.starts_with(&request.prefix)
                && request.start_after.as_deref().is_none_or(|start| key > start)
        };
        let limit = if request.limit == 0 { usize::MAX } else { request.limit };
        let mut reply = RangeReply { entries: Vec::new(), revision, remaining: 0 };
        let mut take = |entry: &KeyValue| {
            if reply.entries.len() < limit {
                reply.entries.push(entry.clone());
            } else {
                reply.remaining += 1;
            }
        };
        let sections: Vec<_> = self.sections_of(&request.prefix).collect();
        let undone: Vec<_> = sections
            .iter()
            .map(|(name, section)| section.undone(name, revision, selected))
            .collect();
        let parts = sections
            .iter()
            .zip(&undone)
            .map(|((_, section), undone)| merge(section.current(request), undone));
        if sections.len() == 1 {
            parts.flatten().for_each(take);
        } else {
            // Sections are in the order of their names, and one's keys may lie amid another's.
            let mut entries: Vec<_> = parts.flatten().collect();
            entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            entries.into_iter().for_each(&mut take);
        }
        Ok(reply)
    }

    /// Makes the changes of one transaction, at the next revision.
    pub(crate) fn apply(&mut self, batch: &Arc<[WatchEvent]>, now: Instant) {
        assert!(
            revision_of(batch) == self.revision + 1,
            "changes are applied in the order of their revisions"
        );
        self.revision += 1;
        let mut names = BTreeSet::new();
        for event in batch.iter() {
            let name = section_of(&event.key);
            names.insert(name);
            let section = self.section_mut(name);
            match &event.current {
                Some(entry) => {
                    section.entries.insert(Arc::clone(&event.key), entry.clone());
                }
                None => {
                    section.entries.remove(&event.key);
                }
            }
        }
        for name in names {
            let own = batch.iter().filter(|event| section_of(&event.key) == name);
            let bytes = own.map(cost).sum();
            let section = self.section_mut(name);
            section.past.push_back(Past { batch: Arc::clone(batch), at: now, bytes });
            section.bytes += bytes;
            self.bytes += bytes;
        }
        self.forget_old(now);
        self.forget_most();
        if self.moments.back().is_none_or(|(at, _)| *at + AGE_STEP <= now) {
            self.moments.push_back((now, self.revision));
        }
    }

    fn forget_old(&mut self, now: Instant) {
        if self.age_look_at.is_some_and(|at| now < at) {
            return;
        }
        self.age_look_at = Some(now + AGE_LOOK);
        for section in self.sections.values_mut() {
            while section.past.front().is_some_and(|past| past.at + self.limits.age_max < now) {
                self.bytes -= section.forget_oldest();
            }
        }
        while let Some((_, revision)) =
            self.moments.pop_front_if(|(at, _)| *at + self.limits.age_max < now)
        {
            self.aged = revision;
        }
    }

    fn forget_most(&mut self) {
        while self.bytes > self.limits.bytes_max {
            // A section's newest batch always stays: else a large transaction would end every
            // watch.
            let sections = self.sections.values_mut().filter(|section| section.past.len() > 1);
            let Some(largest) = sections.max_by_key(|section| section.bytes) else { return };
            self.bytes -= largest.forget_oldest();
        }
    }

    /// Forgets changes up to and including `revision`; what is forgotten already stays so.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), StoreError> {
        if revision > self.revision {
            return Err(StoreError::Future { requested: revision, newest: self.revision });
        }
        self.floor = self.floor.max(revision);
        for section in self.sections.values_mut() {
            while section.past.front().is_some_and(|past| past.revision() <= revision) {
                self.bytes -= section.forget_oldest();
            }
        }
        Ok(())
    }

    /// The first batch above `after` with a key that starts with `prefix`, whole.
    pub(crate) fn next_after(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Option<(Revision, &Arc<[WatchEvent]>)> {
        let wanted = |past: &&Past| past.batch.iter().any(|event| event.key.starts_with(prefix));
        let firsts = self.sections_of(prefix).filter_map(|(_, section)| {
            section.after(after).find(wanted).map(|past| (past.revision(), &past.batch))
        });
        firsts.min_by_key(|(revision, _)| *revision)
    }
}

impl Section {
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
        name: &str,
        revision: Revision,
        selected: impl Fn(&str) -> bool,
    ) -> BTreeMap<&str, Option<&KeyValue>> {
        let mut undone = BTreeMap::new();
        // From new to old, so that the oldest change has the last word.
        for past in self.after(revision).rev() {
            let own = |event: &&WatchEvent| selected(&event.key) && section_of(&event.key) == name;
            for event in past.batch.iter().filter(own) {
                undone.insert(&*event.key, event.previous.as_ref());
            }
        }
        undone
    }
}

/// Name of the section that holds a key: its first two parts, `/core/pods/`; of a shorter key all
/// but the last part.
fn section_of(key: &str) -> &str {
    let mut slashes = key.match_indices('/').map(|(at, _)| at + 1);
    let (first, second, third) = (slashes.next(), slashes.next(), slashes.next());
    let end = third.or(second).or(first).unwrap_or(0);
    key.get(..end).unwrap_or("")
}

/// Whether a section has the full name of a resource, so that no other lies within or above it.
fn is_resource(name: &str) -> bool {
    name.matches('/').count() == 3
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

fn cost(event: &WatchEvent) -> usize {
    let previous = event.previous.as_ref().map_or(0, |entry| entry.value.len());
    EVENT_OVERHEAD_BYTES + event.key.len() + previous
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;
    use crate::draft::Draft;
    use crate::{Class, Compare, Op, Txn, TxnReply};

    const KEYS: [&str; 8] = ["/a/1", "/a/2", "/a/20", "/b/1", "/b/", "/a", "/a/2/x/y", "/a/2/z/y"];
    const PREFIXES: [&str; 8] = ["", "/", "/a", "/a/", "/a/2", "/a/2/", "/a/2/x/", "/z"];

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
            bytes_max in 200..8_000usize,
            limit in 0..4usize,
        ) {
            let limits = HistoryLimits { bytes_max, age_max: Duration::from_secs(300) };
            let now = clock::now();
            let mut history = History::new([], 0, limits);
            let mut naive = Naive { states: vec![BTreeMap::new()] };
            for txn in txns {
                let held = naive.txn(&txn);
                let mut draft = Draft::new(&history);
                let reply = draft.txn(txn);
                prop_assert_eq!(held, matches!(reply, TxnReply::Committed { .. }));
                for batch in draft.finish().batches {
                    history.apply(&batch.events, now);
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
                                prop_assert!(revision < history.compacted(prefix), "{}", error);
                            }
                        }
                    }
                }
            }
            // Replaying the events from any revision leads from that state to the newest.
            for prefix in PREFIXES {
                for after in history.compacted(prefix).max(1)..=history.revision() {
                    let selected = |state: &BTreeMap<String, KeyValue>| {
                        let mut state = state.clone();
                        state.retain(|key, _| key.starts_with(prefix));
                        state
                    };
                    let mut state = selected(&naive.states[usize::try_from(after).unwrap()]);
                    let mut at = after;
                    while let Some((revision, batch)) = history.next_after(prefix, at) {
                        at = revision;
                        for event in batch.iter().filter(|event| event.key.starts_with(prefix)) {
                            let before = match &event.current {
                                Some(entry) => state.insert(event.key.to_string(), entry.clone()),
                                None => state.remove(&*event.key),
                            };
                            prop_assert_eq!(&before, &event.previous);
                        }
                    }
                    prop_assert_eq!(&state, &selected(naive.states.last().unwrap()));
                }
            }
        }
    }

    fn change(history: &mut History, key: &str, bytes: usize, now: Instant) {
        let value = vec![7; bytes].into();
        let put = Op::Put { key: key.into(), value, class: Class::Volatile };
        let mut draft = Draft::new(history);
        draft.txn(Txn { compares: vec![], ops: vec![put] });
        for batch in draft.finish().batches {
            history.apply(&batch.events, now);
        }
    }

    #[test]
    fn history_stays_within_its_bytes() {
        let limits = HistoryLimits { bytes_max: 10_000, age_max: Duration::from_secs(300) };
        let mut history = History::new([], 0, limits);
        for _ in 0..100 {
            change(&mut history, "/a", 500, clock::now());
        }
        assert!(history.bytes <= 10_000, "{} bytes", history.bytes);
        let compacted = history.compacted("/a");
        assert!(compacted > 80 && compacted < 100, "{compacted}");
    }

    #[test]
    fn largest_section_is_forgotten_first() {
        let limits = HistoryLimits { bytes_max: 10_000, age_max: Duration::from_secs(300) };
        let mut history = History::new([], 0, limits);
        for n in 0..100 {
            change(&mut history, "/core/pods/default/a", 500, clock::now());
            if n % 20 == 0 {
                change(&mut history, "/core/nodes/_/a", 500, clock::now());
            }
        }
        assert!(history.bytes <= 10_000, "{} bytes", history.bytes);
        assert_eq!(history.compacted("/core/nodes/"), 0);
        assert!(history.compacted("/core/pods/default/") > 50);
        assert_eq!(history.compacted("/core/secrets/"), 0, "nothing of it was forgotten");
    }

    #[test]
    fn changes_are_forgotten_after_five_minutes() {
        let mut history = History::new([], 0, HistoryLimits::default());
        let start = clock::now();
        change(&mut history, "/core/nodes/_/a", 1, start);
        change(&mut history, "/core/pods/default/a", 1, start + Duration::from_secs(200));
        change(&mut history, "/core/pods/default/a", 1, start + Duration::from_secs(301));
        let compacted = ["/core/nodes/", "/core/pods/"].map(|prefix| history.compacted(prefix));
        assert_eq!(compacted, [1, 0]);
        change(&mut history, "/core/pods/default/a", 1, start + Duration::from_secs(900));
        assert_eq!(history.compacted("/core/pods/"), 3);
    }

    #[test]
    fn moments_older_than_five_minutes_are_not_read_where_nothing_changed_either() {
        let mut history = History::new([], 0, HistoryLimits::default());
        let start = clock::now();
        change(&mut history, "/core/nodes/_/a", 1, start);
        let read = |history: &History, revision| {
            let prefix = "/core/nodes/".to_owned();
            history.range(&RangeRequest { prefix, start_after: None, limit: 0, revision })
        };
        for second in (20..=300).step_by(20) {
            change(&mut history, "/core/pods/default/a", 1, start + Duration::from_secs(second));
        }
        assert_eq!(read(&history, 1).unwrap().entries.len(), 1);
        change(&mut history, "/core/pods/default/a", 1, start + Duration::from_secs(322));
        let refused = read(&history, 1).unwrap_err();
        assert!(matches!(refused, StoreError::Compacted { requested: 1, oldest: 2 }), "{refused}");
        assert_eq!(read(&history, 2).unwrap().entries.len(), 1);
        assert!(history.check("/core/nodes/", 1).is_ok(), "a watch may go on from there");
    }
}
