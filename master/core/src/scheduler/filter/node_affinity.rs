//! Keeps pods to the nodes that their `nodeSelector` and required node affinity name.

use super::{Reasons, refuse};
use crate::scheduler::node_info::NodeInfo;
use crate::view::pod::PodView;

/// Refuses a node whose labels do not fit.
///
/// # Errors
///
/// Returns the reason of the refusal.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    let meta = &node.node.meta;
    let required = pod.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    let selected = meta.labels.contains_all(&pod.node_selector)
        && required.is_none_or(|required| {
            let mut terms = required.node_selector_terms.iter();
            terms.any(|term| term.selects(&meta.labels, &meta.name))
        });
    if selected { Ok(()) } else { refuse("node(s) didn't match Pod's node affinity/selector") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::check::check;
    use super::filter;

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
        check(filter, json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), node(), None);
        check(filter, json!({"spec": {"nodeSelector": {"disk": "hdd"}}}), node(), REASON);
    }

    #[test]
    fn one_term_with_all_its_requirements_is_enough() {
        let requirement =
            |key, operator, values| json!({"key": key, "operator": operator, "values": values});
        let fits = requirement("cores", "Gt", json!(["2"]));
        let fails = requirement("disk", "In", json!(["hdd"]));
        let term = |list: Value| json!({"matchExpressions": list});
        let either = json!([term(json!([fails])), term(json!([fits]))]);
        check(filter, required(either), node(), None);
        check(filter, required(json!([term(json!([fits, fails]))])), node(), REASON);
        check(filter, required(json!([{}])), node(), REASON);
        let name = json!([{"matchFields": [requirement("metadata.name", "In", json!(["n"]))]}]);
        check(filter, required(name), node(), None);
    }
}
