//! Row of `coordination.k8s.io/v1`: Lease.

use crate::resource::{ALL_VERBS, Class, Resource};
use crate::{defaults, table, validate};

/// Leases.
pub(super) static LEASES: Resource = Resource {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &[],
    subresources: &[],
    class: Class::Volatile,
    fields: &[],
    columns: table::lease::COLUMNS,
    cells: table::lease::cells,
    defaults: defaults::nothing,
    validate: validate::configuration::lease,
    validate_update: validate::nothing_changed,
    generation: false,
};
