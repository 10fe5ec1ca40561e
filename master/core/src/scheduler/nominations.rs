//! Pods for which room is being made, and where: others reckon with them there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::view::pod::PodView;

/// All nominations.
#[derive(Clone, Debug, Default)]
pub struct Nominations {
    nodes: BTreeMap<Arc<str>, Arc<str>>,
    by_node: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<PodView>>>,
}

impl Nominations {
    /// The node that is being made ready for a pod.
    #[must_use]
    pub fn node_of(&self, uid: &str) -> Option<&Arc<str>> {
        self.nodes.get(uid)
    }

    /// Notes that a node is being made ready for a pod.
    pub fn add(&mut self, pod: &Arc<PodView>, node: &Arc<str>) {
        let uid = Arc::clone(&pod.meta.uid);
        self.remove(&uid);
        self.nodes.insert(Arc::clone(&uid), Arc::clone(node));
        self.by_node.entry(Arc::clone(node)).or_default().insert(uid, Arc::clone(pod));
    }

    /// Forgets a pod.
    pub fn remove(&mut self, uid: &str) {
        let Some(node) = self.nodes.remove(uid) else { return };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.remove(uid);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }

    /// Forgets pods that are not pending any more.
    pub fn retain(&mut self, pending: impl Fn(&str) -> bool) {
        let gone: Vec<_> = self.nodes.keys().filter(|uid| !pending(uid)).cloned().collect();
        gone.iter().for_each(|uid| self.remove(uid));
    }

    /// The pods that a pod has to reckon with on a node: those that matter at least as much.
    #[must_use]
    pub fn ahead_of(&self, pod: &PodView, node: &str) -> Vec<Arc<PodView>> {
        let pods = self.by_node.get(node).into_iter().flat_map(BTreeMap::values);
        pods.filter(|it| it.priority >= pod.priority && it.meta.uid != pod.meta.uid)
            .cloned()
            .collect()
    }

    /// The pods that lose their claim on a node to a more important one.
    #[must_use]
    pub fn behind(&self, pod: &PodView, node: &str) -> Vec<Arc<PodView>> {
        let pods = self.by_node.get(node).into_iter().flat_map(BTreeMap::values);
        pods.filter(|it| it.priority < pod.priority).cloned().collect()
    }
}
