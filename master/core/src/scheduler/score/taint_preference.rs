//! Avoids nodes with `PreferNoSchedule` taints that a pod does not tolerate.

use super::MAX;
use crate::scheduler::node_info::NodeInfo;
use crate::view::node::Effect;
use crate::view::pod::PodView;

/// The number of such taints.
#[must_use]
pub fn count(pod: &PodView, node: &NodeInfo) -> i64 {
    if !node.has_soft_taints {
        return 0;
    }
    let soft = node.node.taints.iter().filter(|taint| taint.effect == Effect::PreferNoSchedule);
    let disliked =
        soft.filter(|taint| !pod.tolerations.iter().any(|toleration| toleration.tolerates(taint)));
    i64::try_from(disliked.count()).unwrap_or(i64::MAX / MAX)
}

/// Fewer is better.
#[must_use]
pub const fn normalize(count: i64, most: i64) -> i64 {
    if most == 0 { MAX } else { MAX - count * MAX / most }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{count, normalize};
    use crate::scheduler::filter::check;

    #[test]
    fn a_node_with_more_such_taints_scores_lower() {
        let taint = json!({"key": "a", "effect": "PreferNoSchedule"});
        let node = check::node(json!({"spec": {"taints": [taint]}}));
        assert_eq!(count(&check::pod(json!({})), &node), 1);
        let tolerations = json!([{"key": "a", "operator": "Exists"}]);
        assert_eq!(count(&check::pod(json!({"spec": {"tolerations": tolerations}})), &node), 0);
        assert_eq!((normalize(1, 1), normalize(0, 1), normalize(0, 0)), (0, 100, 100));
    }
}
