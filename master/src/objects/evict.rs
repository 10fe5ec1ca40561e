//! Evictions: deletions of pods that ask the disruption budgets first.

use bramble_api::selector::Selector;
use bramble_api::{Resource, Status, registry};
use bramble_store::Class;
use serde_json::{Value, json};

use super::{DeleteOptions, ListOptions, Objects, Part, WriteOptions, meta};

/// Seconds after which a refused eviction should be tried again, as upstream.
const RETRY_AFTER_S: u32 = 10;

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
        {
            self.spend(budgets, namespace, &budget, options.dry_run).await?;
        }
        self.delete(pods, namespace, name, options).await.map(|_| ())
    }

    /// Returns the name of the disruption budget that covers a pod.
    async fn budget_of(
        &self,
        budgets: &Resource,
        namespace: &str,
        pod: &Value,
    ) -> Result<Option<String>, Status> {
        let list = self.list(budgets, namespace, &ListOptions::default()).await?;
        let mut names = Vec::new();
        for budget in &list.items {
            let Some(selector) = budget.pointer("/spec/selector") else {
                continue;
            };
            // A selector that cannot be read was refused when the budget was written.
            if Selector::from_label_selector(selector).is_ok_and(|s| s.matches_object(pod)) {
                names.push(meta::text(budget, "name").to_owned());
            }
        }
        if names.len() > 1 {
            return Err(Status::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource \
                 does not support.",
            ));
        }
        Ok(names.pop())
    }

    /// Takes one disruption from a budget.
    async fn spend(
        &self,
        budgets: &Resource,
        namespace: &str,
        name: &str,
        dry_run: bool,
    ) -> Result<(), Status> {
        let options =
            WriteOptions { dry_run, class: Some(Class::Intent), ..WriteOptions::default() };
        let take = |budget: &mut Value| {
            let allowed =
                budget.pointer("/status/disruptionsAllowed").and_then(Value::as_i64).unwrap_or(0);
            if allowed <= 0 {
                return Err(Status::too_many_requests(
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    RETRY_AFTER_S,
                ));
            }
            if let Some(status) = meta::child(budget, "status") {
                status.insert("disruptionsAllowed".to_owned(), json!(allowed - 1));
            }
            Ok(())
        };
        self.modify(budgets, namespace, name, Part::Status, &options, &take).await.map(|_| ())
    }
}
