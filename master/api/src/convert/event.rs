//! Event: `v1`, in which it is kept, and `events.k8s.io/v1`, which has other names for its fields.

use serde_json::{Value, json};

use super::rename;
use crate::object;

/// Name in `v1`, name in `events.k8s.io/v1`.
const NAMES: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The form of its own group.
pub(crate) fn to_group(event: &mut Value) {
    let Some(fields) = event.as_object_mut() else { return };
    fields.insert("apiVersion".to_owned(), "events.k8s.io/v1".into());
    for (old, new) in NAMES {
        rename(fields, old, new);
    }
    rename(fields, "reportingComponent", "reportingController");
}

/// The form that is kept.
pub(crate) fn from_group(event: &mut Value) {
    let Some(fields) = event.as_object_mut() else { return };
    fields.insert("apiVersion".to_owned(), "v1".into());
    for (old, new) in NAMES {
        rename(fields, new, old);
    }
    rename(fields, "reportingController", "reportingComponent");
    // What is about no object at all is still about something, as `v1` requires it.
    if object::child(event, "involvedObject").is_none()
        && let Some(fields) = event.as_object_mut()
    {
        fields.insert("involvedObject".to_owned(), json!({}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        let kept = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod", "name": "a"}, "message": "m", "count": 2,
            "reportingComponent": "c", "source": {"component": "x"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "eventTime": null});
        let mut event = kept.clone();
        to_group(&mut event);
        assert_eq!(event["regarding"]["name"], "a");
        assert_eq!(event["note"], "m");
        assert_eq!(event["reportingController"], "c");
        assert_eq!(event["deprecatedSource"]["component"], "x");
        assert_eq!(event.get("involvedObject"), None);
        from_group(&mut event);
        assert_eq!(event, kept);
    }
}
