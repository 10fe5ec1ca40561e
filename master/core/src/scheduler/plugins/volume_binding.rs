//! Keeps a pod to nodes that can reach its volumes, or where they can be had.
//!
//! A claim of a class that waits for its first pod gets the chosen node written down; the pod is
//! bound once the claim has its volume there.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::{Context, Filter, FilterPlugin, Prepared, Refusal};
use crate::action::{Action, Target};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::snapshot::Snapshot;
use crate::view::persistent_volume::{ClaimView, ClassView, SELECTED_NODE, VolumeView};
use crate::view::pod::PodView;
use crate::view::resource::{ObjectKey, Resource};

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct VolumeBinding;

#[derive(Debug)]
struct Wanted<'a> {
    snapshot: &'a Snapshot,
    bound: Vec<&'a VolumeView>,
    waiting: Vec<&'a ClaimView>,
}

fn refuse(reason: String) -> Prepared<'static> {
    Prepared::Refuse(Refusal { reasons: vec![Cow::Owned(reason)], resolvable: false })
}

/// A claim of a pod's.
fn claim<'a>(snapshot: &'a Snapshot, pod: &PodView, name: &str) -> Option<&'a ClaimView> {
    let key = ObjectKey::new(&pod.meta.namespace, name);
    snapshot.storage().claims.get(&key).map(|claim| &**claim)
}

fn class<'a>(snapshot: &'a Snapshot, claim: &ClaimView) -> Option<&'a ClassView> {
    let class = snapshot.storage().classes.get(&ObjectKey::new("", claim.class()));
    class.map(|class| &**class)
}

/// The claims of a pod that have no volume yet.
fn unbound<'a>(snapshot: &'a Snapshot, pod: &'a PodView) -> impl Iterator<Item = &'a ClaimView> {
    let claims = pod.claims.iter().filter_map(|name| claim(snapshot, pod, name));
    claims.filter(|claim| !claim.bound())
}

/// What has to be done before a pod can be bound to the node that was found for it; `None` if it can
/// be bound at once.
#[must_use]
pub fn prepare_claims(snapshot: &Snapshot, pod: &PodView, node: &str) -> Option<Vec<Action>> {
    let mut unbound = unbound(snapshot, pod).peekable();
    unbound.peek()?;
    let undecided = unbound.filter(|claim| claim.selected_node().is_none());
    let select = |claim: &ClaimView| Action::Update {
        target: Target::of(&Resource::PERSISTENT_VOLUME_CLAIMS, &claim.meta),
        patch: json!({"metadata": {"annotations": {SELECTED_NODE: node}}}),
    };
    Some(undecided.map(select).collect())
}

impl FilterPlugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn prepare<'a>(&self, pod: &'a PodView, context: &Context<'a>) -> Prepared<'a> {
        if pod.claims.is_empty() {
            return Prepared::Skip;
        }
        let snapshot = context.snapshot;
        let mut wanted = Wanted { snapshot, bound: Vec::new(), waiting: Vec::new() };
        for name in &pod.claims {
            let Some(claim) = claim(snapshot, pod, name) else {
                return refuse(format!("persistentvolumeclaim \"{name}\" not found"));
            };
            if claim.meta.deleting() {
                return refuse(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            if &*claim.status.phase == "Lost" {
                let volume = &claim.spec.volume_name;
                return refuse(format!(
                    "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
                ));
            }
            let volume = ObjectKey::new("", &claim.spec.volume_name);
            if claim.bound() {
                let Some(volume) = snapshot.storage().volumes.get(&volume) else {
                    return refuse(format!("persistentvolume \"{}\" not found", volume.name));
                };
                wanted.bound.push(volume);
            } else if claim.spec.volume_name.is_empty()
                && class(snapshot, claim).is_some_and(ClassView::waits)
            {
                wanted.waiting.push(claim);
            } else {
                return refuse("pod has unbound immediate PersistentVolumeClaims".to_owned());
            }
        }
        Prepared::Ask(Box::new(wanted))
    }

    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeChanged { .. } => event.node_labels_changed(),
            // One that is still without a volume has nothing new for those who wait for that.
            ClusterEvent::Volumes { claim: Some(claim) } => {
                let own = claim.meta.namespace == pod.meta.namespace
                    && pod.claims.contains(&claim.meta.name);
                own && (claim.bound() || claim.selected_node().is_none())
            }
            ClusterEvent::Volumes { claim: None } => true,
            ClusterEvent::PodPlaced(_) | ClusterEvent::PodGone { .. } => false,
        }
    }
}

impl Filter for Wanted<'_> {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        let node = &node.node.meta;
        if !self.bound.iter().all(|volume| volume.reachable_from(node)) {
            return Err(Refusal::lasting("node(s) didn't match PersistentVolume's node affinity"));
        }
        let can_be_had = |claim: &&ClaimView| match claim.selected_node() {
            Some(selected) => *selected == *node.name,
            None => self.provided(claim) || self.available(claim, node),
        };
        if self.waiting.iter().all(can_be_had) {
            return Ok(());
        }
        Err(Refusal::lasting("node(s) didn't find available persistent volumes to bind"))
    }
}

impl Wanted<'_> {
    fn provided(&self, claim: &ClaimView) -> bool {
        class(self.snapshot, claim).is_some_and(ClassView::provisions)
    }

    fn available(&self, claim: &ClaimView, node: &crate::view::meta::Meta) -> bool {
        let mut volumes = self.snapshot.storage().volumes.values().map(Arc::as_ref);
        volumes.any(|volume: &VolumeView| {
            (volume.satisfies(claim) || volume.is_for(claim)) && volume.reachable_from(node)
        })
    }
}
