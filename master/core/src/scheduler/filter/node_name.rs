//! Keeps a pod that names a node from every other node.

use super::{Reasons, refuse};
use crate::scheduler::node_info::NodeInfo;
use crate::view::pod::PodView;

/// Refuses every node but the named one.
///
/// # Errors
///
/// Returns the reason of the refusal.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    match &pod.node_name {
        Some(name) if *name != node.node.meta.name => {
            refuse("node(s) didn't match the requested node name")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::filter;

    #[test]
    fn only_the_named_node_is_accepted() {
        let pod = || json!({"spec": {"nodeName": "a"}});
        check(filter, pod(), json!({"metadata": {"name": "a"}}), None);
        let reason = "node(s) didn't match the requested node name";
        check(filter, pod(), json!({"metadata": {"name": "b"}}), Some(reason));
        check(filter, json!({}), json!({"metadata": {"name": "b"}}), None);
    }
}
