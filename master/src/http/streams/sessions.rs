//! How many streams to pods may be open at a time, in all and for one identity.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bramble_api::Status;
use bramble_master_core::turns::Identity;
use bramble_process::panics;

/// Most of them: each costs the master about half a megabyte at worst.
const ALL_MAX: usize = 128;
/// Most of one identity, so that nobody takes them all.
const OF_ONE_MAX: usize = 96;

/// The open streams, by identity.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Sessions {
    open: Arc<Mutex<BTreeMap<Identity, usize>>>,
}

/// One open stream; dropping it makes room.
#[derive(Debug)]
pub(super) struct Session {
    sessions: Sessions,
    identity: Identity,
}

impl Sessions {
    /// Makes room for one more.
    ///
    /// # Errors
    ///
    /// 429 when there are too many.
    pub(super) fn enter(&self, identity: &Identity) -> Result<Session, Status> {
        let mut open = self.lock();
        let all: usize = open.values().sum();
        let own = open.entry(identity.clone()).or_default();
        if all >= ALL_MAX || *own >= OF_ONE_MAX {
            return Err(Status::too_many_requests("too many streams to pods are open", 1));
        }
        *own += 1;
        Ok(Session { sessions: self.clone(), identity: identity.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, usize>> {
        self.open.lock().unwrap_or_else(|_| panics::torn("the table of streams"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        if let Some(own) = open.get_mut(&self.identity) {
            *own -= 1;
        }
        open.retain(|_, own| *own > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_leaves_room_for_others_and_ends_make_room() {
        let sessions = Sessions::default();
        let (one, other) = (Identity::User("a".into()), Identity::User("b".into()));
        let mut open: Vec<Session> =
            (0..OF_ONE_MAX).map(|_| sessions.enter(&one).unwrap()).collect();
        assert_eq!(sessions.enter(&one).unwrap_err().code, 429);
        let others: Vec<Session> =
            (OF_ONE_MAX..ALL_MAX).map(|_| sessions.enter(&other).unwrap()).collect();
        assert_eq!(sessions.enter(&other).unwrap_err().code, 429);
        open.pop();
        open.push(sessions.enter(&one).unwrap());
        drop((open, others));
        assert!(sessions.lock().is_empty());
    }
}
