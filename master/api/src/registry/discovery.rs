//! Row of `discovery.k8s.io/v1`: EndpointSlice.

use crate::resource::{Row, Strategy};
use crate::{defaults, table, validate};

/// Endpoint slices.
pub(super) static ENDPOINT_SLICES: Row = Row {
    columns: table::endpoint_slice::COLUMNS,
    cells: table::endpoint_slice::cells,
    defaults: defaults::service::endpoint_slice,
    validate: validate::service::endpoint_slice,
    validate_update: validate::service::endpoint_slice_update,
    generation: true,
    strategy: Strategy { unconditional_update: false, ..Strategy::PLAIN },
    ..Row::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice")
};
