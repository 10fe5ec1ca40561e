//! Jobs: which pods belong to one is told by labels that are made from its uid.

use serde_json::{Value, json};

use crate::object;

/// The old names of the labels, which upstream still writes, and their names of today.
const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

/// Makes selector and labels, unless the user keeps them by hand.
pub(crate) fn named(job: &mut Value) {
    if object::truth(job, "/spec/manualSelector") {
        return;
    }
    let name = object::text(job, "/metadata/name").to_owned();
    let uid = object::text(job, "/metadata/uid").to_owned();
    let Some(template) = job.pointer_mut("/spec/template") else { return };
    let Some(_) = object::child(template, "metadata") else { return };
    let Some(metadata) = template.get_mut("metadata") else { return };
    let Some(labels) = object::child(metadata, "labels") else { return };
    for key in UID_LABELS {
        labels.insert(key.to_owned(), uid.clone().into());
    }
    for key in NAME_LABELS {
        labels.insert(key.to_owned(), name.clone().into());
    }
    if let Some(spec) = object::child(job, "spec") {
        let selector = spec.entry("selector").or_insert_with(|| json!({}));
        if let Some(labels) = object::child(selector, "matchLabels") {
            labels.insert(UID_LABELS[1].to_owned(), uid.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_and_labels_are_made_from_uid_and_name() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {}}});
        named(&mut job);
        assert_eq!(
            job["spec"]["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
        );
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["job-name"], "j");
        assert_eq!(labels["batch.kubernetes.io/job-name"], "j");
        let manual = json!({"metadata": {"name": "j", "uid": "u"},
            "spec": {"manualSelector": true, "template": {}}});
        let mut job = manual.clone();
        named(&mut job);
        assert_eq!(job, manual);
    }
}
