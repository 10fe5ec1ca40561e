//! Scores: which of the nodes that may run a pod is best?
//!
//! Each gives 0 to [`MAX`]; weights are upstream's.

use super::node_info::NodeInfo;
use crate::view::pod::PodView;

pub mod balanced_allocation;
pub mod least_allocated;
pub mod preferred_affinity;
pub mod spread;
pub mod taint_preference;

/// The best score of one plug-in.
pub const MAX: i64 = 100;

/// What a node has going for it before scores are made comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawScore {
    least_allocated: i64,
    balanced_allocation: i64,
    preferred_affinity: i64,
    disliked_taints: i64,
    owned_pods: i64,
}

/// Scores one node; `owned_pods` counts its pods of the same owner.
#[must_use]
pub fn score(pod: &PodView, node: &NodeInfo, owned_pods: i64) -> RawScore {
    RawScore {
        least_allocated: least_allocated::score(pod, node),
        balanced_allocation: balanced_allocation::score(pod, node),
        preferred_affinity: preferred_affinity::score(pod, node),
        disliked_taints: taint_preference::count(pod, node),
        owned_pods,
    }
}

/// The largest values over all candidates, to which the others are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scale {
    preferred_affinity: i64,
    disliked_taints: i64,
    owned_pods: i64,
}

impl Scale {
    /// Takes one candidate into account.
    pub fn include(&mut self, raw: &RawScore) {
        self.preferred_affinity = self.preferred_affinity.max(raw.preferred_affinity);
        self.disliked_taints = self.disliked_taints.max(raw.disliked_taints);
        self.owned_pods = self.owned_pods.max(raw.owned_pods);
    }

    /// The weighted sum for one candidate.
    #[must_use]
    pub const fn total(&self, raw: &RawScore) -> i64 {
        raw.least_allocated
            + raw.balanced_allocation
            + 2 * preferred_affinity::normalize(raw.preferred_affinity, self.preferred_affinity)
            + 3 * taint_preference::normalize(raw.disliked_taints, self.disliked_taints)
            + 2 * spread::normalize(raw.owned_pods, self.owned_pods)
    }
}
