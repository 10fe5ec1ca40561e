//! Keeps pods from boards that their images were not built for.
//!
//! The platforms of an image are known to whoever resolved it, who writes them into an annotation;
//! a pod without it may go anywhere, and the agent reports a wrong image itself.

use super::{Reasons, refuse};
use crate::scheduler::node_info::NodeInfo;
use crate::view::pod::PodView;

/// Architectures that all images of a pod exist for, as a comma-separated list in Go's names.
pub const ARCHITECTURES: &str = "bramble.io/architectures";
const NODE_LABEL: &str = "kubernetes.io/arch";

/// Refuses a node of an architecture that is not listed.
///
/// # Errors
///
/// Returns the reason of the refusal.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    let Some(listed) = pod.meta.annotations.get(ARCHITECTURES) else { return Ok(()) };
    let Some(architecture) = node.node.meta.labels.get(NODE_LABEL) else { return Ok(()) };
    if listed.split(',').any(|listed| listed.trim() == architecture) {
        return Ok(());
    }
    refuse("node(s) didn't match the architectures of the Pod's images")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::filter;

    #[test]
    fn a_board_of_another_architecture_is_refused() {
        let pod =
            || json!({"metadata": {"annotations": {"bramble.io/architectures": "amd64, arm64"}}});
        let node =
            |architecture| json!({"metadata": {"labels": {"kubernetes.io/arch": architecture}}});
        check(filter, pod(), node("arm64"), None);
        check(filter, json!({}), node("arm"), None);
        let reason = "node(s) didn't match the architectures of the Pod's images";
        check(filter, pod(), node("arm"), Some(reason));
    }
}
