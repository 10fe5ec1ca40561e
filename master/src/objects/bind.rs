//! Binding pods to nodes.

use bramble_api::Status;
use serde_json::{Value, json};

use super::commit::{ATTEMPTS_MAX, Outcome};
use super::{Objects, WriteOptions, meta};
use crate::clock;

impl Objects {
    pub(super) async fn bind_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        node: &str,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let pods = Self::resource("", "pods");
        for _ in 0..ATTEMPTS_MAX {
            let old = self.load(pods, namespace, name).await?;
            let refuse = |detail: &str| Err(Status::conflict(pods, name, detail));
            let present = meta::text(&old.object, "uid");
            if uid.is_some_and(|asked| asked != present) {
                return refuse("the pod was replaced by another of the same name");
            }
            if meta::deleting(&old.object) {
                return refuse(&format!(
                    "pod {name} is being deleted, cannot be assigned to a host"
                ));
            }
            let bound = meta::text_at(&old.object, "/spec/nodeName");
            if !bound.is_empty() {
                return refuse(&format!("pod {name} is already assigned to node {bound:?}"));
            }
            let mut new = old.object.clone();
            if let Some(spec) = meta::child(&mut new, "spec") {
                spec.insert("nodeName".to_owned(), Value::from(node));
            }
            mark_scheduled(&mut new);
            match self.replace(pods, &old, new, options).await? {
                Outcome::Stored(_) | Outcome::Removed(_) => return Ok(()),
                Outcome::Conflict | Outcome::Outdated => {}
            }
        }
        Err(Status::conflict_modified(pods, name))
    }
}

/// Sets the condition `PodScheduled` to true.
fn mark_scheduled(pod: &mut Value) {
    let Some(status) = meta::child(pod, "status") else {
        return;
    };
    // It has what was hoped for.
    status.remove("nominatedNodeName");
    let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut()
    else {
        return;
    };
    conditions.retain(|condition| condition.get("type") != Some(&json!("PodScheduled")));
    conditions.push(json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": clock::timestamp(),
    }));
}
