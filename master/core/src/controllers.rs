//! Controllers: each compares what is with what is wanted and returns the difference.
//!
//! They act on levels and take no hint, do nothing before the snapshot is synced, do a bounded
//! amount in one run, and running one on its own result returns nothing. None of them retries.

pub mod cron_job;
pub mod daemon_set;
#[cfg(test)]
mod deadline_tests;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoint_slice_mirroring;
pub mod endpoints;
pub mod garbage;
pub mod job;
pub mod lanes;
#[cfg(test)]
mod lanes_tests;
#[cfg(test)]
mod model;
pub mod namespace_basics;
pub mod namespaces;
pub mod node_identity;
pub mod node_lifecycle;
pub mod node_power;
mod owner;
pub mod persistent_volume;
pub mod pod_garbage_collector;
pub mod replica_set;
pub mod replication_controller;
pub mod resource_quota;
mod revisions;
mod rollout;
pub mod stateful_set;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::action::Action;
use crate::membership::Contacts;
use crate::snapshot::Snapshot;
use crate::view::resource::ObjectKey;
use crate::view::timestamp::Timestamp;
use crate::vitals::PowerState;

/// What controllers look at.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The objects.
    pub snapshot: &'a Snapshot,
    /// Who is in contact.
    pub contacts: &'a Contacts,
    /// What is wrong with the power of the boards, by node name.
    pub power: &'a BTreeMap<Arc<str>, PowerState>,
    /// The CA's certificate, PEM.
    pub root_ca: &'a str,
    /// The time of day.
    pub now: Timestamp,
}

/// Runs all controllers.
///
/// Its deadline is the only one that the control loop needs: each controller names the moment from
/// which on it would decide otherwise although nothing happened, and so does membership.
#[must_use]
pub fn reconcile(world: &World<'_>) -> Outcome {
    let World { snapshot, contacts, power, root_ca, now } = *world;
    let mut outcome = Outcome::default();
    // What moves traffic comes first.
    outcome.merge(endpoint_slice::reconcile(snapshot, contacts));
    outcome.merge(endpoint_slice_mirroring::reconcile(snapshot));
    outcome.merge(endpoints::reconcile(snapshot, contacts));
    outcome.merge(node_lifecycle::reconcile(snapshot, contacts, now));
    outcome.merge(node_identity::reconcile(snapshot, contacts, now));
    outcome.merge(node_power::reconcile(snapshot, power, now));
    outcome.merge(replica_set::reconcile(snapshot, now));
    outcome.merge(replication_controller::reconcile(snapshot, now));
    outcome.merge(deployment::reconcile(snapshot, now));
    outcome.merge(disruption::reconcile(snapshot, now));
    outcome.merge(namespace_basics::reconcile(snapshot, root_ca));
    outcome.merge(stateful_set::reconcile(snapshot, now));
    outcome.merge(daemon_set::reconcile(snapshot, now));
    outcome.merge(job::reconcile(snapshot, now));
    outcome.merge(cron_job::reconcile(snapshot, now));
    outcome.merge(namespaces::reconcile(snapshot, now));
    outcome.merge(persistent_volume::reconcile(snapshot));
    outcome.merge(garbage::reconcile(snapshot));
    outcome.actions = that_may_be(snapshot, outcome.actions);
    if let Some(at) = contacts_change_at(contacts, now) {
        outcome.wake_at(at);
    }
    outcome
}

/// Leaves out what cannot be created since its namespace goes, and what would be told of it.
fn that_may_be(snapshot: &Snapshot, actions: Vec<Action>) -> Vec<Action> {
    let going = |namespace: &str| {
        let namespace = snapshot.namespaces().get(&ObjectKey::new("", namespace));
        namespace.is_some_and(|namespace| namespace.meta.deleting())
    };
    let mut left_out = false;
    let mut may_be = |action: &Action| {
        left_out = match action.creates_in() {
            Some(namespace) => going(namespace),
            None => left_out && action.tells(),
        };
        !left_out
    };
    actions.into_iter().filter(|action| may_be(action)).collect()
}

/// When membership will be different although nothing happens.
#[must_use]
pub fn contacts_change_at(contacts: &Contacts, now: Timestamp) -> Option<Timestamp> {
    let ms = i64::try_from(contacts.changes_in?.as_millis()).unwrap_or(i64::MAX);
    // The millisecond that was cut off must have passed, too.
    Some(Timestamp(now.0.saturating_add(ms).saturating_add(1)))
}

/// What one run of a controller wants.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// When to run again although nothing changed.
    pub next_deadline: Option<Timestamp>,
}

impl Outcome {
    /// Asks to be run again at `at`, if nothing earlier was asked for.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.next_deadline = Some(self.next_deadline.map_or(at, |present| present.min(at)));
    }

    /// Adds another outcome to this one.
    pub fn merge(&mut self, other: Self) {
        self.actions.extend(other.actions);
        if let Some(at) = other.next_deadline {
            self.wake_at(at);
        }
    }
}
