//! Columns of Event.

use serde_json::Value;

use super::{Column, integer as integer_column, name, since, text, wide};
use crate::{convert, object};

pub(crate) const COLUMNS: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    Column { priority: 1, ..integer_column("Count") },
    Column { name: "Name", kind: "string", format: "name", priority: 1 },
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let read = |pointer: &str| object::text(object, pointer);
    let first = match read("/firstTimestamp") {
        "" => since(read("/eventTime"), now),
        time => since(time, now),
    };
    let last = match read("/series/lastObservedTime") {
        "" => match read("/lastTimestamp") {
            "" => first.clone(),
            time => since(time, now),
        },
        time => since(time, now),
    };
    let involved = match (read("/involvedObject/kind"), read("/involvedObject/name")) {
        (kind, "") => kind.to_lowercase(),
        (kind, name) => format!("{}/{name}", kind.to_lowercase()),
    };
    let component = match read("/source/component") {
        "" => read("/reportingComponent"),
        component => component,
    };
    let source = match (component, read("/source/host")) {
        (component, "") => component.to_owned(),
        (component, host) => format!("{component}, {host}"),
    };
    let count = match object::integer(object, "/series/count") {
        0 => object::integer(object, "/count").max(1),
        count => count,
    };
    vec![
        last.into(),
        read("/type").into(),
        read("/reason").into(),
        involved.into(),
        read("/involvedObject/fieldPath").into(),
        source.into(),
        read("/message").trim().into(),
        first.into(),
        count.into(),
        name(object),
    ]
}

/// Cells of an event in the form of its own group.
pub(crate) fn cells_of_group(object: &Value, now: i64) -> Vec<Value> {
    let mut object = object.clone();
    convert::event::from_group(&mut object);
    cells(&object, now)
}
