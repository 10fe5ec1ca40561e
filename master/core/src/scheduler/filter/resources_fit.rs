//! Keeps a node from being over-committed.

use std::borrow::Cow;

use super::Reasons;
use crate::scheduler::node_info::NodeInfo;
use crate::view::pod::PodView;

/// Refuses a node on which any requested resource is short. A resource that is not requested is
/// never short, even on a node that is over-committed already.
///
/// # Errors
///
/// Returns every resource that is short.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    let wanted = &pod.requests;
    let used = &node.requested;
    let total = &node.node.allocatable;
    let short =
        |wanted: i64, used: i64, total: i64| wanted > 0 && wanted > total.saturating_sub(used);
    let mut reasons = Vec::new();
    if used.pods + 1 > total.pods {
        reasons.push(Cow::Borrowed("Too many pods"));
    }
    if short(wanted.cpu_milli, used.cpu_milli, total.cpu_milli) {
        reasons.push(Cow::Borrowed("Insufficient cpu"));
    }
    if short(wanted.memory, used.memory, total.memory) {
        reasons.push(Cow::Borrowed("Insufficient memory"));
    }
    if short(wanted.ephemeral_storage, used.ephemeral_storage, total.ephemeral_storage) {
        reasons.push(Cow::Borrowed("Insufficient ephemeral-storage"));
    }
    for (name, amount) in &wanted.extended {
        let of = |resources: &crate::view::quantity::Resources| {
            resources.extended.get(name).copied().unwrap_or_default()
        };
        if short(*amount, of(used), of(total)) {
            reasons.push(Cow::Owned(format!("Insufficient {name}")));
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::check;
    use super::filter;

    fn pod(requests: Value) -> crate::view::pod::PodView {
        check::pod(json!({"spec": {"containers": [{"resources": {"requests": requests}}]}}))
    }

    #[test]
    fn what_pods_hold_already_is_not_given_twice() {
        let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "2", "example.com/led": "1"});
        let mut node = check::node(json!({"status": {"allocatable": allocatable}}));
        let half = pod(json!({"cpu": "600m", "memory": "512Mi", "example.com/led": "1"}));
        assert_eq!(filter(&half, &node), Ok(()));
        node.add(&half);
        let reasons = filter(&half, &node).unwrap_err();
        assert_eq!(reasons, ["Insufficient cpu", "Insufficient example.com/led"]);
        assert_eq!(filter(&pod(json!({"cpu": "400m", "memory": "512Mi"})), &node), Ok(()));
        node.add(&pod(json!({})));
        assert_eq!(filter(&pod(json!({})), &node).unwrap_err(), ["Too many pods"]);
    }
}
