//! Row of `v1`: Namespace.

use crate::resource::{Class, Resource, Subresource};
use crate::{defaults, table, validate};

/// Namespaces.
pub(super) static NAMESPACES: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    namespaced: false,
    // Namespaces are deleted one by one only, as upstream has it.
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    categories: &[],
    subresources: &[
        Subresource {
            name: "finalize",
            group: "",
            version: "v1",
            kind: "Namespace",
            verbs: &["update"],
        },
        Subresource::status("", "v1", "Namespace"),
    ],
    class: Class::Intent,
    fields: &["name", "status.phase"],
    columns: table::namespace::COLUMNS,
    cells: table::namespace::cells,
    defaults: defaults::configuration::namespace,
    validate: validate::nothing,
    validate_update: validate::nothing_changed,
    generation: false,
};
