//! Keeps pods from nodes whose taints they do not tolerate, and rather from those with
//! `PreferNoSchedule` taints.

use super::{
    Context, Filter, FilterPlugin, Prepared, Refusal, Score, ScorePlugin, normalize_to_best,
};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::view::node::{Effect, NodeView};
use crate::view::pod::PodView;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct TaintToleration;

#[derive(Debug)]
struct Of<'a>(&'a PodView);

/// Whether a pod tolerates all taints of a node that keep pods away.
#[must_use]
pub fn tolerated(pod: &PodView, node: &NodeView) -> bool {
    let mut hard = node.taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule);
    hard.all(|taint| pod.tolerations.iter().any(|toleration| toleration.tolerates(taint)))
}

impl FilterPlugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn prepare<'a>(&self, pod: &'a PodView, _: &Context<'a>) -> Prepared<'a> {
        Prepared::Ask(Box::new(Of(pod)))
    }

    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => tolerated(pod, node),
            ClusterEvent::NodeChanged { old, new, .. } => {
                old.taints != new.taints && tolerated(pod, new)
            }
            ClusterEvent::PodPlaced(_)
            | ClusterEvent::PodGone { .. }
            | ClusterEvent::Volumes { .. } => false,
        }
    }
}

impl Filter for Of<'_> {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        if !node.has_hard_taints || tolerated(self.0, &node.node) {
            return Ok(());
        }
        Err(Refusal::lasting("node(s) had untolerated taint(s)"))
    }
}

impl ScorePlugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn weight(&self) -> i64 {
        3
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodView,
        context: &Context<'a>,
        candidates: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        let soft =
            |index: &usize| context.cluster.node(*index).is_none_or(|node| node.has_soft_taints);
        candidates.iter().any(soft).then(|| Box::new(Of(pod)) as Box<dyn Score>)
    }
}

impl Score for Of<'_> {
    /// The number of soft taints that are not tolerated.
    fn score(&self, _: usize, node: &NodeInfo) -> i64 {
        if !node.has_soft_taints {
            return 0;
        }
        let soft = node.node.taints.iter().filter(|it| it.effect == Effect::PreferNoSchedule);
        let tolerations = &self.0.tolerations;
        let disliked = soft.filter(|taint| !tolerations.iter().any(|it| it.tolerates(taint)));
        i64::try_from(disliked.count()).unwrap_or(i64::MAX / super::MAX)
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_to_best(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::{self, check};
    use super::TaintToleration;

    #[test]
    fn every_hard_taint_must_be_tolerated() {
        let node =
            |effect| json!({"spec": {"taints": [{"key": "a", "value": "1", "effect": effect}]}});
        let reason = Some("node(s) had untolerated taint(s)");
        check(&TaintToleration, json!({}), node("NoSchedule"), reason);
        check(&TaintToleration, json!({}), node("NoExecute"), reason);
        check(&TaintToleration, json!({}), node("PreferNoSchedule"), None);
        let pod = |effect| {
            let toleration =
                json!({"key": "a", "operator": "Equal", "value": "1", "effect": effect});
            json!({"spec": {"tolerations": [toleration]}})
        };
        check(&TaintToleration, pod("NoSchedule"), node("NoSchedule"), None);
        check(&TaintToleration, pod("NoSchedule"), node("NoExecute"), reason);
        check(&TaintToleration, pod(""), node("NoExecute"), None);
    }

    #[test]
    fn a_node_with_more_soft_taints_scores_lower() {
        let taint = json!({"key": "a", "effect": "PreferNoSchedule"});
        let nodes = [check::node(json!({"spec": {"taints": [taint]}})), check::node(json!({}))];
        let scores = |pod| check::scores(&TaintToleration, &check::pod(pod), &nodes);
        assert_eq!(scores(json!({})), [0, 100]);
        let tolerations = json!([{"key": "a", "operator": "Exists"}]);
        assert_eq!(scores(json!({"spec": {"tolerations": tolerations}})), [100, 100]);
    }
}
