//! Row of `discovery.k8s.io/v1`: EndpointSlice.

use crate::resource::{ALL_VERBS, Class, Resource};
use crate::{defaults, table, validate};

/// Endpoint slices.
pub(super) static ENDPOINT_SLICES: Resource = Resource {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &[],
    subresources: &[],
    class: Class::Intent,
    fields: &[],
    columns: table::endpoint_slice::COLUMNS,
    cells: table::endpoint_slice::cells,
    defaults: defaults::service::endpoint_slice,
    validate: validate::service::endpoint_slice,
    validate_update: validate::service::endpoint_slice_update,
    generation: true,
};
