//! Row of `coordination.k8s.io/v1`: Lease.

use crate::resource::{Row, Strategy};
use crate::{strategy, table, validate};

/// Leases.
pub(super) static LEASES: Row = Row {
    columns: table::lease::COLUMNS,
    cells: table::lease::cells,
    validate: validate::configuration::lease,
    strategy: Strategy {
        class: strategy::lease::class,
        unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Row::namespaced("coordination.k8s.io", "v1", "Lease", "leases", "lease")
};
