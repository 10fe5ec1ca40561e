//! Changes as lines of a watch, made once for all who watch.
//!
//! A hundred watchers of one resource get the same bytes: the first one parses what it needs and
//! makes the line, the others send it. Only the newest changes are kept; who is behind makes its
//! own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use bramble_api::table::IncludeObject;
use bramble_api::{Resource, Status};
use bramble_process::panics;
use bramble_store::{KeyValue, WatchEvent};
use bytes::Bytes;
use serde_json::Value;

use super::accept::Form;
use super::collection::Printer;
use crate::objects::{Shape, append_at, decode_for_columns, served};

/// Changes that are kept: watchers that are awake are no further apart.
const RECENT_MAX: usize = 32;
/// Bytes of stored objects beyond which fewer are kept; what is made of them is some times that.
const RECENT_BYTES: usize = 128 << 10;

/// What a change is to one watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Added,
    Modified,
    Deleted,
}

/// The newest changes.
#[derive(Debug, Default)]
pub(super) struct SharedEvents {
    recent: Mutex<VecDeque<Arc<SharedEvent>>>,
}

/// One change, and what was made of it so far.
#[derive(Debug)]
pub(super) struct SharedEvent {
    event: WatchEvent,
    current: OnceLock<Option<Value>>,
    previous: OnceLock<Option<Value>>,
    /// By kind and form.
    lines: [[OnceLock<Bytes>; 3]; 3],
}

impl SharedEvents {
    /// The one that all share of this change.
    ///
    /// # Errors
    ///
    /// 500 when what is stored is damaged.
    pub(super) fn share(
        &self,
        resource: &Resource,
        event: &WatchEvent,
    ) -> Result<Arc<SharedEvent>, Status> {
        // The other form of the same change has the same key and revision.
        if resource.converted() {
            let form = |entry: &Option<KeyValue>| {
                entry.clone().map(|entry| served(resource, entry)).transpose()
            };
            let (current, previous) = (form(&event.current)?, form(&event.previous)?);
            let event = WatchEvent { current, previous, ..event.clone() };
            return Ok(Arc::new(SharedEvent::new(event)));
        }
        let mut recent = self.recent.lock().unwrap_or_else(|_| panics::torn("the recent changes"));
        let same = |shared: &&Arc<SharedEvent>| {
            shared.event.revision == event.revision && shared.event.key == event.key
        };
        if let Some(found) = recent.iter().rev().find(same) {
            return Ok(Arc::clone(found));
        }
        let shared = Arc::new(SharedEvent::new(event.clone()));
        recent.push_back(Arc::clone(&shared));
        let mut bytes: usize = recent.iter().map(|shared| shared.bytes()).sum();
        while recent.len() > RECENT_MAX || (bytes > RECENT_BYTES && recent.len() > 1) {
            bytes -= recent.pop_front().map_or(0, |oldest| oldest.bytes());
        }
        Ok(shared)
    }
}

impl SharedEvent {
    fn new(event: WatchEvent) -> Self {
        Self {
            event,
            current: OnceLock::new(),
            previous: OnceLock::new(),
            lines: Default::default(),
        }
    }

    fn bytes(&self) -> usize {
        let len = |entry: &Option<KeyValue>| entry.as_ref().map_or(0, |entry| entry.value.len());
        len(&self.event.current) + len(&self.event.previous)
    }

    /// What the change is to a watcher that wants what `matches` says; none if it concerns it not.
    ///
    /// # Errors
    ///
    /// 500 when a stored object is damaged.
    pub(super) fn kind(
        &self,
        selective: bool,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Option<Kind>, Status> {
        let wanted = |entry: &Option<KeyValue>, parsed: &OnceLock<Option<Value>>| match entry {
            None => Ok(false),
            Some(_) if !selective => Ok(true),
            Some(entry) => {
                let object = match parsed.get() {
                    Some(object) => object,
                    None => {
                        let object = decode_for_columns(entry)?;
                        parsed.get_or_init(|| Some(object))
                    }
                };
                Ok(object.as_ref().is_some_and(&matches))
            }
        };
        let previous = wanted(&self.event.previous, &self.previous)?;
        let current = wanted(&self.event.current, &self.current)?;
        Ok(match (previous, current) {
            (false, false) => None,
            (false, true) => Some(Kind::Added),
            (true, true) => Some(Kind::Modified),
            (true, false) => Some(Kind::Deleted),
        })
    }

    /// The line for one kind and form. The first table of a watch has columns, and is its own.
    ///
    /// # Errors
    ///
    /// As [`SharedEvent::kind`].
    pub(super) fn line(
        &self,
        kind: Kind,
        printer: &Printer,
        with_columns: bool,
    ) -> Result<Bytes, Status> {
        let entry = match kind {
            Kind::Added | Kind::Modified => self.event.current.as_ref(),
            Kind::Deleted => self.event.previous.as_ref(),
        };
        let Some(entry) = entry else { return Ok(Bytes::new()) };
        // A deleted object has the revision of its deletion.
        let entry = KeyValue { mod_revision: self.event.revision, ..entry.clone() };
        let own = printer.form == Form::Table
            && (with_columns || printer.include != IncludeObject::Metadata);
        if own {
            return line(kind, &entry, printer, with_columns);
        }
        let [kind_index, form_index] = [kind as usize, printer.form as usize];
        let place = self.lines.get(kind_index).and_then(|forms| forms.get(form_index));
        let Some(place) = place else { return line(kind, &entry, printer, with_columns) };
        if let Some(made) = place.get() {
            return Ok(made.clone());
        }
        let made = line(kind, &entry, printer, with_columns)?;
        Ok(place.get_or_init(|| made).clone())
    }
}

/// Makes a line of a watch.
pub(super) fn line(
    kind: Kind,
    entry: &KeyValue,
    printer: &Printer,
    with_columns: bool,
) -> Result<Bytes, Status> {
    let word = match kind {
        Kind::Added => "ADDED",
        Kind::Modified => "MODIFIED",
        Kind::Deleted => "DELETED",
    };
    let mut out = Vec::with_capacity(entry.value.len() + 128);
    out.extend_from_slice(format!("{{\"type\":\"{word}\",\"object\":").as_bytes());
    match printer.form {
        Form::Object => append_at(&mut out, entry, entry.mod_revision, Shape::Object)?,
        Form::Metadata => append_at(&mut out, entry, entry.mod_revision, Shape::Metadata)?,
        Form::Table => printer.append_table(&mut out, entry, with_columns)?,
    }
    out.extend_from_slice(b"}\n");
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::Objects;

    fn entry(label: &str, mod_revision: u64) -> KeyValue {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "b", "labels": {"app": label}}});
        KeyValue {
            key: "/core/configmaps/b/a".into(),
            value: serde_json::to_vec(&value).unwrap().into(),
            create_revision: 1,
            mod_revision,
            version: 1,
        }
    }

    fn event(previous: Option<&str>, current: Option<&str>) -> WatchEvent {
        let key = "/core/configmaps/b/a".into();
        let entry = |label: Option<&str>, revision| label.map(|label| entry(label, revision));
        WatchEvent { revision: 9, key, current: entry(current, 9), previous: entry(previous, 5) }
    }

    #[track_caller]
    fn check(previous: Option<&str>, current: Option<&str>, expected: [Option<Kind>; 2]) {
        let shared = SharedEvent::new(event(previous, current));
        let web = |object: &Value| object["metadata"]["labels"]["app"] == "web";
        let kinds = [shared.kind(false, |_| false).unwrap(), shared.kind(true, web).unwrap()];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn change_is_what_the_selector_sees_of_it() {
        let (added, modified) = (Some(Kind::Added), Some(Kind::Modified));
        let deleted = Some(Kind::Deleted);
        check(None, Some("web"), [added, added]);
        check(None, Some("db"), [added, None]);
        check(Some("db"), Some("web"), [modified, added]);
        check(Some("web"), Some("web"), [modified, modified]);
        check(Some("web"), Some("db"), [modified, deleted]);
        check(Some("db"), Some("db"), [modified, None]);
        check(Some("web"), None, [deleted, deleted]);
        check(Some("db"), None, [deleted, None]);
    }

    #[test]
    fn all_watchers_share_one_line_of_a_form() {
        let events = SharedEvents::default();
        let resource = Objects::resource("", "configmaps");
        let printer = |form| Printer {
            resource: Arc::clone(resource),
            form,
            include: IncludeObject::Metadata,
            now: 0,
        };
        let change = event(None, Some("web"));
        let first = events
            .share(Objects::resource("", "configmaps"), &change)
            .unwrap()
            .line(Kind::Added, &printer(Form::Object), false)
            .unwrap();
        let second = events
            .share(Objects::resource("", "configmaps"), &change)
            .unwrap()
            .line(Kind::Added, &printer(Form::Object), false)
            .unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
        let parsed: Value = serde_json::from_slice(&first).unwrap();
        assert_eq!(
            (&parsed["type"], &parsed["object"]["kind"]),
            (&json!("ADDED"), &json!("ConfigMap"))
        );

        for form in [Form::Metadata, Form::Table] {
            let line = events
                .share(Objects::resource("", "configmaps"), &change)
                .unwrap()
                .line(Kind::Added, &printer(form), false)
                .unwrap();
            let kind = if form == Form::Table { "Table" } else { "PartialObjectMetadata" };
            let parsed: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(parsed["object"]["kind"], kind);
        }
        let deleted = SharedEvent::new(event(Some("web"), None));
        let line = deleted.line(Kind::Deleted, &printer(Form::Object), false).unwrap();
        let parsed: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(parsed["object"]["metadata"]["resourceVersion"], "9");
    }

    #[test]
    fn few_changes_are_kept() {
        let events = SharedEvents::default();
        for revision in 0..1_000 {
            let change = WatchEvent { revision, ..event(Some("web"), Some("db")) };
            drop(events.share(Objects::resource("", "configmaps"), &change).unwrap());
        }
        assert_eq!(events.recent.lock().unwrap().len(), RECENT_MAX);
    }
}
