//! The attack suite: what one client, one token, one node or one container may send, and that
//! nobody else is hurt by it.
//!
//! An [`Attack`] is a row: it does its worst from places of its own on the cluster's LAN, within
//! bounds of number and time, and looks from outside whether what must hold did. Around every one
//! [`around`](round::around) looks at what must hold always: a bystander is answered, no node is
//! declared dead, no pod moves, memory comes back. One file holds one family of attacks; `core`
//! ones are run by `make test`, all of them by `make abuse`.

mod bystander;
mod connections;
mod containers;
mod logs;
mod memory_watch;
mod namespaces;
mod node;
mod node_link;
mod node_messages;
mod packets;
mod patches;
mod replicas;
mod requests;
pub mod round;
mod stage;
mod still;
mod tokens;

use anyhow::Result;

pub use stage::{Extent, Stage};

/// One attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Its name, `family/what`.
    pub name: &'static str,
    /// What must hold, beside what must hold around every attack.
    pub must: &'static str,
    /// Belongs to `make test`.
    pub core: bool,
    /// Restarts the master itself; from all others it must stand through.
    pub restarts_master: bool,
    /// Does it and returns a figure or a word to print.
    ///
    /// # Errors
    /// What must hold did not.
    pub run: fn(&mut Stage) -> Result<String>,
}

/// All attacks, in the order in which they are run.
#[must_use]
pub fn attacks() -> Vec<Attack> {
    [
        connections::ATTACKS,
        packets::ATTACKS,
        requests::ATTACKS,
        patches::ATTACKS,
        tokens::ATTACKS,
        node::ATTACKS,
        containers::ATTACKS,
        logs::ATTACKS,
        replicas::ATTACKS,
        namespaces::ATTACKS,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_begin_with_their_family() {
        let attacks = super::attacks();
        let names: BTreeSet<&str> = attacks.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), attacks.len());
        assert!(names.iter().all(|name| name.split('/').count() == 2));
        assert!(attacks.iter().any(|attack| attack.core));
    }
}
