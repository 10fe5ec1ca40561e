//! Prefers nodes that a pod wishes for.

use super::MAX;
use crate::scheduler::node_info::NodeInfo;
use crate::view::pod::PodView;

/// The sum of the weights of all wishes that the node fulfils.
#[must_use]
pub fn score(pod: &PodView, node: &NodeInfo) -> i64 {
    let Some(affinity) = &pod.node_affinity else { return 0 };
    let meta = &node.node.meta;
    let fulfilled =
        affinity.preferred.iter().filter(|wish| wish.preference.selects(&meta.labels, &meta.name));
    fulfilled.map(|wish| wish.weight.clamp(0, MAX)).sum()
}

/// Scales to the best of all candidates.
#[must_use]
pub const fn normalize(score: i64, best: i64) -> i64 {
    if best == 0 { 0 } else { score * MAX / best }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{normalize, score};
    use crate::scheduler::filter::check;

    #[test]
    fn fulfilled_wishes_add_up() {
        let wish = |key: &str, weight: i64| {
            let expression = json!({"key": key, "operator": "Exists"});
            json!({"weight": weight, "preference": {"matchExpressions": [expression]}})
        };
        let wishes = json!([wish("a", 10), wish("b", 5), wish("c", 1)]);
        let key = "preferredDuringSchedulingIgnoredDuringExecution";
        let pod = check::pod(json!({"spec": {"affinity": {"nodeAffinity": {key: wishes}}}}));
        let node = check::node(json!({"metadata": {"labels": {"a": "", "b": ""}}}));
        assert_eq!(score(&pod, &node), 15);
        assert_eq!((normalize(15, 30), normalize(0, 0)), (50, 0));
    }
}
