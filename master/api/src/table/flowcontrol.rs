//! Columns of FlowSchema and PriorityLevelConfiguration.

use serde_json::Value;

use super::{Column, age, integer, name, name_column, number, shown, text};
use crate::object;

pub(crate) const FLOW_SCHEMA: &[Column] = &[
    name_column(),
    text("PriorityLevel"),
    integer("MatchingPrecedence"),
    text("DistinguisherMethod"),
    text("Age"),
    text("MissingPL"),
];

pub(crate) fn flow_schema(object: &Value, now: i64) -> Vec<Value> {
    let missing = object::items(object, "/status/conditions")
        .iter()
        .find(|condition| object::text(condition, "/type") == "Dangling")
        .map_or("?", |condition| object::text(condition, "/status"));
    vec![
        name(object),
        object::text(object, "/spec/priorityLevelConfiguration/name").into(),
        number(object, "/spec/matchingPrecedence"),
        shown(object, "/spec/distinguisherMethod/type", "<none>"),
        age(object, now),
        missing.into(),
    ]
}

pub(crate) const PRIORITY_LEVEL: &[Column] = &[
    name_column(),
    text("Type"),
    text("NominalConcurrencyShares"),
    text("Queues"),
    text("HandSize"),
    text("QueueLengthLimit"),
    text("Age"),
];

pub(crate) fn priority_level(object: &Value, now: i64) -> Vec<Value> {
    let queuing = |field: &str| {
        shown(object, &format!("/spec/limited/limitResponse/queuing/{field}"), "<none>")
    };
    vec![
        name(object),
        object::text(object, "/spec/type").into(),
        shown(object, "/spec/limited/nominalConcurrencyShares", "<none>"),
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        age(object, now),
    ]
}
