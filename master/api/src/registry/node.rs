//! Row of `v1`: Node.

use serde_json::json;

use crate::resource::{Handler, Holds, Row, Strategy, Subresource};
use crate::{table, validate};

/// Nodes.
pub(super) static NODES: Row = Row {
    short_names: &["no"],
    subresources: &[
        Subresource::proxy("NodeProxyOptions", Handler::NodeProxy),
        Subresource::status("", "v1", "Node"),
    ],
    fields: &["spec.unschedulable"],
    columns: table::node::COLUMNS,
    cells: table::node::cells,
    validate: validate::node::node,
    validate_update: validate::node::update,
    strategy: Strategy {
        holds: Holds::NodeNumbers,
        // A node registers itself along with its status.
        initial_status: |object| object.get("status").cloned().unwrap_or_else(|| json!({})),
        ..Strategy::PLAIN
    },
    ..Row::cluster("", "v1", "Node", "nodes", "node")
};
