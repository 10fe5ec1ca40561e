//! Keeps pods from nodes whose taints they do not tolerate.

use super::{Reasons, refuse};
use crate::scheduler::node_info::NodeInfo;
use crate::view::node::Effect;
use crate::view::pod::PodView;

/// Refuses a node with an untolerated `NoSchedule` or `NoExecute` taint.
///
/// # Errors
///
/// Returns the reason of the refusal.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    if !node.has_hard_taints {
        return Ok(());
    }
    let hard = node.node.taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule);
    for taint in hard {
        if !pod.tolerations.iter().any(|toleration| toleration.tolerates(taint)) {
            return refuse("node(s) had untolerated taint(s)");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::filter;

    #[test]
    fn every_hard_taint_must_be_tolerated() {
        let node =
            |effect| json!({"spec": {"taints": [{"key": "a", "value": "1", "effect": effect}]}});
        let reason = Some("node(s) had untolerated taint(s)");
        check(filter, json!({}), node("NoSchedule"), reason);
        check(filter, json!({}), node("NoExecute"), reason);
        check(filter, json!({}), node("PreferNoSchedule"), None);
        let pod = |effect| {
            let toleration =
                json!({"key": "a", "operator": "Equal", "value": "1", "effect": effect});
            json!({"spec": {"tolerations": [toleration]}})
        };
        check(filter, pod("NoSchedule"), node("NoSchedule"), None);
        check(filter, pod("NoSchedule"), node("NoExecute"), reason);
        check(filter, pod(""), node("NoExecute"), None);
    }
}
