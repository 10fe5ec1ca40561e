//! Tells whoever looks at a node that two boards speak with its certificate, and how to mend it.
//!
//! The taints and evictions that follow are the node lifecycle's, for which such a node is one that
//! is not in contact. Decides nothing about identities: membership does.

use super::Outcome;
use crate::action::{Action, EventKind, Target};
use crate::membership::Contacts;
use crate::snapshot::Snapshot;
use crate::view::condition::{Condition, Status};
use crate::view::node::{IDENTITY_CONFLICT, NodeView};
use crate::view::resource::Resource;
use crate::view::timestamp::Timestamp;

const COMPONENT: &str = "node-controller";
const CLONED: &str = "ClonedIdentity";
const DECIDED: &str = "IdentityDecided";

/// Compares conditions with what membership believes.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, contacts: &Contacts, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if !snapshot.synced {
        return outcome;
    }
    for node in snapshot.nodes().values() {
        // While nobody knows, what was written down stays.
        let Some(contact) = contacts.nodes.get(&node.meta.name) else { continue };
        if contact.quarantined != node.quarantined() {
            tell(node, contact.quarantined, now, &mut outcome);
        }
    }
    outcome
}

fn tell(node: &NodeView, quarantined: bool, now: Timestamp, outcome: &mut Outcome) {
    let target = || Target::of(&Resource::NODES, &node.meta);
    let name = &node.meta.name;
    let (status, kind, reason, message) = if quarantined {
        let message = format!(
            "two boards use the certificate of node {name} at the same time, so neither is \
             believed: unplug the one that is a copy and run `bramble node replace {name}`, or end \
             the access of both with `bramble node revoke {name}`"
        );
        (Status::True, EventKind::Warning, CLONED, message)
    } else {
        let message = format!("an administrator decided who is node {name}");
        (Status::False, EventKind::Normal, DECIDED, message)
    };
    let condition = Condition::new(IDENTITY_CONFLICT, status, reason, &message, now);
    let conditions = vec![condition];
    outcome.actions.push(Action::SetConditions { target: target(), conditions });
    outcome.actions.push(Action::Event {
        involved: target(),
        involved_kind: "Node",
        kind,
        reason,
        message,
        component: COMPONENT,
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::model::{Model, NOW};
    use super::*;
    use crate::membership::NodeContact;

    fn settle(model: &mut Model, quarantined: bool) -> bool {
        let contact = NodeContact { quarantined, ..NodeContact::default() };
        let contacts =
            Contacts { nodes: [(Arc::from("pi-3"), contact)].into(), ..Contacts::default() };
        model.settle(|snapshot| reconcile(snapshot, &contacts, NOW).actions);
        model.snapshot().node("pi-3").unwrap().quarantined()
    }

    #[test]
    fn two_boards_of_one_name_are_a_condition_and_an_event_that_say_what_to_do() {
        let mut model = Model::new();
        model.put("/core/nodes/_/pi-3", json!({"spec": {}, "status": {"conditions": []}}));
        assert!(!settle(&mut model, false));
        assert!(model.events.is_empty(), "all well from the beginning is no news");
        assert!(settle(&mut model, true));
        assert!(model.events[0].starts_with("ClonedIdentity: two boards"), "{:?}", model.events);
        assert!(model.events[0].contains("`bramble node replace pi-3`"), "{:?}", model.events);
        assert!(!settle(&mut model, false));
        assert_eq!(model.events.len(), 2);
        // Whoever does not know of the node leaves what was written down.
        settle(&mut model, true);
        model.settle(|snapshot| reconcile(snapshot, &Contacts::default(), NOW).actions);
        assert!(model.snapshot().node("pi-3").unwrap().quarantined());
    }
}
