//! Writes Events: for people, counted instead of repeated, in memory only.
//!
//! The same event about the same object within an hour raises a count, as upstream does. Knows
//! nothing of why something happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard};

use bramble_api::Status;
use bramble_process::panics;
use bramble_store::Class;
use serde_json::{Value, json};

use crate::objects::{ListOptions, Objects, Part, WriteOptions};
use crate::{clock, random};

/// Events that may still be counted; about 300 bytes each.
const RECENT_MAX: usize = 2_048;
/// How long an event is kept, in seconds: upstream's default.
const KEEP_S: i64 = 3_600;
/// Bytes of all events together; beyond that the oldest go. Some ten thousand, and a tenth of what
/// the master may use with a thousand pods.
const EVENTS_LEN_MAX: usize = 8 * 1024 * 1024;
/// Bytes that are written between two looks at how many there are.
const LOOK_LEN: usize = EVENTS_LEN_MAX / 8;

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
    /// Bytes that were written since the last look at all of them.
    len: usize,
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

    /// Deletes events that nobody counted for an hour, and the oldest of too many.
    pub(crate) async fn expire(&self) {
        let events = Objects::resource("", "events");
        let Ok(list) = self.objects.list(events, "", &ListOptions::default()).await else { return };
        for (namespace, name) in superfluous(&list.items, clock::time_of_day_s(), EVENTS_LEN_MAX) {
            let options = crate::objects::DeleteOptions::default();
            // Gone already is as good.
            let _ = self.objects.delete(events, &namespace, &name, &options).await;
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
        let len = object.to_string().len();
        self.objects.create(events, namespace, object, &options).await?;
        let look = {
            let mut recent = self.lock();
            recent.remember(occurrence, name);
            recent.wrote(len)
        };
        if look {
            self.expire().await;
        }
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
        self.recent.lock().unwrap_or_else(|_| panics::torn("the recent events"))
    }
}

impl Recent {
    fn touch(&mut self, occurrence: &Occurrence) -> Option<String> {
        self.writes += 1;
        let (name, counted) = self.names.get_mut(occurrence)?;
        *counted = self.writes;
        Some(name.clone())
    }

    /// Takes in that so many bytes were written; true if it is time to look at all events.
    fn wrote(&mut self, len: usize) -> bool {
        self.len += len;
        let look = self.len >= LOOK_LEN;
        if look {
            self.len = 0;
        }
        look
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

/// Namespace and name of the events that are too old, and of the oldest beyond `len_max` bytes.
fn superfluous(events: &[Value], now: i64, len_max: usize) -> Vec<(String, String)> {
    let text = |event: &Value, pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let last = |event: &Value| {
        ["/lastTimestamp", "/metadata/creationTimestamp"]
            .into_iter()
            .find_map(|pointer| bramble_api::timestamp::parse(&text(event, pointer)))
    };
    let mut dated: Vec<(Option<i64>, &Value)> =
        events.iter().map(|event| (last(event), event)).collect();
    // Newest first; those without a time are kept longest, since nobody knows their age.
    dated.sort_by_key(|(last, _)| std::cmp::Reverse(last.unwrap_or(i64::MAX)));
    let mut len = 0;
    let goes = |(last, event): &(Option<i64>, &Value)| {
        len += event.to_string().len();
        len > len_max || last.is_some_and(|last| now - last >= KEEP_S)
    };
    let names = dated.into_iter().filter(goes).map(|(_, event)| event);
    names.map(|event| (text(event, "/metadata/namespace"), text(event, "/metadata/name"))).collect()
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
    fn old_events_go_and_the_oldest_of_too_many() {
        let event = |name: &str, second: i64| {
            let last = bramble_api::timestamp::format(second);
            json!({"metadata": {"namespace": "n", "name": name}, "lastTimestamp": last})
        };
        let events: Vec<Value> =
            (0..10).map(|number| event(&number.to_string(), 10_000 + number)).collect();
        let len = events[0].to_string().len();
        let names = |now: i64, len_max: usize| -> Vec<String> {
            superfluous(&events, now, len_max).into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names(10_010, len * 10), [""; 0]);
        assert_eq!(names(10_010, len * 7), ["2", "1", "0"]);
        assert_eq!(names(13_601, len * 10), ["1", "0"]);
    }

    #[test]
    fn all_events_are_looked_at_when_enough_were_written() {
        let mut recent = Recent::default();
        assert!(!recent.wrote(LOOK_LEN - 1));
        assert!(recent.wrote(1));
        assert!(!recent.wrote(1));
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
