//! Prefers nodes that have the images of a pod already.
//!
//! An image that few nodes have counts less, lest they get all pods.

use super::{Context, MAX, Score, ScorePlugin};
use crate::scheduler::node_info::NodeInfo;
use crate::view::pod::PodView;

/// Images below this size are pulled soon enough: upstream's bound.
const SIZE_MIN: i64 = 23 << 20;
/// Size per container from which on a node cannot score more: upstream's bound.
const SIZE_MAX: i64 = 1000 << 20;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct ImageLocality;

/// Each image's whole name, and the nodes that have it.
#[derive(Debug)]
struct Wanted {
    images: Vec<(String, i64)>,
    nodes: i64,
}

impl ScorePlugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodView,
        context: &Context<'a>,
        _: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        let present = |image: &std::sync::Arc<str>| {
            let name = with_tag(image);
            let nodes = i64::try_from(context.cluster.nodes_with_image(&name)).unwrap_or(0);
            (name, nodes)
        };
        let images: Vec<_> = pod.images.iter().map(present).collect();
        if images.iter().all(|(_, nodes)| *nodes == 0) {
            return None;
        }
        let nodes = i64::try_from(context.cluster.nodes().len()).unwrap_or(i64::MAX);
        Some(Box::new(Wanted { images, nodes }))
    }
}

impl Score for Wanted {
    fn score(&self, _: usize, node: &NodeInfo) -> i64 {
        let here = |name: &str| node.node.images.iter().find(|(image, _)| **image == *name);
        let sizes = self.images.iter().filter_map(|(name, nodes)| {
            let (_, size) = here(name)?;
            Some(size.saturating_mul(*nodes) / self.nodes.max(1))
        });
        let sum = sizes.fold(0_i64, i64::saturating_add);
        let most = SIZE_MAX.saturating_mul(i64::try_from(self.images.len()).unwrap_or(1));
        (sum.clamp(SIZE_MIN, most) - SIZE_MIN).saturating_mul(MAX) / (most - SIZE_MIN).max(1)
    }
}

/// A name without tag or digest means the newest.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Context;
    use super::*;
    use crate::scheduler::cluster::{Cluster, Terms};
    use crate::snapshot::Snapshot;

    #[test]
    fn a_node_with_the_image_scores_by_its_size_and_spread() {
        let mut snapshot = Snapshot::new();
        let mut put = |name: &str, images: Value| {
            let node = json!({"metadata": {"name": name}, "status": {"images": images}});
            let bytes = serde_json::to_vec(&node).unwrap();
            snapshot.apply(&format!("/core/nodes/_/{name}"), Some(&bytes), 1).unwrap();
        };
        let size = SIZE_MAX + SIZE_MIN;
        put("a", json!([{"names": ["reg/web:latest", "reg/web@sha256:1"], "sizeBytes": size}]));
        put("b", json!([]));
        let cluster = Cluster::new(&snapshot);
        let terms = Terms::default();
        let context = Context { cluster: &cluster, snapshot: &snapshot, terms: &terms };
        let pod: PodView =
            serde_json::from_value(json!({"spec": {"containers": [{"image": "reg/web"}]}}))
                .unwrap();
        let score = ImageLocality.prepare(&pod, &context, &[0, 1]).unwrap();
        let of = |index: usize| score.score(index, cluster.node(index).unwrap());
        // Half of the nodes have it, so half of its size counts.
        let wanted = (size / 2 - SIZE_MIN) * 100 / (SIZE_MAX - SIZE_MIN);
        assert_eq!((of(0), of(1)), (wanted, 0));
    }
}
