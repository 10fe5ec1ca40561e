//! From one form of an object to another: kinds that are served in more than one version or group.

pub(crate) mod autoscaling;
pub(crate) mod event;

use serde_json::{Map, Value};

/// Gives a field another name.
fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}
