//! Carries out what the cores want, through the object service.
//!
//! Actions on one object are done in order, those on different objects at the same time. What
//! does not fit any more is dropped: the next run decides again. Decides nothing itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bramble_api::{Resource, Status, patch};
use bramble_master_core::action::{Action, EventKind, Propagation, Target};
use bramble_master_core::slow_start::SlowStart;
use bramble_master_core::view::condition::{self, Condition};
use bramble_master_core::view::resource;
use bramble_master_core::view::timestamp::Timestamp;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::events::{EventRecorder, Involved, Occurrence};
use crate::clock;
use crate::objects::{self, DeleteOptions, Objects, Part, WriteOptions};

/// Writes at a time: enough to fill a group commit, and bounded.
const CONCURRENT_MAX: usize = 128;

/// Owners for whom objects are created at the same time.
const SERIES_MAX: usize = 8;

/// Carries out actions; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Executor {
    objects: Objects,
    events: Arc<EventRecorder>,
}

impl Executor {
    /// Writes through `objects`.
    pub(super) const fn new(objects: Objects, events: Arc<EventRecorder>) -> Self {
        Self { objects, events }
    }

    /// Carries out actions and returns those that failed. After a failure the rest of that
    /// object's actions is not tried, nor are further creations for the same owner.
    pub(super) async fn execute(&self, actions: Vec<Action>) -> Vec<Action> {
        let plan = Plan::new(actions);
        let groups = stream::iter(plan.groups)
            .map(|group| self.execute_group(group))
            .buffer_unordered(CONCURRENT_MAX)
            .filter_map(std::future::ready)
            .collect::<Vec<Action>>();
        let series = stream::iter(plan.series)
            .map(|series| self.execute_series(series))
            .buffer_unordered(SERIES_MAX)
            .concat();
        let (mut failed, more) = futures_util::future::join(groups, series).await;
        failed.extend(more);
        failed
    }

    /// Creates objects for one owner, in batches that double for as long as all succeed.
    async fn execute_series(&self, series: Vec<Vec<Action>>) -> Vec<Action> {
        let mut pace = SlowStart::new(series.len());
        let mut left = series.into_iter();
        let mut failed = Vec::new();
        while pace.batch() > 0 {
            let batch: Vec<Vec<Action>> = left.by_ref().take(pace.batch()).collect();
            let failures: Vec<Action> = stream::iter(batch)
                .map(|group| self.execute_group(group))
                .buffer_unordered(CONCURRENT_MAX)
                .filter_map(std::future::ready)
                .collect()
                .await;
            pace.done(!failures.is_empty());
            failed.extend(failures);
        }
        failed
    }

    async fn execute_group(&self, group: Vec<Action>) -> Option<Action> {
        let mut actions = group.into_iter();
        while let Some(action) = actions.next() {
            let Err(status) = self.act(&action).await else { continue };
            let object =
                action.target().map(|target| format!("{}/{}", target.resource, target.name));
            if matches!(status.code, 404 | 409) {
                tracing::debug!(object, %status, "action no longer fits");
            } else {
                tracing::warn!(object, %status, "action failed");
                for told in actions.by_ref().filter_map(|next| failure(next, &status)) {
                    // What cannot be told now is told when it fails again.
                    let _ = self.act(&told).await;
                }
            }
            return Some(action);
        }
        None
    }

    async fn act(&self, action: &Action) -> Result<(), Status> {
        match action {
            Action::Create { resource, namespace, object } => {
                let (resource, options) = (self.row(resource)?, WriteOptions::default());
                let created = self.objects.create(&resource, namespace, object.clone(), &options);
                created.await.map(|_| ())
            }
            Action::Update { target, patch } => {
                let merge = |object: &mut Value| patch::merge::apply(object, patch);
                self.modify(target, Part::Main, merge).await
            }
            Action::UpdateStatus { target, patch } => {
                let merge = |object: &mut Value| patch::merge::apply(object, patch);
                self.modify(target, Part::Status, merge).await
            }
            Action::SetConditions { target, conditions } => {
                self.modify(target, Part::Status, |object| merge_conditions(object, conditions))
                    .await
            }
            Action::Delete { target, grace_seconds, propagation } => {
                self.delete(target, *grace_seconds, *propagation).await
            }
            Action::Evict { target, reason, message, .. } => {
                self.evict(target, reason, message).await
            }
            Action::Bind { target, node, .. } => {
                let options = WriteOptions::default();
                let (namespace, name) = (&*target.namespace, &*target.name);
                self.objects.bind(namespace, name, Some(&target.uid), node, &options).await
            }
            Action::ConditionIfFailed { .. } => Ok(()),
            Action::RecountQuota { target } => self.objects.recount_quota(target).await,
            Action::Nominate { target, node, conditions } => {
                let node = node.as_deref().map_or(Value::Null, Value::from);
                let change = |pod: &mut Value| {
                    set(pod, "status", "nominatedNodeName", &node);
                    merge_conditions(pod, conditions);
                };
                self.modify(target, Part::Status, change).await
            }
            Action::Event { involved, involved_kind, kind, reason, message, component } => {
                let resource = self.row(&involved.resource)?;
                let occurrence = Occurrence {
                    involved: Involved {
                        api_version: resource.api_version(),
                        kind: (*involved_kind).to_owned(),
                        namespace: involved.namespace.to_string(),
                        name: involved.name.to_string(),
                        uid: involved.uid.to_string(),
                        field_path: String::new(),
                    },
                    warning: *kind == EventKind::Warning,
                    reason: (*reason).to_owned(),
                    message: message.clone(),
                    component: (*component).to_owned(),
                    host: String::new(),
                };
                self.events.record(occurrence).await;
                Ok(())
            }
            Action::SetNodeTaints { target, taints } => {
                let taints = to_value(taints)?;
                self.modify(target, Part::Main, |node| set(node, "spec", "taints", &taints)).await
            }
            Action::ReplaceEndpointSlice { target, namespace, slice } => {
                self.replace_slice(target.as_ref(), namespace, to_value(slice)?).await
            }
            Action::RemoveFinalizer { target, finalizer } => {
                let change = |object: &mut Value| remove_finalizer(object, "metadata", finalizer);
                self.modify(target, Part::Main, change).await
            }
            Action::FinalizeNamespace { target, finalizer } => {
                self.finalize_namespace(target, finalizer).await
            }
            Action::SetOwnerReferences { target, owner_references } => {
                let owners = to_value(owner_references)?;
                let change =
                    |object: &mut Value| set(object, "metadata", "ownerReferences", &owners);
                self.modify(target, Part::Main, change).await
            }
        }
    }

    /// Changes an object if it still is as it was when the decision was taken.
    async fn modify(
        &self,
        target: &Target,
        part: Part,
        change: impl Fn(&mut Value) + Send + Sync,
    ) -> Result<(), Status> {
        let resource = self.row(&target.resource)?;
        let checked = |object: &mut Value| {
            check_version(&resource, target, object)?;
            change(object);
            Ok(())
        };
        let (namespace, name) = (&*target.namespace, &*target.name);
        let options = WriteOptions::default();
        self.objects.modify(&resource, namespace, name, part, &options, &checked).await.map(|_| ())
    }

    async fn delete(
        &self,
        target: &Target,
        grace_period_s: Option<i64>,
        propagation: Option<Propagation>,
    ) -> Result<(), Status> {
        let options = DeleteOptions {
            grace_period_s,
            uid: Some(target.uid.to_string()),
            resource_version: Some(target.resource_version.to_string()),
            propagation: propagation.map(|propagation| match propagation {
                Propagation::Background => objects::Propagation::Background,
                Propagation::Foreground => objects::Propagation::Foreground,
                Propagation::Orphan => objects::Propagation::Orphan,
            }),
            dry_run: false,
            user: None,
        };
        let resource = self.row(&target.resource)?;
        self.objects.delete(&resource, &target.namespace, &target.name, &options).await.map(|_| ())
    }

    /// Says why, then deletes: the condition outlives the pod's own report.
    async fn evict(&self, target: &Target, reason: &str, message: &str) -> Result<(), Status> {
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": clock::timestamp(),
        });
        self.modify(target, Part::Status, |pod| merge_condition(pod, &condition)).await?;
        let options =
            DeleteOptions { uid: Some(target.uid.to_string()), ..DeleteOptions::default() };
        let pods = self.row(&target.resource)?;
        self.objects.delete(&pods, &target.namespace, &target.name, &options).await.map(|_| ())
    }

    async fn replace_slice(
        &self,
        target: Option<&Target>,
        namespace: &str,
        slice: Value,
    ) -> Result<(), Status> {
        let Some(target) = target else {
            let slices = Objects::resource("discovery.k8s.io", "endpointslices");
            let options = WriteOptions::default();
            return self.objects.create(slices, namespace, slice, &options).await.map(|_| ());
        };
        let change = |object: &mut Value| {
            for (parent, field) in [("metadata", "labels"), ("metadata", "ownerReferences")] {
                let value = slice.get(parent).and_then(|parent| parent.get(field));
                set(object, parent, field, value.unwrap_or(&Value::Null));
            }
            for field in ["endpoints", "ports", "addressType"] {
                if let (Some(object), Some(value)) = (object.as_object_mut(), slice.get(field)) {
                    object.insert(field.to_owned(), value.clone());
                }
            }
        };
        self.modify(target, Part::Main, change).await
    }

    /// The descriptor of a resource; objects of unknown ones are left alone.
    fn row(&self, resource: &resource::Resource) -> Result<Arc<Resource>, Status> {
        let found = self.objects.registry().kept(&resource.group, &resource.plural).cloned();
        found.ok_or_else(Status::not_found_path)
    }

    async fn finalize_namespace(&self, target: &Target, finalizer: &str) -> Result<(), Status> {
        let resource = self.row(&target.resource)?;
        let mut namespace = self.objects.get(&resource, "", &target.name).await?;
        check_version(&resource, target, &namespace)?;
        remove_finalizer(&mut namespace, "spec", finalizer);
        let left = namespace.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([]));
        let options = WriteOptions::default();
        self.objects.finalize_namespace(&target.name, &left, &options).await.map(|_| ())
    }
}

/// Actions in the order in which they may be done: those of a group one after the other.
#[derive(Debug, Default)]
struct Plan {
    /// Groups that do not depend on each other.
    groups: Vec<Vec<Action>>,
    /// Creations by owner; each with what is to be told of it.
    series: Vec<Vec<Vec<Action>>>,
}

impl Plan {
    fn new(actions: Vec<Action>) -> Self {
        let mut groups: BTreeMap<Target, Vec<Action>> = BTreeMap::new();
        let mut series: BTreeMap<String, Vec<Vec<Action>>> = BTreeMap::new();
        let mut single: Vec<Vec<Action>> = Vec::new();
        // Where the last action is that an event may tell of.
        let mut last = Last::Nothing;
        for action in actions {
            if action.tells() {
                let group = match &last {
                    Last::Nothing => None,
                    Last::Single => single.last_mut(),
                    Last::Group(target) => groups.get_mut(target),
                    Last::Series(owner) => series.get_mut(owner).and_then(|all| all.last_mut()),
                };
                match group {
                    Some(group) => group.push(action),
                    None => single.push(vec![action]),
                }
                continue;
            }
            last = match (action.target().cloned(), owner(&action)) {
                (Some(target), _) => {
                    groups.entry(target.clone()).or_default().push(action);
                    Last::Group(target)
                }
                (None, Some(owner)) => {
                    series.entry(owner.clone()).or_default().push(vec![action]);
                    Last::Series(owner)
                }
                (None, None) => {
                    single.push(vec![action]);
                    Last::Single
                }
            };
        }
        single.extend(groups.into_values());
        Self { groups: single, series: series.into_values().collect() }
    }
}

/// Which action came last.
enum Last {
    Nothing,
    Single,
    Group(Target),
    Series(String),
}

/// The uid of the controller that something is created for.
fn owner(action: &Action) -> Option<String> {
    let Action::Create { object, .. } = action else { return None };
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let controls = |owner: &&Value| owner.get("controller") == Some(&Value::Bool(true));
    owners.iter().find(controls)?.get("uid")?.as_str().map(str::to_owned)
}

/// What is told instead of a success; none for other events.
fn failure(told: Action, status: &Status) -> Option<Action> {
    if let Action::ConditionIfFailed { target, kind, reason } = told {
        let now = Timestamp(i64::try_from(clock::time_of_day_ms()).unwrap_or(i64::MAX));
        let why = status.to_string();
        let conditions = vec![Condition::new(kind, condition::Status::True, reason, &why, now)];
        return Some(Action::SetConditions { target, conditions });
    }
    let Action::Event { involved, involved_kind, reason, component, .. } = told else {
        return None;
    };
    let (reason, done) = match reason {
        "SuccessfulCreate" => ("FailedCreate", "creating"),
        "SuccessfulDelete" => ("FailedDelete", "deleting"),
        _ => return None,
    };
    let (kind, message) = (EventKind::Warning, format!("Error {done}: {status}"));
    Some(Action::Event { involved, involved_kind, kind, reason, message, component })
}

fn check_version(resource: &Resource, target: &Target, object: &Value) -> Result<(), Status> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let same = text("/metadata/uid") == Some(&*target.uid)
        && text("/metadata/resourceVersion").and_then(|text| text.parse().ok())
            == Some(target.resource_version);
    if same { Ok(()) } else { Err(Status::conflict_modified(resource, &target.name)) }
}

fn to_value(value: &impl serde::Serialize) -> Result<Value, Status> {
    serde_json::to_value(value).map_err(|error| Status::internal(error.to_string()))
}

/// Sets `parent.field`; null and the empty list remove it.
fn set(object: &mut Value, parent: &str, field: &str, value: &Value) {
    let Some(object) = object.as_object_mut() else { return };
    let parent = object.entry(parent).or_insert_with(|| json!({}));
    let Some(parent) = parent.as_object_mut() else { return };
    if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
        parent.remove(field);
    } else {
        parent.insert(field.to_owned(), value.clone());
    }
}

fn remove_finalizer(object: &mut Value, parent: &str, finalizer: &str) {
    let list = object.get_mut(parent).and_then(|parent| parent.get_mut("finalizers"));
    let Some(list) = list.and_then(Value::as_array_mut) else { return };
    list.retain(|present| present != finalizer);
    if list.is_empty() {
        set(object, parent, "finalizers", &Value::Null);
    }
}

fn merge_conditions(object: &mut Value, conditions: &[Condition]) {
    for condition in conditions {
        // A condition always is an object of plain fields.
        if let Ok(condition) = serde_json::to_value(condition) {
            merge_condition(object, &condition);
        }
    }
}

/// Lays a condition over the present one of its type, or appends it.
fn merge_condition(object: &mut Value, condition: &Value) {
    let Some(object) = object.as_object_mut() else { return };
    let status = object.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return };
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let present = list.iter_mut().find(|present| present.get("type") == condition.get("type"));
    match present.map(Value::as_object_mut) {
        Some(Some(present)) => {
            // A reason that is not given any more must not stay.
            present.remove("reason");
            present.remove("message");
            present.extend(
                condition.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())),
            );
        }
        Some(None) => {}
        None => list.push(condition.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target {
            resource: resource::Resource::PODS,
            namespace: Arc::from("d"),
            name: Arc::from(name),
            uid: Arc::from("u"),
            resource_version: 1,
        }
    }

    fn event(name: &str, reason: &'static str) -> Action {
        Action::Event {
            involved: target(name),
            involved_kind: "ReplicaSet",
            kind: EventKind::Normal,
            reason,
            message: String::new(),
            component: "test",
        }
    }

    #[test]
    fn an_event_goes_with_the_action_that_it_tells_of() {
        let create = |owner: &str| Action::Create {
            resource: resource::Resource::PODS,
            namespace: Arc::from("d"),
            object: json!({"metadata": {"ownerReferences": [{"controller": true, "uid": owner}]}}),
        };
        let delete = Action::Delete { target: target("a"), grace_seconds: None, propagation: None };
        let plan = Plan::new(vec![
            event("alone", "Alone"),
            create("one"),
            event("set", "SuccessfulCreate"),
            create("two"),
            create("one"),
            event("set", "SuccessfulCreate"),
            delete.clone(),
            event("set", "SuccessfulDelete"),
        ]);
        assert_eq!(
            plan.series,
            [
                vec![
                    vec![create("one"), event("set", "SuccessfulCreate")],
                    vec![create("one"), event("set", "SuccessfulCreate")],
                ],
                vec![vec![create("two")]],
            ]
        );
        let rest = vec![delete, event("set", "SuccessfulDelete")];
        assert_eq!(plan.groups, [vec![event("alone", "Alone")], rest]);
    }

    #[test]
    fn a_failure_is_told_as_one() {
        let told = failure(event("set", "SuccessfulCreate"), &Status::bad_request("no"));
        let Some(Action::Event { kind, reason, message, .. }) = told else {
            panic!("nothing is told");
        };
        assert_eq!((kind, reason), (EventKind::Warning, "FailedCreate"));
        assert_eq!(message, "Error creating: no");
        assert_eq!(failure(event("set", "Scaled"), &Status::bad_request("no")), None);
        let kind = "ReplicaFailure";
        let told =
            Action::ConditionIfFailed { target: target("set"), kind, reason: "FailedCreate" };
        let Some(Action::SetConditions { conditions, .. }) =
            failure(told, &Status::bad_request("no"))
        else {
            panic!("nothing is told");
        };
        assert_eq!((&*conditions[0].kind, conditions[0].message.as_deref()), (kind, Some("no")));
    }

    #[test]
    fn conditions_are_merged_by_type() {
        let mut object = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "Old", "lastHeartbeatTime": "x"},
            {"type": "Other", "status": "True"},
        ]}});
        merge_condition(&mut object, &json!({"type": "Ready", "status": "Unknown"}));
        merge_condition(&mut object, &json!({"type": "New", "status": "True"}));
        assert_eq!(
            object["status"]["conditions"],
            json!([
                {"type": "Ready", "status": "Unknown", "lastHeartbeatTime": "x"},
                {"type": "Other", "status": "True"},
                {"type": "New", "status": "True"},
            ])
        );
    }

    #[test]
    fn the_last_finalizer_takes_the_list_with_it() {
        let mut object = json!({"metadata": {"finalizers": ["a", "b"]}});
        remove_finalizer(&mut object, "metadata", "a");
        assert_eq!(object, json!({"metadata": {"finalizers": ["b"]}}));
        remove_finalizer(&mut object, "metadata", "b");
        assert_eq!(object, json!({"metadata": {}}));
    }

    #[test]
    fn an_empty_list_removes_its_field() {
        let mut node = json!({"spec": {"taints": [1]}});
        set(&mut node, "spec", "taints", &json!([]));
        assert_eq!(node, json!({"spec": {}}));
    }
}
