//! Defaults of FlowSchema and PriorityLevelConfiguration.

use serde_json::{Map, Value, json};

use super::object_mut;
use crate::object::default;

/// Which requests belong together.
pub(crate) fn flow_schema(fields: &mut Map<String, Value>) {
    if let Some(spec) = object_mut(fields, "spec") {
        default(spec, "matchingPrecedence", 1000);
    }
}

/// How many of them are served at once.
pub(crate) fn priority_level(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    if let Some(exempt) = object_mut(spec, "exempt") {
        default(exempt, "nominalConcurrencyShares", 0);
        default(exempt, "lendablePercent", 0);
    }
    let Some(limited) = object_mut(spec, "limited") else { return };
    default(limited, "nominalConcurrencyShares", 30);
    default(limited, "lendablePercent", 0);
    let Some(response) = object_mut(limited, "limitResponse") else { return };
    if response.get("type").and_then(Value::as_str) == Some("Queue") {
        default(response, "queuing", json!({}));
    }
    if let Some(queuing) = object_mut(response, "queuing") {
        default(queuing, "queues", 64);
        default(queuing, "handSize", 8);
        default(queuing, "queueLengthLimit", 50);
    }
}
