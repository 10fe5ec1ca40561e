//! The port's connections as they are: carries out what [`Connections`] decides about them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bramble_master_core::connections::{Admission, ConnectionId, Connections, Peer, Source};
use embassy_time::Instant;
use tokio::sync::Notify;
use tracing::warn;

/// All places of the port; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    connections: Connections,
    /// Tells a connection that it has to go.
    leave: BTreeMap<ConnectionId, Arc<Notify>>,
}

/// A connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    id: ConnectionId,
    places: Places,
    leave: Arc<Notify>,
}

/// A request that is being answered; dropping it ends it.
#[derive(Debug)]
pub(super) struct Busy {
    id: ConnectionId,
    places: Places,
}

impl Places {
    /// A place for a connection that was just made; none if there is no room for it.
    pub(super) fn accept(&self, source: Source) -> Option<Place> {
        let mut state = self.lock();
        let (id, admission) = state.connections.accept(source, Instant::now());
        if !state.follow(admission) {
            return None;
        }
        let leave = Arc::new(Notify::new());
        state.leave.insert(id, Arc::clone(&leave));
        drop(state);
        Some(Place { id, places: self.clone(), leave })
    }

    /// Ends what has done nothing for too long, and tells of what had to go.
    pub(super) fn handle_timeout(&self) {
        let (mut state, now) = (self.lock(), Instant::now());
        for id in state.connections.expire(now) {
            state.end(id);
        }
        let report = state.connections.poll_report(now);
        drop(state);
        if let Some(report) = report {
            warn!(
                evicted = report.evicted,
                refused = report.refused,
                silent = report.expired,
                last_from = %report.source,
                "connections of strangers were closed"
            );
        }
    }

    /// Ends one connection that nobody vouched for, to have its descriptor back.
    pub(super) fn shed(&self) {
        let mut state = self.lock();
        if let Some(id) = state.connections.shed() {
            state.end(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Closes what has to go; false if it is the new one itself.
    fn follow(&mut self, admission: Admission) -> bool {
        match admission {
            Admission::Admit => true,
            Admission::AdmitAndEvict(victim) => {
                self.end(victim);
                true
            }
            Admission::Refuse => false,
        }
    }

    fn end(&mut self, id: ConnectionId) {
        if let Some(leave) = self.leave.remove(&id) {
            leave.notify_one();
        }
    }
}

impl Place {
    /// Moves to the places of those that the peer is one of; false if there is no room there.
    pub(super) fn identify(&self, peer: Peer) -> bool {
        let mut state = self.places.lock();
        let admission = state.connections.identify(self.id, peer, Instant::now());
        state.follow(admission)
    }

    /// Notes that a request is being answered until the guard is dropped.
    pub(super) fn begin_request(&self) -> Busy {
        self.places.lock().connections.begin_request(self.id, Instant::now());
        Busy { id: self.id, places: self.places.clone() }
    }

    /// Does the work of a connection; breaks off when the connection has to go.
    pub(super) async fn unless_evicted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.leave.notified() => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.connections.remove(self.id);
        state.leave.remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.places.lock().connections.end_request(self.id, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::{IpAddr, Ipv4Addr};

    use bramble_master_core::connections::UNKNOWN_OF_SOURCE_MAX;

    use super::*;

    #[tokio::test]
    async fn evicted_connection_breaks_off_and_its_place_is_free() {
        let places = Places::default();
        let source = Source::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let first = places.accept(source).unwrap();
        let others: Vec<_> =
            (0..UNKNOWN_OF_SOURCE_MAX).map(|_| places.accept(source).unwrap()).collect();
        assert_eq!(first.unless_evicted(pending::<()>()).await, None);
        assert!(!first.identify(Peer::Anonymous));
        assert!(others.iter().all(|place| place.identify(Peer::Anonymous)));
        drop((first, others));
        assert!(places.lock().leave.is_empty());
        assert!(places.lock().connections.is_empty());
    }
}
