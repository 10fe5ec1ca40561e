//! Row of `coordination.k8s.io/v1`: Lease.

use crate::resource::{Resource, Strategy};
use crate::{strategy, table, validate};

/// Leases.
pub(super) static LEASES: Resource = Resource {
    columns: table::lease::COLUMNS,
    cells: table::lease::cells,
    validate: validate::configuration::lease,
    strategy: Strategy {
        class: strategy::lease::class,
        unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("coordination.k8s.io", "v1", "Lease", "leases", "lease")
};
