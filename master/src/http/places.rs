//! The port's connections as they are: carries out what [`Connections`] decides about them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bramble_master_core::connections::{Admission, ConnectionId, Connections, Peer, Source};
use bramble_process::panics;
use embassy_time::Instant;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
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
    /// Ends the connection if the request has not ended by then.
    bound: Option<AbortHandle>,
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
        self.state.lock().unwrap_or_else(|_| panics::torn("the table of connections"))
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
        Busy { id: self.id, places: self.places.clone(), bound: None }
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

impl Busy {
    /// Ends the whole connection if this request has not ended by then: what is kept for a reader
    /// who does not read is kept for so long.
    pub(super) fn end_connection_after(&mut self, time: Duration) {
        let (id, places) = (self.id, self.places.clone());
        let timer = tokio::spawn(async move {
            tokio::time::sleep(time).await;
            places.lock().end(id);
        });
        self.bound = Some(timer.abort_handle());
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(bound) = self.bound.take() {
            bound.abort();
        }
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
    async fn connection_with_an_answer_that_nobody_takes_is_ended() {
        let places = Places::default();
        let place = places.accept(Source::from(IpAddr::V4(Ipv4Addr::LOCALHOST))).unwrap();
        let mut in_time = place.begin_request();
        in_time.end_connection_after(Duration::ZERO);
        drop(in_time);
        tokio::task::yield_now().await;
        let going_on = place.unless_evicted(pending::<()>());
        assert!(futures_util::poll!(Box::pin(going_on)).is_pending());
        let mut late = place.begin_request();
        late.end_connection_after(Duration::from_millis(1));
        assert_eq!(place.unless_evicted(pending::<()>()).await, None);
    }

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
