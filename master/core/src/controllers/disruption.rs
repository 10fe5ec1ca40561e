//! Counts for each disruption budget how many of its pods may go now.
//!
//! Evictions take what is allowed from the status, each with the name of its pod; the pod is no
//! longer counted as healthy from then on, until it goes or was expected to go for too long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Outcome;
use super::owner::Owner;
use crate::action::EventKind;
use crate::snapshot::Snapshot;
use crate::view::meta::Meta;
use crate::view::pod::PodView;
use crate::view::pod_disruption_budget::BudgetView;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

/// How long an evicted pod is expected to go, as upstream.
const DELETION_MS: i64 = 2 * 60 * 1_000;
/// The condition that tells whether an eviction is allowed now.
const ALLOWED: &str = "DisruptionAllowed";

/// Counts for every budget.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for budget in snapshot.disruption_budgets().values() {
            outcome.merge(reconcile_one(snapshot, budget, now));
        }
    }
    outcome
}

/// As [`reconcile`], for one budget.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, now: Timestamp) -> Outcome {
    let budget = snapshot.disruption_budgets().get(key);
    budget.map(|budget| reconcile_one(snapshot, budget, now)).unwrap_or_default()
}

/// Whether a change of this resource may change what budgets expect.
pub(super) fn scales(resource: &Resource) -> bool {
    [
        Resource::DEPLOYMENTS,
        Resource::REPLICA_SETS,
        Resource::REPLICATION_CONTROLLERS,
        Resource::STATEFUL_SETS,
    ]
    .contains(resource)
}

fn owner(budget: &BudgetView) -> Owner<'_> {
    static RESOURCE: Resource = Resource::POD_DISRUPTION_BUDGETS;
    Owner {
        resource: &RESOURCE,
        api_version: "policy/v1",
        kind: "PodDisruptionBudget",
        component: "controllermanager",
        meta: &budget.meta,
    }
}

fn reconcile_one(snapshot: &Snapshot, budget: &BudgetView, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if budget.meta.deleting() {
        return outcome;
    }
    let owner = owner(budget);
    let pods = snapshot.pods_in(&budget.meta.namespace);
    let pods: Vec<&Arc<PodView>> = pods.filter(|pod| budget.covers(&pod.meta.labels)).collect();
    let mut told = Vec::new();
    if pods.is_empty() {
        told.push(owner.event(EventKind::Normal, "NoPods", "No matching pods found".to_owned()));
    }
    let disrupted = disrupted(budget, &pods, now, &mut outcome);
    let healthy = pods.iter().filter(|pod| {
        !pod.meta.deleting() && pod.ready() && !disrupted.contains_key(&pod.meta.name)
    });
    let healthy = i64::try_from(healthy.count()).unwrap_or(i64::MAX);
    let wanted = match expected(snapshot, budget, &pods) {
        Ok((expected, desired, unmanaged)) => {
            if unmanaged {
                let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged. \
                     As a result, the status of the PDB cannot be calculated correctly, which may \
                     result in undefined behavior. To account for these pods please set \
                     \".spec.minAvailable\" field of the PDB to an integer value.";
                told.push(owner.event(EventKind::Warning, "UnmanagedPods", message.to_owned()));
            }
            let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
            let condition = if allowed > 0 {
                ("True", "SufficientPods")
            } else {
                ("False", "InsufficientPods")
            };
            json!({
                "observedGeneration": budget.meta.generation,
                "disruptedPods": replaced(budget, &disrupted),
                "disruptionsAllowed": allowed,
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "expectedPods": expected,
                "conditions": conditions(budget, condition, "", budget.meta.generation, now),
            })
        }
        Err(why) => {
            let message = format!("Failed to calculate the number of expected pods: {why}");
            let reason = "CalculateExpectedPodCountFailed";
            told.push(owner.event(EventKind::Warning, reason, message));
            let observed = budget.status.reported.get("observedGeneration");
            let observed = observed.and_then(Value::as_i64).unwrap_or_default();
            // Who does not know lets nobody go.
            json!({
                "disruptionsAllowed": 0,
                "conditions": conditions(budget, ("False", "SyncFailed"), &why, observed, now),
            })
        }
    };
    if let Some(action) = owner.report(&budget.status.reported, wanted) {
        outcome.actions.push(action);
        outcome.actions.extend(told);
    }
    outcome
}

/// Pods whose eviction was counted, and which have not gone yet.
fn disrupted(
    budget: &BudgetView,
    pods: &[&Arc<PodView>],
    now: Timestamp,
    outcome: &mut Outcome,
) -> BTreeMap<Arc<str>, Timestamp> {
    let mut left = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.meta.deleting()) {
        let Some(since) = budget.status.disrupted_pods.get(&pod.meta.name) else { continue };
        let until = Timestamp(since.0.saturating_add(DELETION_MS));
        if until > now {
            outcome.wake_at(until);
            left.insert(Arc::clone(&pod.meta.name), *since);
        } else {
            let (namespace, name) = (&budget.meta.namespace, &budget.meta.name);
            let message =
                format!("Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't");
            let pod = Owner {
                resource: &Resource::PODS,
                api_version: "v1",
                kind: "Pod",
                component: "controllermanager",
                meta: &pod.meta,
            };
            outcome.actions.push(pod.event(EventKind::Warning, "NotDeleted", message));
        }
    }
    left
}

/// The map as a patch that takes away what is not in it.
fn replaced(budget: &BudgetView, disrupted: &BTreeMap<Arc<str>, Timestamp>) -> Value {
    let gone = budget.status.disrupted_pods.keys().map(|name| (name.to_string(), Value::Null));
    let mut patch: Map<String, Value> = gone.collect();
    patch.extend(disrupted.iter().map(|(name, at)| (name.to_string(), json!(at))));
    Value::Object(patch)
}

/// How many pods there should be, how many of them must be healthy, and whether some were left out
/// since nothing says how many there should be.
fn expected(
    snapshot: &Snapshot,
    budget: &BudgetView,
    pods: &[&Arc<PodView>],
) -> Result<(i64, i64, bool), String> {
    let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let spec = &budget.spec;
    if let Some(most) = &spec.max_unavailable {
        let (expected, unmanaged) = scale(snapshot, pods)?;
        let most = most.of(narrow(expected), true);
        return Ok((expected, (expected - i64::from(most)).max(0), unmanaged));
    }
    match &spec.min_available {
        Some(least) if least.percent() => {
            let (expected, unmanaged) = scale(snapshot, pods)?;
            Ok((expected, i64::from(least.of(narrow(expected), true)), unmanaged))
        }
        Some(least) => Ok((count, i64::from(least.of(narrow(count), true)), false)),
        None => Ok((count, 0, false)),
    }
}

fn narrow(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Adds up what the controllers of the pods want; each counts once.
fn scale(snapshot: &Snapshot, pods: &[&Arc<PodView>]) -> Result<(i64, bool), String> {
    let mut seen = BTreeSet::new();
    let (mut sum, mut unmanaged) = (0_i64, false);
    for pod in pods {
        let Some(reference) = pod.meta.controller() else {
            unmanaged = true;
            continue;
        };
        let id = snapshot.by_uid(&reference.uid);
        let found = id.and_then(|id| scaled_by(snapshot, id));
        let (uid, replicas) = match (found, id) {
            (Some(found), _) => found,
            (None, Some(id)) => {
                return Err(format!("{} does not implement the scale subresource", id.resource));
            }
            (None, None) => {
                return Err(format!("found no controllers for pod {:?}", pod.meta.name));
            }
        };
        if seen.insert(uid) {
            sum = sum.saturating_add(i64::from(replicas));
        }
    }
    Ok((sum, unmanaged))
}

/// What decides about the number of a controller's pods, and that number.
fn scaled_by(snapshot: &Snapshot, id: &ObjectId) -> Option<(Arc<str>, i32)> {
    let found = |meta: &Meta, replicas: i32| Some((Arc::clone(&meta.uid), replicas));
    if id.resource == Resource::REPLICA_SETS {
        let set = snapshot.replica_sets().get(&id.key)?;
        let above = set.meta.controller().and_then(|owner| snapshot.by_uid(&owner.uid));
        let above = above.filter(|above| above.resource == Resource::DEPLOYMENTS);
        return match above.and_then(|above| snapshot.deployments().get(&above.key)) {
            Some(deployment) => found(&deployment.meta, deployment.spec.replicas()),
            None => found(&set.meta, set.spec.replicas()),
        };
    }
    if id.resource == Resource::REPLICATION_CONTROLLERS {
        let controller = &snapshot.workloads().replication_controllers.get(&id.key)?.0;
        return found(&controller.meta, controller.spec.replicas());
    }
    let set = snapshot.workloads().stateful_sets.get(&id.key)?;
    (id.resource == Resource::STATEFUL_SETS)
        .then(|| found(&set.meta, set.spec.replicas.unwrap_or(1)))?
}

/// The conditions with this one among them; one that says the same stays as it is.
fn conditions(
    budget: &BudgetView,
    (status, reason): (&str, &str),
    message: &str,
    observed: i64,
    now: Timestamp,
) -> Value {
    let present = budget.status.reported.get("conditions").and_then(Value::as_array);
    let mut all: Vec<Value> = present.cloned().unwrap_or_default();
    let own = all.iter().position(|it| it.get("type").and_then(Value::as_str) == Some(ALLOWED));
    let text = |it: &Value, field: &str| {
        it.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let before = own.and_then(|own| all.get(own));
    let same_status = before.filter(|it| text(it, "status") == status);
    let since = same_status.and_then(|it| it.get("lastTransitionTime")).cloned();
    let same = same_status.is_some_and(|it| {
        text(it, "reason") == reason
            && text(it, "message") == message
            && it.get("observedGeneration").and_then(Value::as_i64).unwrap_or_default() == observed
    });
    if same {
        return Value::Array(all);
    }
    let condition = json!({
        "type": ALLOWED,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": observed,
        "lastTransitionTime": since.unwrap_or_else(|| json!(now)),
    });
    match own.and_then(|own| all.get_mut(own)) {
        Some(present) => *present = condition,
        None => all.push(condition),
    }
    Value::Array(all)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, NOW};
    use super::*;
    use crate::action::Action;

    const BUDGET: &str = "/policy/poddisruptionbudgets/d/web";

    fn run(snapshot: &Snapshot) -> Vec<Action> {
        reconcile(snapshot, NOW).actions
    }

    fn pod(model: &mut Model, name: &str, owner: Option<(&str, &str)>, ready: bool) {
        let key = format!("/core/pods/d/{name}");
        let owners = owner.map(|(kind, uid)| {
            json!({"apiVersion": "apps/v1", "kind": kind, "name": uid, "uid": uid, "controller": true})
        });
        let metadata = json!({"labels": {"app": "web"}, "ownerReferences": owners.as_slice()});
        model.put(&key, json!({"metadata": metadata, "spec": {"containers": []}}));
        if ready {
            model.make_ready(&key, "n1");
        }
    }

    fn budget(model: &mut Model, spec: Value) {
        let mut whole = json!({"selector": {"matchLabels": {"app": "web"}}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        model.put(BUDGET, json!({"metadata": {}, "spec": whole}));
        model.settle(run);
    }

    /// Allowed, healthy, desired and expected.
    fn counts(model: &Model) -> [i64; 4] {
        let status = model.get(BUDGET)["status"].clone();
        ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]
            .map(|field| status[field].as_i64().unwrap())
    }

    fn condition(model: &Model) -> (String, String) {
        let condition = model.get(BUDGET)["status"]["conditions"][0].clone();
        let text = |field: &str| condition[field].as_str().unwrap().to_owned();
        (text("reason"), text("message"))
    }

    fn with_set(replicas: i32, ready: usize) -> Model {
        let mut model = Model::new();
        let set = json!({"metadata": {"uid": "set"}, "spec": {"replicas": replicas}});
        model.put("/apps/replicasets/d/web", set);
        for number in 0..usize::try_from(replicas).unwrap() {
            pod(&mut model, &format!("p{number}"), Some(("ReplicaSet", "set")), number < ready);
        }
        model
    }

    #[test]
    fn numbers_and_parts_of_what_controllers_want() {
        let check = |spec: Value, ready: usize, wanted: [i64; 4]| {
            let mut model = with_set(10, ready);
            budget(&mut model, spec);
            assert_eq!(counts(&model), wanted);
            assert_eq!(model.get(BUDGET)["status"]["observedGeneration"], 1);
        };
        check(json!({"minAvailable": 8}), 10, [2, 10, 8, 10]);
        check(json!({"minAvailable": 8}), 8, [0, 8, 8, 10]);
        check(json!({"minAvailable": "81%"}), 10, [1, 10, 9, 10]);
        check(json!({"maxUnavailable": 3}), 9, [2, 9, 7, 10]);
        check(json!({"maxUnavailable": "25%"}), 10, [3, 10, 7, 10]);
        check(json!({"maxUnavailable": 20}), 5, [5, 5, 0, 10]);
    }

    #[test]
    fn deployment_decides_for_its_sets() {
        let mut model = with_set(2, 2);
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
            "uid": "dep", "controller": true}]);
        model.merge("/apps/replicasets/d/web", &json!({"metadata": {"ownerReferences": owner}}));
        let deployment = json!({"metadata": {"uid": "dep"}, "spec": {"replicas": 4}});
        model.put("/apps/deployments/d/web", deployment);
        budget(&mut model, json!({"maxUnavailable": 2}));
        assert_eq!(counts(&model), [0, 2, 2, 4]);
        assert_eq!(condition(&model).0, "InsufficientPods");
    }

    #[test]
    fn evicted_pod_counts_no_more_until_it_was_expected_to_go_for_too_long() {
        let mut model = with_set(3, 3);
        budget(&mut model, json!({"minAvailable": 1}));
        assert_eq!(condition(&model).0, "SufficientPods");
        model.merge(BUDGET, &json!({"status": {"disruptedPods": {"p0": NOW, "gone": NOW}}}));
        model.settle(run);
        assert_eq!(counts(&model), [1, 2, 1, 3]);
        assert_eq!(model.get(BUDGET)["status"]["disruptedPods"], json!({"p0": NOW}));
        let due = Timestamp(NOW.0 + DELETION_MS);
        assert_eq!(reconcile(model.snapshot(), NOW).next_deadline, Some(due));
        model.settle(|snapshot| reconcile(snapshot, due).actions);
        assert_eq!(counts(&model), [2, 3, 1, 3]);
        let told = "NotDeleted: Pod was expected by PDB d/web to be deleted but it wasn't";
        assert!(model.events.contains(&told.to_owned()), "{:?}", model.events);
    }

    #[test]
    fn who_cannot_count_lets_nobody_go() {
        let mut model = Model::new();
        model.put("/batch/jobs/d/sum", json!({"metadata": {"uid": "job"}, "spec": {}}));
        pod(&mut model, "a", Some(("Job", "job")), true);
        budget(&mut model, json!({"maxUnavailable": 1}));
        assert_eq!(model.get(BUDGET)["status"]["disruptionsAllowed"], 0);
        let why = "jobs.batch does not implement the scale subresource".to_owned();
        assert_eq!(condition(&model), ("SyncFailed".to_owned(), why));
        // A number needs nobody's scale.
        budget(&mut model, json!({"minAvailable": 0}));
        assert_eq!(counts(&model), [1, 1, 0, 1]);
        // Pods of nobody are left out of what is expected.
        let mut model = Model::new();
        pod(&mut model, "a", None, true);
        budget(&mut model, json!({"maxUnavailable": 1}));
        assert_eq!(counts(&model), [0, 1, 0, 0]);
        assert!(model.events.iter().any(|event| event.starts_with("UnmanagedPods")));
    }

    #[test]
    fn selectors_that_are_missing_and_empty_mean_none_and_all() {
        let mut model = with_set(2, 2);
        model.put(BUDGET, json!({"metadata": {}, "spec": {"minAvailable": 1}}));
        model.settle(run);
        assert_eq!(counts(&model), [0, 0, 1, 0]);
        assert_eq!(model.events, ["NoPods: No matching pods found"]);
        budget(&mut model, json!({"minAvailable": 1, "selector": {}}));
        assert_eq!(counts(&model), [1, 2, 1, 2]);
    }

    #[test]
    fn conditions_of_others_stay() {
        let mut model = with_set(2, 2);
        budget(&mut model, json!({"minAvailable": 1}));
        let mut all = model.get(BUDGET)["status"]["conditions"].clone();
        all.as_array_mut().unwrap().insert(0, json!({"type": "Mine", "status": "True"}));
        model.merge(BUDGET, &json!({"status": {"conditions": all}}));
        budget(&mut model, json!({"minAvailable": 2}));
        let conditions = model.get(BUDGET)["status"]["conditions"].clone();
        assert_eq!(conditions[0]["type"], "Mine");
        assert_eq!(conditions[1]["reason"], "InsufficientPods");
    }
}
