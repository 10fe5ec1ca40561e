//! Writes what is wrong with a node's power into its conditions, as node-problem-detector does.
//!
//! Follows what heartbeats tell, without its flicker. A node that cannot tell has no such
//! condition, and one that is silent keeps what it last said. Sets no taint: a slow board works.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Outcome;
use crate::action::{Action, EventKind, Target};
use crate::snapshot::Snapshot;
use crate::view::condition::{Condition, Status, find};
use crate::view::node::NodeView;
use crate::view::resource::Resource;
use crate::view::timestamp::Timestamp;
use crate::vitals::PowerState;

const COMPONENT: &str = "node-controller";

/// A condition: its type, then reason and message while it holds and while it does not.
struct Kind {
    kind: &'static str,
    bad: [&'static str; 2],
    good: [&'static str; 2],
}

const UNDER_VOLTAGE: Kind = Kind {
    kind: "UnderVoltage",
    bad: [
        "SupplyTooWeak",
        "the board gets too little voltage: use a stronger power supply or a shorter cable",
    ],
    good: ["SupplySufficient", "the board gets enough voltage"],
};

const THROTTLED: Kind = Kind {
    kind: "Throttled",
    bad: [
        "ProcessorSlowedDown",
        "the processor is slowed down, because the board is too hot or gets too little voltage",
    ],
    good: ["ProcessorAtFullSpeed", "the processor may run at full speed"],
};

/// Compares conditions with what the nodes of `power`, by name, tell.
#[must_use]
pub fn reconcile(
    snapshot: &Snapshot,
    power: &BTreeMap<Arc<str>, PowerState>,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::default();
    if !snapshot.synced {
        return outcome;
    }
    for (name, state) in power {
        if let Some(node) = snapshot.node(name) {
            follow(node, *state, now, &mut outcome);
        }
    }
    outcome
}

fn follow(node: &NodeView, state: PowerState, now: Timestamp, outcome: &mut Outcome) {
    let target = || Target::of(&Resource::NODES, &node.meta);
    let (mut conditions, mut events) = (Vec::new(), Vec::new());
    for (kind, holds) in [(UNDER_VOLTAGE, state.under_voltage), (THROTTLED, state.throttled)] {
        let present = find(&node.conditions, kind.kind).map(|present| present.status);
        let wanted = if holds { Status::True } else { Status::False };
        if present == Some(wanted) {
            continue;
        }
        let [reason, message] = if holds { kind.bad } else { kind.good };
        conditions.push(Condition::new(kind.kind, wanted, reason, message, now));
        // That all is well from the beginning is no news.
        if holds || present.is_some() {
            events.push(Action::Event {
                involved: target(),
                involved_kind: "Node",
                kind: if holds { EventKind::Warning } else { EventKind::Normal },
                reason,
                message: format!("Node {}: {message}", node.meta.name),
                component: COMPONENT,
            });
        }
    }
    if !conditions.is_empty() {
        outcome.actions.push(Action::SetConditions { target: target(), conditions });
        outcome.actions.extend(events);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::model::{Model, NOW};
    use super::*;

    const NODE: &str = "/core/nodes/_/pi-3";

    fn told(model: &mut Model, under_voltage: bool, throttled: bool) -> Vec<(String, String)> {
        let power = [(Arc::from("pi-3"), PowerState { under_voltage, throttled })].into();
        model.settle(|snapshot| reconcile(snapshot, &power, NOW).actions);
        let node = model.get(NODE);
        let conditions = node["status"]["conditions"].as_array().unwrap();
        let text = |condition: &serde_json::Value, field| {
            condition[field].as_str().unwrap_or_default().to_owned()
        };
        let mut told: Vec<_> =
            conditions.iter().map(|it| (text(it, "type"), text(it, "status"))).collect();
        told.sort();
        told
    }

    fn three(under_voltage: &str, throttled: &str) -> Vec<(String, String)> {
        [("Ready", "True"), ("Throttled", throttled), ("UnderVoltage", under_voltage)]
            .map(|(kind, status)| (kind.to_owned(), status.to_owned()))
            .to_vec()
    }

    fn model() -> Model {
        let mut model = Model::new();
        let ready = json!({"type": "Ready", "status": "True"});
        model.put(NODE, json!({"spec": {}, "status": {"conditions": [ready]}}));
        model
    }

    #[test]
    fn a_weak_supply_is_a_condition_and_an_event() {
        let mut model = model();
        assert_eq!(told(&mut model, false, false), three("False", "False"));
        assert!(model.events.is_empty());
        assert_eq!(told(&mut model, true, false), three("True", "False"));
        assert_eq!(
            model.events,
            ["SupplyTooWeak: Node pi-3: the board gets too little voltage: use a stronger power \
              supply or a shorter cable"]
        );
        assert_eq!(told(&mut model, false, false), three("False", "False"));
        assert_eq!(model.events.len(), 2);
    }

    #[test]
    fn the_same_words_again_write_nothing() {
        let mut model = model();
        told(&mut model, true, true);
        let power =
            [(Arc::from("pi-3"), PowerState { under_voltage: true, throttled: true })].into();
        assert_eq!(reconcile(model.snapshot(), &power, NOW), Outcome::default());
        // Nobody tells: what was told stays.
        assert_eq!(reconcile(model.snapshot(), &BTreeMap::new(), NOW), Outcome::default());
    }

    #[test]
    fn a_node_that_was_deleted_gets_no_condition() {
        let power = [(Arc::from("gone"), PowerState::default())].into();
        assert_eq!(reconcile(model().snapshot(), &power, NOW), Outcome::default());
    }
}
