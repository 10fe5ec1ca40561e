//! Row of `v1`: Node.

use crate::resource::{ALL_VERBS, Class, Resource, Subresource};
use crate::{defaults, table, validate};

/// Nodes.
pub(super) static NODES: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    namespaced: false,
    verbs: ALL_VERBS,
    categories: &[],
    subresources: &[Subresource::status("", "v1", "Node")],
    class: Class::Intent,
    fields: &["spec.unschedulable"],
    columns: table::node::COLUMNS,
    cells: table::node::cells,
    defaults: defaults::nothing,
    validate: validate::node::node,
    validate_update: validate::node::update,
    generation: false,
};
