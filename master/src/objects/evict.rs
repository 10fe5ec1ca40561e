//! Evictions: deletions of pods that ask the disruption budgets first.

use bramble_api::selector::Selector;
use bramble_api::{Resource, Status, registry};
use bramble_store::Class;
use serde_json::{Value, json};

use super::{DeleteOptions, ListOptions, Objects, Part, WriteOptions, meta};

/// Seconds after which a refused eviction should be tried again, as upstream.
const RETRY_AFTER_S: u32 = 10;

/// Evictions that a budget's controller has not confirmed yet, as upstream.
const DISRUPTED_MAX: usize = 2_000;
/// The cause by which clients tell that it was a budget that refused.
const CAUSE: &str = "DisruptionBudget";

impl Objects {
    pub(super) async fn evict_pod(
        &self,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let pods = Self::resource("", "pods");
        let pod = self.get(pods, namespace, name).await?;
        let phase = meta::text_at(&pod, "/status/phase");
        let disrupts =
            !meta::deleting(&pod) && !matches!(phase, "Pending" | "Succeeded" | "Failed");
        if disrupts
            && let Some(budgets) = registry::by_kind("policy", "PodDisruptionBudget")
            && let Some(budget) = self.budget_of(budgets, namespace, &pod).await?
            && !spares(&budget, &pod)
        {
            let budget = meta::text(&budget, "name").to_owned();
            self.spend(budgets, namespace, &budget, name, options.dry_run).await?;
        }
        self.mark(pods, &pod, options).await?;
        self.delete(pods, namespace, name, options).await.map(|_| ())
    }

    /// Says in the pod's status why it goes.
    async fn mark(
        &self,
        pods: &'static Resource,
        pod: &Value,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let uid = meta::text(pod, "uid");
        // What the deletion would refuse must not be said before it.
        let refused = options.uid.as_deref().is_some_and(|asked| asked != uid)
            || options.resource_version.is_some();
        if refused || meta::deleting(pod) {
            return Ok(());
        }
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": crate::clock::timestamp(),
        });
        let set = |pod: &mut Value| {
            let Some(status) = meta::child(pod, "status") else { return Ok(()) };
            let all = status.entry("conditions").or_insert_with(|| json!([]));
            if let Some(all) = all.as_array_mut() {
                all.retain(|present| present.get("type") != condition.get("type"));
                all.push(condition.clone());
            }
            Ok(())
        };
        let write = WriteOptions { dry_run: options.dry_run, ..WriteOptions::default() };
        let (namespace, name) = (meta::text(pod, "namespace"), meta::text(pod, "name"));
        self.modify(pods, namespace, name, Part::Status, &write, &set).await.map(|_| ())
    }

    /// Returns the disruption budget that covers a pod.
    async fn budget_of(
        &self,
        budgets: &Resource,
        namespace: &str,
        pod: &Value,
    ) -> Result<Option<Value>, Status> {
        let list = self.list(budgets, namespace, &ListOptions::default()).await?;
        let mut found = Vec::new();
        for budget in list.items {
            let Some(selector) = budget.pointer("/spec/selector") else {
                continue;
            };
            // A selector that cannot be read was refused when the budget was written.
            if Selector::from_label_selector(selector).is_ok_and(|s| s.matches_object(pod)) {
                found.push(budget);
            }
        }
        if found.len() > 1 {
            return Err(Status::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource \
                 does not support.",
            ));
        }
        Ok(found.pop())
    }

    /// Takes one disruption from a budget, for a pod that is expected to go.
    async fn spend(
        &self,
        budgets: &Resource,
        namespace: &str,
        name: &str,
        pod: &str,
        dry_run: bool,
    ) -> Result<(), Status> {
        let options =
            WriteOptions { dry_run, class: Some(Class::Intent), ..WriteOptions::default() };
        let now = crate::clock::timestamp();
        let take = |budget: &mut Value| take(budget, pod, &now);
        self.modify(budgets, namespace, name, Part::Status, &options, &take).await.map(|_| ())
    }
}

/// Whether a pod that is not ready may go without being counted.
fn spares(budget: &Value, pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let number = |field: &str| budget.pointer(field).and_then(Value::as_i64).unwrap_or(0);
    let (healthy, desired) = (number("/status/currentHealthy"), number("/status/desiredHealthy"));
    let always = meta::text_at(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    !ready && (always || desired > 0 && healthy >= desired)
}

/// Takes one disruption, or says why there is none.
fn take(budget: &mut Value, pod: &str, now: &str) -> Result<(), Status> {
    let name = meta::text(budget, "name").to_owned();
    let number = |field: &str| budget.pointer(field).and_then(Value::as_i64).unwrap_or(0);
    let refused = |why: String| {
        let words = "Cannot evict pod as it would violate the pod's disruption budget.";
        Status::too_many_requests(words, RETRY_AFTER_S).because(CAUSE, why)
    };
    let generation = meta::number(budget, "generation").unwrap_or(0);
    if number("/status/observedGeneration") < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(why));
    }
    let allowed = number("/status/disruptionsAllowed");
    if allowed <= 0 {
        let (desired, healthy) =
            (number("/status/desiredHealthy"), number("/status/currentHealthy"));
        return Err(refused(format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )));
    }
    let Some(status) = meta::child(budget, "status") else { return Ok(()) };
    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
    if disrupted.is_null() {
        *disrupted = json!({});
    }
    if let Some(disrupted) = disrupted.as_object_mut() {
        if disrupted.len() > DISRUPTED_MAX {
            return Err(Status::forbidden_message(
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            ));
        }
        disrupted.insert(pod.to_owned(), json!(now));
    }
    status.insert("disruptionsAllowed".to_owned(), json!(allowed - 1));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(generation: i64, allowed: i64) -> Value {
        json!({"metadata": {"name": "web", "generation": generation}, "status": {
            "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 3,
            "desiredHealthy": 2}})
    }

    #[test]
    fn a_disruption_is_taken_for_a_pod_by_name() {
        let mut present = budget(1, 1);
        take(&mut present, "a", "now").unwrap();
        assert_eq!(present["status"]["disruptionsAllowed"], 0);
        assert_eq!(present["status"]["disruptedPods"], json!({"a": "now"}));
    }

    #[test]
    fn clients_are_told_that_it_was_the_budget() {
        let check = |mut present: Value, why: &str| {
            let status = take(&mut present, "a", "now").unwrap_err().to_value();
            assert_eq!(status["code"], 429);
            let cause = &status["details"]["causes"][0];
            assert_eq!((&cause["reason"], &cause["message"]), (&json!(CAUSE), &json!(why)));
        };
        check(budget(1, 0), "The disruption budget web needs 2 healthy pods and has 3 currently");
        check(budget(2, 1), "The disruption budget web is still being processed by the server.");
    }

    #[test]
    fn a_pod_that_serves_nobody_may_go_when_the_others_are_enough() {
        let check = |policy: &str, healthy: i64, ready: &str, wanted: bool| {
            let budget = json!({"spec": {"unhealthyPodEvictionPolicy": policy},
                "status": {"currentHealthy": healthy, "desiredHealthy": 2}});
            let pod = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
            assert_eq!(spares(&budget, &pod), wanted, "{policy} {healthy} {ready}");
        };
        check("", 2, "False", true);
        check("", 1, "False", false);
        check("AlwaysAllow", 0, "False", true);
        check("AlwaysAllow", 2, "True", false);
    }
}
