//! Which keys differ between memory and file, and which of them the file is owed.
//!
//! Pure bookkeeping of durability classes: does no I/O, and time is an argument. A key that is not
//! in here is the same in both.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Class, KeyValue, WatchEvent};

/// How long a report may stay in memory only. After a crash of the master agents report again, so
/// this bounds how stale the file is, not what is lost; DESIGN.md section 3.
pub(super) const REPORTED_DELAY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Difference {
    /// Entry in the file; none if the key is not in it.
    on_disk: Option<KeyValue>,
    /// The next commit has to write it.
    owed: bool,
}

/// Keys whose file copy is behind.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    keys: BTreeMap<Arc<str>, Difference>,
    /// When reports must be written, if no commit takes them along before.
    due: Option<Instant>,
}

impl Unwritten {
    /// Takes note of a change in memory; `class` is none for a deletion.
    pub(super) fn record(&mut self, event: &WatchEvent, class: Option<Class>, now: Instant) {
        let difference = self
            .keys
            .entry(Arc::clone(&event.key))
            .or_insert_with(|| Difference { on_disk: event.previous.clone(), owed: false });
        let value = event.current.as_ref().map(|entry| &entry.value);
        match class {
            Some(Class::Intent) => difference.owed = true,
            // Back to what the file holds: nothing to write.
            Some(Class::Reported)
                if value == difference.on_disk.as_ref().map(|entry| &entry.value) =>
            {
                self.keys.remove(&event.key);
            }
            Some(Class::Reported) => {
                difference.owed = true;
                self.due.get_or_insert(now + REPORTED_DELAY_MAX);
            }
            Some(Class::Volatile) => {}
            None if difference.on_disk.is_none() => {
                self.keys.remove(&event.key);
            }
            None => difference.owed = true,
        }
    }

    /// Whether the file holds some value of `key`; `current` says whether memory does.
    pub(super) fn on_disk(&self, key: &str, current: bool) -> bool {
        self.keys.get(key).map_or(current, |difference| difference.on_disk.is_some())
    }

    /// The entry as a whole copy of the file must have it, of one that memory has as `current`: with
    /// what the file is owed, without what it is never given.
    pub(super) fn durable(&self, current: &KeyValue) -> Option<KeyValue> {
        match self.keys.get(&current.key) {
            Some(difference) if !difference.owed => difference.on_disk.clone(),
            Some(_) | None => Some(current.clone()),
        }
    }

    /// When a commit must take place even if nobody waits for one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Keys that the file is owed; the caller writes them now.
    pub(super) fn take_owed(&mut self) -> Vec<Arc<str>> {
        self.due = None;
        let (owed, kept) =
            mem::take(&mut self.keys).into_iter().partition(|(_, difference)| difference.owed);
        self.keys = kept;
        let owed: BTreeMap<Arc<str>, Difference> = owed;
        owed.into_keys().collect()
    }
}
