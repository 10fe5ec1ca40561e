//! Keeps pods from boards that their images were not built for.
//!
//! The platforms of an image are known to whoever resolved it, who writes them into an annotation;
//! a pod without it may go anywhere, and the agent reports a wrong image itself.

use super::{Context, Filter, FilterPlugin, Prepared, Refusal};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::view::pod::PodView;

/// Architectures that all images of a pod exist for, as a comma-separated list in Go's names.
pub const ARCHITECTURES: &str = "bramble.io/architectures";
const NODE_LABEL: &str = "kubernetes.io/arch";

/// The plug-in; upstream has none like it.
#[derive(Clone, Copy, Debug)]
pub struct Architecture;

#[derive(Debug)]
struct Listed<'a>(&'a str);

impl FilterPlugin for Architecture {
    fn name(&self) -> &'static str {
        "Architecture"
    }

    fn prepare<'a>(&self, pod: &'a PodView, _: &Context<'a>) -> Prepared<'a> {
        match pod.meta.annotations.get(ARCHITECTURES) {
            Some(listed) => Prepared::Ask(Box::new(Listed(listed))),
            None => Prepared::Skip,
        }
    }

    fn helped_by(&self, _: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        event.node_labels_changed()
    }
}

impl Filter for Listed<'_> {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        let Some(architecture) = node.node.meta.labels.get(NODE_LABEL) else { return Ok(()) };
        if self.0.split(',').any(|listed| listed.trim() == architecture) {
            return Ok(());
        }
        Err(Refusal::lasting("node(s) didn't match the architectures of the Pod's images"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::Architecture;

    #[test]
    fn a_board_of_another_architecture_is_refused() {
        let pod =
            || json!({"metadata": {"annotations": {"bramble.io/architectures": "amd64, arm64"}}});
        let node =
            |architecture| json!({"metadata": {"labels": {"kubernetes.io/arch": architecture}}});
        check(&Architecture, pod(), node("arm64"), None);
        check(&Architecture, json!({}), node("arm"), None);
        let reason = "node(s) didn't match the architectures of the Pod's images";
        check(&Architecture, pod(), node("arm"), Some(reason));
    }
}
