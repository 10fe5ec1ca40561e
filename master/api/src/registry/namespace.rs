//! Row of `v1`: Namespace.

use serde_json::json;

use crate::resource::{Handler, Row, Strategy, Subresource};
use crate::validate::{self, names};
use crate::{defaults, strategy, table};

/// Namespaces.
pub(super) static NAMESPACES: Row = Row {
    short_names: &["ns"],
    // Namespaces are deleted one by one only, as upstream has it.
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[
        Subresource {
            name: "finalize",
            group: "",
            version: "v1",
            kind: "Namespace",
            verbs: &["update"],
            handler: Handler::Finalize,
        },
        Subresource::status("", "v1", "Namespace"),
    ],
    fields: &["name", "status.phase"],
    columns: table::namespace::COLUMNS,
    cells: table::namespace::cells,
    defaults: defaults::configuration::namespace,
    validate: validate::configuration::namespace,
    strategy: Strategy {
        name: names::dns_label,
        initial_status: |_| json!({"phase": "Active"}),
        named: strategy::namespace::named,
        prepare_update: strategy::namespace::prepare_update,
        // As upstream's NamespaceLifecycle.
        immortal: &["default", "kube-public", "kube-system"],
        held: strategy::namespace::held,
        deleting: strategy::namespace::deleting,
        ..Strategy::PLAIN
    },
    ..Row::cluster("", "v1", "Namespace", "namespaces", "namespace")
};
