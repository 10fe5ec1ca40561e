//! Row of `v1`: Event.

use crate::resource::{ALL_VERBS, Class, Resource};
use crate::{defaults, table, validate};

/// Events.
pub(super) static EVENTS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &[],
    subresources: &[],
    class: Class::Volatile,
    fields: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    columns: table::event::COLUMNS,
    cells: table::event::cells,
    defaults: defaults::nothing,
    validate: validate::configuration::event,
    validate_update: validate::nothing_changed,
    generation: false,
};
