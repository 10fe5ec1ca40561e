//! Pods that found no node, and what wakes them.
//!
//! ```text
//!  pending --no node--> refused --something that could help changed--> tried again
//!     ^                    |  ^---- still no node: back-off grows ----------'
//!     '----- the pod itself changed, or five minutes passed ----
//! ```
//! Each refused pod remembers which plug-ins refused it; a change wakes it only if one of them says
//! that it could help. Knows no time but what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cluster::Cluster;
use super::plugins::FilterPlugin;
use crate::view::node::NodeView;
use crate::view::persistent_volume::ClaimView;
use crate::view::pod::PodView;
use crate::view::timestamp::Timestamp;

/// Tries before a woken pod has to wait: a change that helps is followed at once.
const TRIES_AT_ONCE: u32 = 3;
/// The first wait, in milliseconds; upstream's.
const BACK_OFF_MIN_MS: i64 = 1_000;
/// The longest wait, in milliseconds; upstream's.
const BACK_OFF_MAX_MS: i64 = 10_000;
/// After this a pod is tried whatever happened, in milliseconds, for what no plug-in thought of;
/// upstream's.
pub const UNSCHEDULABLE_MAX_MS: i64 = 300_000;

/// A change that could help a pod.
#[derive(Clone, Copy, Debug)]
pub enum ClusterEvent<'a> {
    /// A node came.
    NodeAdded(&'a NodeView),
    /// A node changed.
    NodeChanged {
        /// Before.
        old: &'a NodeView,
        /// After.
        new: &'a NodeView,
        /// Its index.
        index: usize,
    },
    /// A pod was placed that was not here before.
    PodPlaced(&'a PodView),
    /// A placed pod went away, or holds less than before.
    PodGone {
        /// The pod.
        pod: &'a PodView,
        /// The node that it was on, if that is still there.
        node: Option<usize>,
    },
    /// A claim changed, or a volume that nobody has, or a storage class.
    Volumes {
        /// The claim, if it was one.
        claim: Option<&'a ClaimView>,
    },
}

impl<'a> ClusterEvent<'a> {
    /// The node that came or changed.
    #[must_use]
    pub const fn node(&self) -> Option<&'a NodeView> {
        match self {
            Self::NodeAdded(node) | Self::NodeChanged { new: node, .. } => Some(node),
            Self::PodPlaced(_) | Self::PodGone { .. } | Self::Volumes { .. } => None,
        }
    }

    /// Whether some node has other labels than before.
    #[must_use]
    pub fn node_labels_changed(&self) -> bool {
        match self {
            Self::NodeAdded(_) => true,
            Self::NodeChanged { old, new, .. } => old.meta.labels != new.meta.labels,
            Self::PodPlaced(_) | Self::PodGone { .. } | Self::Volumes { .. } => false,
        }
    }
}

/// The plug-ins that refused a pod.
pub type Refusers = Vec<&'static dyn FilterPlugin>;

/// A pod that found no node.
#[derive(Clone, Debug)]
struct Refused {
    pod: Arc<PodView>,
    refusers: Refusers,
    tries: u32,
    tried_at: Timestamp,
    woken: bool,
}

impl Refused {
    /// When it may be tried again, as far as is known now.
    fn due(&self) -> Timestamp {
        if !self.woken {
            return Timestamp(self.tried_at.0.saturating_add(UNSCHEDULABLE_MAX_MS));
        }
        let waits = self.tries.saturating_sub(TRIES_AT_ONCE);
        let wait = match waits.checked_sub(1) {
            None => 0,
            Some(doublings) => (BACK_OFF_MIN_MS << doublings.min(8)).min(BACK_OFF_MAX_MS),
        };
        Timestamp(self.tried_at.0.saturating_add(wait))
    }
}

/// All refused pods, by uid.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    refused: BTreeMap<Arc<str>, Refused>,
}

impl Queue {
    /// Whether a pending pod is to be tried now.
    #[must_use]
    pub fn ready(&self, uid: &str, now: Timestamp) -> bool {
        self.refused.get(uid).is_none_or(|refused| refused.due() <= now)
    }

    /// Notes that a pod found no node.
    pub fn refuse(&mut self, pod: &Arc<PodView>, refusers: Refusers, now: Timestamp) {
        let uid = Arc::clone(&pod.meta.uid);
        let tries = self.refused.get(&uid).map_or(0, |refused| refused.tries).saturating_add(1);
        let pod = Arc::clone(pod);
        self.refused.insert(uid, Refused { pod, refusers, tries, tried_at: now, woken: false });
    }

    /// Forgets a pod, as it found a node or is gone.
    pub fn remove(&mut self, uid: &str) {
        self.refused.remove(uid);
    }

    /// Forgets pods that are not pending any more.
    pub fn retain(&mut self, pending: impl Fn(&str) -> bool) {
        self.refused.retain(|uid, _| pending(uid));
    }

    /// Takes in a new version of a pending pod: if what decides about its node has changed, it is
    /// as good as new.
    pub fn update(&mut self, pod: &Arc<PodView>) {
        let Some(refused) = self.refused.get_mut(&pod.meta.uid) else { return };
        if wants_the_same(&refused.pod, pod) {
            refused.pod = Arc::clone(pod);
        } else {
            self.refused.remove(&pod.meta.uid);
        }
    }

    /// Wakes the pods that a change could help.
    pub fn wake(&mut self, event: &ClusterEvent<'_>, cluster: &Cluster) {
        for refused in self.refused.values_mut().filter(|refused| !refused.woken) {
            let pod = &refused.pod;
            refused.woken =
                refused.refusers.iter().any(|plugin| plugin.helped_by(pod, event, cluster));
        }
    }

    /// Wakes one pod.
    pub fn wake_one(&mut self, uid: &str) {
        if let Some(refused) = self.refused.get_mut(uid) {
            refused.woken = true;
        }
    }

    /// Wakes all pods.
    pub fn wake_all(&mut self) {
        self.refused.values_mut().for_each(|refused| refused.woken = true);
    }

    /// When the next pod is to be tried although nothing changes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.refused.values().map(Refused::due).min()
    }
}

/// Whether two versions of a pod want the same of their node.
fn wants_the_same(old: &PodView, new: &PodView) -> bool {
    old.meta.labels == new.meta.labels
        && old.meta.annotations == new.meta.annotations
        && old.node_selector == new.node_selector
        && old.node_affinity == new.node_affinity
        && old.pod_affinity == new.pod_affinity
        && old.spread == new.spread
        && old.tolerations == new.tolerations
        && old.requests == new.requests
        && old.ports == new.ports
        && old.gated == new.gated
        && old.priority == new.priority
        && old.claims == new.claims
}
