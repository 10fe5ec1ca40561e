//! Resources of `v1` and `events.k8s.io/v1`: Event, which is kept in its first form.

use crate::resource::{Class, Row, Storage, Strategy};
use crate::{convert, table, validate};

/// Events.
pub(super) static EVENTS: Row = Row {
    short_names: &["ev"],
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
    validate: validate::configuration::event,
    strategy: Strategy {
        class: |_, _| Class::Volatile,
        // Events tell the story of the deletion itself.
        outlives_namespace: true,
        ..Strategy::PLAIN
    },
    ..Row::namespaced("", "v1", "Event", "events", "event")
};

/// The same events in the form of their own group.
pub(super) static EVENTS_OF_GROUP: Row = Row {
    short_names: &["ev"],
    fields: &[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ],
    columns: table::event::COLUMNS,
    cells: table::event::cells_of_group,
    validate: validate::configuration::event_of_group,
    storage: Some(Storage {
        group: "",
        read: convert::event::to_group,
        write: convert::event::from_group,
    }),
    strategy: Strategy {
        class: |_, _| Class::Volatile,
        outlives_namespace: true,
        ..Strategy::PLAIN
    },
    ..Row::namespaced("events.k8s.io", "v1", "Event", "events", "event")
};
