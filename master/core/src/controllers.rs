//! Controllers: each compares what is with what is wanted and returns the difference.
//!
//! They act on levels and take no hint, do nothing before the snapshot is synced, do a bounded
//! amount in one run, and running one on its own result returns nothing. None of them retries.

pub mod deployment;
pub mod endpoint_slice;
pub mod garbage;
#[cfg(test)]
mod model;
pub mod namespaces;
pub mod node_lifecycle;
pub mod node_power;
pub mod replica_set;
mod rollout;

use crate::action::Action;
use crate::view::timestamp::Timestamp;

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
