//! Writes Events: for people, counted instead of repeated, in memory only.
//!
//! The same event about the same object within an hour raises a count, as upstream does. Knows
//! nothing of why something happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bramble_api::Status;
use bramble_store::Class;
use serde_json::{Value, json};

use crate::objects::{ListOptions, Objects, Part, WriteOptions};
use crate::{clock, random};

/// Events that may still be counted; about 300 bytes each.
const RECENT_MAX: usize = 2_048;
/// How long an event is kept, in seconds: upstream's default.
const KEEP_S: i64 = 3_600;

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Involved {
    /// `v1`, `apps/v1`.
    pub(crate) api_version: String,
    /// `Pod`.
    pub(crate) kind: String,
    /// Its namespace; empty for cluster-scoped objects.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its uid.
    pub(crate) uid: String,
    /// `spec.containers{name}`, or empty.
    pub(crate) field_path: String,
}

/// Something that a person should be able to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Occurrence {
    /// What it is about.
    pub(crate) involved: Involved,
    /// Something is wrong.
    pub(crate) warning: bool,
    /// In one word.
    pub(crate) reason: String,
    /// In words.
    pub(crate) message: String,
    /// Who says so.
    pub(crate) component: String,
    /// On which node, or empty.
    pub(crate) host: String,
}

/// Writes events.
#[derive(Debug)]
pub(crate) struct EventRecorder {
    objects: Objects,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Name of the Event object, and when it was last counted (in writes).
    names: BTreeMap<Occurrence, (String, u64)>,
    writes: u64,
}

impl EventRecorder {
    /// Writes events into `objects`.
    pub(crate) fn new(objects: Objects) -> Self {
        Self { objects, recent: Mutex::default() }
    }

    /// Writes an event. A failure is logged and forgotten: events are best effort.
    pub(crate) async fn record(&self, occurrence: Occurrence) {
        let known = self.lock().touch(&occurrence);
        let written = match known {
            Some(name) => self.count(&occurrence, &name).await,
            None => self.create(&occurrence).await,
        };
        match written {
            Ok(()) => {}
            // It was deleted meanwhile.
            Err(status) if status.code == 404 => {
                if let Err(status) = self.create(&occurrence).await {
                    tracing::debug!(%status, "event not written");
                }
            }
            Err(status) => tracing::debug!(%status, "event not written"),
        }
    }

    /// Deletes events that nobody counted for an hour.
    pub(crate) async fn expire(&self) {
        let events = Objects::resource("", "events");
        let Ok(list) = self.objects.list(events, "", &ListOptions::default()).await else { return };
        let now = clock::time_of_day_s();
        for event in &list.items {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
            let last = ["/lastTimestamp", "/metadata/creationTimestamp"]
                .into_iter()
                .find_map(|pointer| bramble_api::timestamp::parse(text(pointer)?));
            if last.is_none_or(|last| now - last < KEEP_S) {
                continue;
            }
            if let (Some(namespace), Some(name)) =
                (text("/metadata/namespace"), text("/metadata/name"))
            {
                let options = crate::objects::DeleteOptions::default();
                // Gone already is as good.
                let _ = self.objects.delete(events, namespace, name, &options).await;
            }
        }
    }

    async fn create(&self, occurrence: &Occurrence) -> Result<(), Status> {
        let mut suffix = String::new();
        for byte in random::bytes::<8>() {
            let _ = write!(suffix, "{byte:02x}");
        }
        let name = format!("{}.{suffix}", occurrence.involved.name);
        let namespace = namespace(occurrence);
        let object = event(occurrence, &name, namespace, &clock::timestamp());
        let options = WriteOptions { class: Some(Class::Volatile), ..WriteOptions::default() };
        let events = Objects::resource("", "events");
        self.objects.create(events, namespace, object, &options).await?;
        self.lock().remember(occurrence, name);
        Ok(())
    }

    async fn count(&self, occurrence: &Occurrence, name: &str) -> Result<(), Status> {
        let now = clock::timestamp();
        let change = move |event: &mut Value| {
            let count = event.get("count").and_then(Value::as_u64).unwrap_or(1) + 1;
            if let Some(event) = event.as_object_mut() {
                event.insert("count".to_owned(), Value::from(count));
                event.insert("lastTimestamp".to_owned(), Value::from(now.clone()));
            }
            Ok(())
        };
        let options = WriteOptions { class: Some(Class::Volatile), ..WriteOptions::default() };
        let events = Objects::resource("", "events");
        let namespace = namespace(occurrence);
        self.objects.modify(events, namespace, name, Part::Main, &options, &change).await?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn touch(&mut self, occurrence: &Occurrence) -> Option<String> {
        self.writes += 1;
        let (name, counted) = self.names.get_mut(occurrence)?;
        *counted = self.writes;
        Some(name.clone())
    }

    fn remember(&mut self, occurrence: &Occurrence, name: String) {
        if self.names.len() >= RECENT_MAX {
            // The older half goes at once, so that this is paid for once in a thousand events.
            let mut ages: Vec<u64> = self.names.values().map(|(_, counted)| *counted).collect();
            ages.sort_unstable();
            let middle = ages.get(RECENT_MAX / 2).copied().unwrap_or_default();
            self.names.retain(|_, (_, counted)| *counted > middle);
        }
        self.names.insert(occurrence.clone(), (name, self.writes));
    }
}

/// Events about cluster-scoped objects are in `default`, as upstream.
fn namespace(occurrence: &Occurrence) -> &str {
    match occurrence.involved.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    }
}

fn event(occurrence: &Occurrence, name: &str, namespace: &str, now: &str) -> Value {
    let Occurrence { involved, warning, reason, message, component, host } = occurrence;
    let mut object = json!({
        "kind": involved.kind,
        "name": involved.name,
        "uid": involved.uid,
        "apiVersion": involved.api_version,
    });
    let mut source = json!({"component": component});
    let set = |object: &mut Value, name: &str, value: &str| {
        if let Some(object) = object.as_object_mut().filter(|_| !value.is_empty()) {
            object.insert(name.to_owned(), Value::from(value));
        }
    };
    set(&mut object, "namespace", &involved.namespace);
    set(&mut object, "fieldPath", &involved.field_path);
    set(&mut source, "host", host);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": object,
        "reason": reason,
        "message": message,
        "source": source,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "type": if *warning { "Warning" } else { "Normal" },
        "eventTime": null,
        "reportingComponent": component,
        "reportingInstance": host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(reason: &str) -> Occurrence {
        Occurrence {
            involved: Involved { name: "a".to_owned(), ..Involved::default() },
            warning: true,
            reason: reason.to_owned(),
            message: "m".to_owned(),
            component: "agent".to_owned(),
            host: String::new(),
        }
    }

    #[test]
    fn the_same_event_is_found_again_and_memory_is_bounded() {
        let mut recent = Recent::default();
        for index in 0..RECENT_MAX * 3 {
            let occurrence = occurrence(&index.to_string());
            assert_eq!(recent.touch(&occurrence), None);
            recent.remember(&occurrence, format!("e{index}"));
        }
        assert!(recent.names.len() <= RECENT_MAX);
        let last = RECENT_MAX * 3 - 1;
        assert_eq!(recent.touch(&occurrence(&last.to_string())), Some(format!("e{last}")));
    }

    #[test]
    fn an_event_names_its_object_and_goes_where_people_look() {
        let occurrence = occurrence("Rebooted");
        assert_eq!(namespace(&occurrence), "default");
        let event = event(&occurrence, "a.1", "default", "now");
        assert_eq!(event["involvedObject"]["name"], "a");
        assert_eq!(event["type"], "Warning");
        assert!(event["involvedObject"].get("fieldPath").is_none());
    }
}
