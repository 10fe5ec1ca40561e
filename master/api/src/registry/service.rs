//! Row of `v1`: Service.

use crate::resource::{ALL_VERBS, Class, Resource, Subresource};
use crate::{defaults, table, validate};

/// Services.
pub(super) static SERVICES: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &["all"],
    subresources: &[Subresource::status("", "v1", "Service")],
    class: Class::Intent,
    fields: &["spec.clusterIP", "spec.type"],
    columns: table::service::COLUMNS,
    cells: table::service::cells,
    defaults: defaults::service::service,
    validate: validate::service::service,
    validate_update: validate::service::update,
    generation: false,
};
