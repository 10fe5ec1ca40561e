//! Filters: may this pod run on this node at all?
//!
//! They run in upstream's order and the first that says no gives the reason, so that the counts in
//! a `FailedScheduling` event are the same as upstream's.

use std::borrow::Cow;

use super::node_info::NodeInfo;
use crate::view::pod::PodView;

pub mod architecture;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_unschedulable;
pub mod resources_fit;
pub mod taint_toleration;

/// Why a node was refused, in upstream's words; several when several resources are short.
pub type Reasons = Vec<Cow<'static, str>>;

/// A filter: the reasons that speak against the node, if any.
pub type Filter = fn(&PodView, &NodeInfo) -> Result<(), Reasons>;

/// All filters in the order in which they are asked.
pub const FILTERS: [Filter; 7] = [
    node_unschedulable::filter,
    node_name::filter,
    taint_toleration::filter,
    node_affinity::filter,
    architecture::filter,
    node_ports::filter,
    resources_fit::filter,
];

/// Asks all filters.
///
/// # Errors
///
/// Returns the reasons of the first filter that refuses.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    FILTERS.iter().try_for_each(|filter| filter(pod, node))
}

/// One reason that is known at compile time.
pub(crate) fn refuse(reason: &'static str) -> Result<(), Reasons> {
    Err(vec![Cow::Borrowed(reason)])
}

#[cfg(test)]
pub(crate) mod check {
    //! One way to ask a filter about a pod and a node written as JSON.

    use std::sync::Arc;

    use serde_json::Value;

    use super::{Filter, NodeInfo};
    use crate::view::pod::PodView;

    pub(crate) fn pod(value: Value) -> PodView {
        serde_json::from_value(value).unwrap()
    }

    pub(crate) fn node(value: Value) -> NodeInfo {
        NodeInfo::new(Arc::new(serde_json::from_value(value).unwrap()))
    }

    pub(crate) fn check(filter: Filter, pod_json: Value, node_json: Value, wanted: Option<&str>) {
        let found =
            filter(&pod(pod_json), &node(node_json)).err().map(|reasons| reasons.join(", "));
        assert_eq!(found.as_deref(), wanted);
    }
}
