//! `metadata.managedFields`: who set which field, by which kind of write, when.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::field_set::FieldSet;
use crate::object;

/// Managers that an object remembers for ordinary writes, as upstream; what the oldest of them
/// own goes to one entry.
const UPDATE_MANAGERS_MAX: usize = 10;
/// Name of that entry, as upstream.
const ANCIENT: &str = "ancient-changes";

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manager<'a> {
    /// The manager's name.
    pub(super) name: String,
    /// `Apply` or `Update`.
    pub(super) operation: String,
    /// The subresource that was written; empty for the object itself.
    pub(super) subresource: String,
    /// The version that the fields are of.
    pub(super) api_version: String,
    /// When it last changed something.
    pub(super) time: String,
    /// What it owns.
    pub(super) fields: FieldSet<'a>,
}

impl<'a> Manager<'a> {
    /// Whether it is the one of that name that writes in that way.
    pub(super) fn is(&self, name: &str, operation: &str, subresource: &str) -> bool {
        self.name == name && self.operation == operation && self.subresource == subresource
    }

    fn read(entry: &'a Value) -> Self {
        let text =
            |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            name: text("manager"),
            operation: text("operation"),
            subresource: text("subresource"),
            api_version: text("apiVersion"),
            time: text("time"),
            fields: entry.get("fieldsV1").map(FieldSet::read).unwrap_or_default(),
        }
    }

    fn write(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.write(),
        });
        if let Some(entry) = entry.as_object_mut().filter(|_| !self.subresource.is_empty()) {
            entry.insert("subresource".to_owned(), self.subresource.clone().into());
        }
        entry
    }
}

/// Reads the managers of an object.
pub(super) fn read(object: &Value) -> Vec<Manager<'_>> {
    object::items(object, "/metadata/managedFields").iter().map(Manager::read).collect()
}

/// The entries of managers as an object holds them; those who own nothing have none.
pub(super) fn write(mut managers: Vec<Manager<'_>>) -> Vec<Value> {
    managers.retain(|manager| !manager.fields.is_empty());
    merge_ancient(&mut managers);
    managers.iter().map(Manager::write).collect()
}

/// Puts the entries into an object.
pub(super) fn store(object: &mut Value, entries: Vec<Value>) {
    let Some(metadata) = object::child(object, "metadata") else { return };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

/// Merges what the oldest managers own, so that an object that everybody changes stays small.
fn merge_ancient(managers: &mut Vec<Manager<'_>>) {
    let mut updates: Vec<usize> = Vec::new();
    for (index, manager) in managers.iter().enumerate() {
        if manager.operation == "Update" {
            updates.push(index);
        }
    }
    if updates.len() <= UPDATE_MANAGERS_MAX {
        return;
    }
    let time = |index: usize| managers.get(index).map(|manager| manager.time.clone());
    updates.sort_by_cached_key(|index| Reverse(time(*index)));
    // One place is for the entry that they are merged into.
    let mut old: Vec<usize> = updates.split_off(UPDATE_MANAGERS_MAX - 1);
    old.sort_unstable();
    let mut merged: Option<Manager<'_>> = None;
    let mut index = 0;
    managers.retain(|manager| {
        let ancient = old.binary_search(&index).is_ok();
        index += 1;
        if ancient {
            match &mut merged {
                Some(merged) => {
                    merged.fields.add(&manager.fields);
                    if merged.time < manager.time {
                        merged.time.clone_from(&manager.time);
                    }
                }
                None => merged = Some(Manager { name: ANCIENT.to_owned(), ..manager.clone() }),
            }
        }
        !ancient
    });
    if let Some(merged) = merged {
        managers.insert(0, Manager { subresource: String::new(), ..merged });
    }
}
