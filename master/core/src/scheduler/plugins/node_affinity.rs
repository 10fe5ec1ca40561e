//! Keeps pods to the nodes that their `nodeSelector` and required node affinity name, and draws them
//! to those that they prefer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    Context, Filter, FilterPlugin, MAX, Prepared, Refusal, Score, ScorePlugin, normalize_to_best,
};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::view::node::NodeView;
use crate::view::node_affinity::{NodeSelectorTerm, PreferredTerm};
use crate::view::pod::PodView;
use crate::view::selector::Operator;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct NodeAffinity;

#[derive(Debug)]
struct Required<'a>(&'a PodView);

#[derive(Debug)]
struct Preferred<'a>(&'a [PreferredTerm]);

fn required_terms(pod: &PodView) -> Option<&[NodeSelectorTerm]> {
    Some(&pod.node_affinity.as_ref()?.required.as_ref()?.node_selector_terms)
}

/// Whether a pod restricts its nodes at all.
#[must_use]
pub fn restricted(pod: &PodView) -> bool {
    !pod.node_selector.is_empty() || required_terms(pod).is_some()
}

/// Whether a node is one of those that a pod may go to.
#[must_use]
pub fn selected(pod: &PodView, node: &NodeView) -> bool {
    let meta = &node.meta;
    meta.labels.contains_all(&pod.node_selector)
        && required_terms(pod)
            .is_none_or(|terms| terms.iter().any(|term| term.selects(&meta.labels, &meta.name)))
}

/// The names of the only nodes that a pod may go to, if its affinity says names.
#[must_use]
pub fn required_names(pod: &PodView) -> Option<BTreeSet<Arc<str>>> {
    let mut all = BTreeSet::new();
    for term in required_terms(pod)? {
        let mut names: Option<BTreeSet<Arc<str>>> = None;
        for field in term.match_fields.iter().filter(|it| it.operator == Operator::In) {
            let values: BTreeSet<Arc<str>> = field.values.iter().cloned().collect();
            names = Some(match names {
                Some(names) => names.intersection(&values).cloned().collect(),
                None => values,
            });
        }
        // A term without names may mean any node.
        all.extend(names?);
    }
    Some(all)
}

impl FilterPlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn prepare<'a>(&self, pod: &'a PodView, _: &Context<'a>) -> Prepared<'a> {
        match required_names(pod) {
            Some(names)
                if names.is_empty() && required_terms(pod).is_some_and(|it| !it.is_empty()) =>
            {
                Prepared::Refuse(Refusal::lasting("pod affinity terms conflict"))
            }
            _ if restricted(pod) => Prepared::Ask(Box::new(Required(pod))),
            _ => Prepared::Skip,
        }
    }

    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        event.node_labels_changed() && event.node().is_some_and(|node| selected(pod, node))
    }
}

impl Filter for Required<'_> {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        if selected(self.0, &node.node) {
            return Ok(());
        }
        Err(Refusal::lasting("node(s) didn't match Pod's node affinity/selector"))
    }
}

impl ScorePlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn weight(&self) -> i64 {
        2
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodView,
        _: &Context<'a>,
        _: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        let preferred = &pod.node_affinity.as_ref()?.preferred;
        (!preferred.is_empty()).then(|| Box::new(Preferred(preferred)) as Box<dyn Score>)
    }
}

impl Score for Preferred<'_> {
    /// The sum of the weights of all wishes that the node fulfils.
    fn score(&self, _: usize, node: &NodeInfo) -> i64 {
        let meta = &node.node.meta;
        let fulfilled = self.0.iter().filter(|it| it.preference.selects(&meta.labels, &meta.name));
        fulfilled.map(|wish| wish.weight.clamp(0, MAX)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_to_best(scores, false);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::check::{self, check};
    use super::{NodeAffinity, required_names};

    const REASON: Option<&str> = Some("node(s) didn't match Pod's node affinity/selector");

    fn node() -> Value {
        json!({"metadata": {"name": "n", "labels": {"disk": "ssd", "cores": "4"}}})
    }

    fn required(terms: Value) -> Value {
        let required = json!({"nodeSelectorTerms": terms});
        let key = "requiredDuringSchedulingIgnoredDuringExecution";
        json!({"spec": {"affinity": {"nodeAffinity": {key: required}}}})
    }

    #[test]
    fn selector_must_be_contained_in_the_labels() {
        check(&NodeAffinity, json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), node(), None);
        check(&NodeAffinity, json!({"spec": {"nodeSelector": {"disk": "hdd"}}}), node(), REASON);
    }

    #[test]
    fn one_term_with_all_its_requirements_is_enough() {
        let requirement =
            |key, operator, values| json!({"key": key, "operator": operator, "values": values});
        let fits = requirement("cores", "Gt", json!(["2"]));
        let fails = requirement("disk", "In", json!(["hdd"]));
        let term = |list: Value| json!({"matchExpressions": list});
        let either = json!([term(json!([fails])), term(json!([fits]))]);
        check(&NodeAffinity, required(either), node(), None);
        check(&NodeAffinity, required(json!([term(json!([fits, fails]))])), node(), REASON);
        check(&NodeAffinity, required(json!([{}])), node(), REASON);
        let name = json!([{"matchFields": [requirement("metadata.name", "In", json!(["n"]))]}]);
        check(&NodeAffinity, required(name), node(), None);
    }

    #[test]
    fn fields_name_the_only_nodes_to_ask() {
        let field = |names: Value| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": names}]});
        let names = |terms| {
            let found = required_names(&check::pod(required(terms)));
            found.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(names(json!([field(json!(["a"]))])), Some(vec!["a".to_owned()]));
        let either = json!([field(json!(["a"])), field(json!(["b"]))]);
        assert_eq!(names(either), Some(vec!["a".to_owned(), "b".to_owned()]));
        let any = json!([field(json!(["a"])), {"matchExpressions": [{"key": "x", "operator": "Exists"}]}]);
        assert_eq!(names(any), None, "a term without a name may mean any node");
    }

    #[test]
    fn fulfilled_wishes_add_up() {
        let wish = |key: &str, weight: i64| {
            let expression = json!({"key": key, "operator": "Exists"});
            json!({"weight": weight, "preference": {"matchExpressions": [expression]}})
        };
        let wishes = json!([wish("a", 10), wish("b", 5), wish("c", 15)]);
        let key = "preferredDuringSchedulingIgnoredDuringExecution";
        let pod = check::pod(json!({"spec": {"affinity": {"nodeAffinity": {key: wishes}}}}));
        let node = |labels| check::node(json!({"metadata": {"labels": labels}}));
        let nodes =
            [node(json!({"a": "", "b": "", "c": ""})), node(json!({"c": ""})), node(json!({}))];
        assert_eq!(check::scores(&NodeAffinity, &pod, &nodes), [100, 50, 0]);
    }
}
