//! What makes a pod the one of its ordinal: name, host name, labels and claims.

use serde_json::{Value, json};

use super::super::owner::{Owner, set, set_metadata};
use super::super::revisions::REVISION_LABEL;
use super::claims;
use crate::action::{Action, Target};
use crate::view::pod::PodView;
use crate::view::resource::Resource;
use crate::view::stateful_set::StatefulSetView;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The ordinal in a pod's name; `None` if it is not one of this set.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    // `01` and `+1` are names of other pods.
    (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal)
}

pub(super) fn pod_name(set: &StatefulSetView, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.meta.name)
}

/// The pod of an ordinal, made from a revision's template.
pub(super) fn pod(
    set_view: &StatefulSetView,
    owner: &Owner<'_>,
    ordinal: i32,
    template: &Value,
    revision: &str,
) -> Value {
    let name = pod_name(set_view, ordinal);
    let mut pod = owner.pod(template, &name);
    set_metadata(&mut pod, "labels", POD_NAME, &name);
    set_metadata(&mut pod, "labels", POD_INDEX, &ordinal.to_string());
    set_metadata(&mut pod, "labels", REVISION_LABEL, revision);
    set(&mut pod, &["spec"], "hostname", json!(name));
    set(&mut pod, &["spec"], "subdomain", json!(set_view.spec.service_name));
    let claims = claims::volumes(set_view, ordinal);
    if !claims.is_empty() {
        let present = pod.pointer("/spec/volumes").and_then(Value::as_array);
        let named = |volume: &&Value| claims.iter().all(|claim| claim["name"] != volume["name"]);
        let others = present.into_iter().flatten().filter(named).cloned();
        let volumes: Vec<Value> = others.chain(claims.iter().cloned()).collect();
        set(&mut pod, &["spec"], "volumes", json!(volumes));
    }
    pod
}

/// Gives an existing pod the labels of its ordinal back.
pub(super) fn mended(set: &StatefulSetView, ordinal: i32, pod: &PodView) -> Option<Action> {
    let (name, index) = (pod_name(set, ordinal), ordinal.to_string());
    let labels = &pod.meta.labels;
    if labels.get(POD_NAME) == Some(&*name) && labels.get(POD_INDEX) == Some(&*index) {
        return None;
    }
    let patch = json!({"metadata": {"labels": {POD_NAME: name, POD_INDEX: index}}});
    Some(Action::Update { target: Target::of(&Resource::PODS, &pod.meta), patch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_are_ordinals() {
        assert_eq!(ordinal("web", "web-0"), Some(0));
        assert_eq!(ordinal("web", "web-12"), Some(12));
        for other in ["web", "web-", "web-01", "web-+1", "web--1", "web-a", "web-b-1", "other-1"] {
            assert_eq!(ordinal("web", other), None, "{other}");
        }
    }
}
