//! Rolling updates of daemon sets: old pods make room first, or new ones come beside them first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{OnNode, Run};
use crate::view::pod::PodView;

/// The pods of one node that matter to an update.
struct Pair<'a> {
    new: Option<&'a PodView>,
    old: Option<&'a PodView>,
}

/// Replaces pods of older revisions within the set's bounds.
pub(super) fn update(run: &mut Run<'_>, nodes: &BTreeMap<Arc<str>, OnNode<'_>>) {
    let pairs: Vec<(&Arc<str>, Pair<'_>)> = nodes
        .iter()
        .filter(|(_, node)| node.wanted)
        .map(|(name, node)| {
            let running = || node.pods.iter().filter(|pod| pod.active()).map(|pod| &***pod);
            let new = running().find(|pod| run.updated(pod));
            let old = running().find(|pod| !run.updated(pod));
            (name, Pair { new, old })
        })
        .collect();
    if run.surge() > 0 { surge(run, &pairs, nodes) } else { replace(run, &pairs) }
}

/// Deletes old pods; new ones come once they are gone.
fn replace(run: &mut Run<'_>, pairs: &[(&Arc<str>, Pair<'_>)]) {
    let mut left = run.max_unavailable();
    let mut healthy = Vec::new();
    let mut broken = Vec::new();
    for (_, pair) in pairs {
        match (pair.new, pair.old) {
            (Some(new), _) => left -= i32::from(!run.available(new)),
            (None, None) => left -= 1,
            (None, Some(old)) if run.available(old) => healthy.push(old),
            // It serves nobody, so nothing is lost with it.
            (None, Some(old)) => {
                left -= 1;
                broken.push(old);
            }
        }
    }
    let left = usize::try_from(left).unwrap_or_default();
    for pod in broken.into_iter().chain(healthy.into_iter().take(left)) {
        run.delete(pod);
    }
}

/// Creates new pods beside old ones, and deletes an old one when its successor is available.
fn surge(
    run: &mut Run<'_>,
    pairs: &[(&Arc<str>, Pair<'_>)],
    nodes: &BTreeMap<Arc<str>, OnNode<'_>>,
) {
    let mut left = run.surge();
    let mut healthy = Vec::new();
    let mut broken = Vec::new();
    for (name, pair) in pairs {
        match (pair.new, pair.old) {
            // The old one was deleted by the look at the node if the new one is available.
            (Some(new), Some(_)) => left -= i32::from(!run.available(new)),
            (_, None) => {}
            (None, Some(old)) if run.available(old) => healthy.push(*name),
            (None, Some(_)) => broken.push(*name),
        }
    }
    let left = usize::try_from(left).unwrap_or_default();
    for name in broken.into_iter().chain(healthy.into_iter().take(left)) {
        // One that is on its way out still holds its ports.
        let going = nodes.get(name).is_some_and(|it| it.pods.iter().any(|pod| pod.meta.deleting()));
        if !going {
            run.create(name, 0);
        }
    }
}
