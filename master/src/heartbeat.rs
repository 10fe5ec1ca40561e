//! Heartbeats of all nodes: sessions, membership and acknowledgements.
//!
//! Two tasks share one state: one reads the socket, one lets time pass. Both only compute under
//! the lock. Nothing here waits for the store, so that a slow card makes no node look dead.

mod listener;
mod table;
mod term;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bramble_master_core::membership::{Arrival, Change, Contacts, Hearing, Membership, Verdict};
use bramble_master_core::vitals::{PowerState, Vitals, VitalsTable};
use bramble_shared::heartbeat_receiver::{Grant, ReceiverSession};
use bramble_shared::ids::{BootId, NodeId, SessionIndex};
use bramble_shared::lease::{LeaseProfile, LeaseProfileError};
use bramble_shared::local_health::LocalHealth;
use bramble_store::{Store, StoreError};
use embassy_time::{Duration, Instant, Timer};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use table::SessionTable;

/// Interval of our own health check, so that a busy master notices it also when nobody is late.
const HEALTH_INTERVAL: Duration = Duration::from_millis(100);

/// Why heartbeats could not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartHeartbeatsError {
    /// The term could not be raised.
    #[error("could not store the new term")]
    Term(#[from] StoreError),
    /// The lease would be unsafe.
    #[error(transparent)]
    Lease(#[from] LeaseProfileError),
}

/// All heartbeat sessions; shared by listener, clock, node link and control loop.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    state: Mutex<State>,
    /// Wakes the control loop when somebody's contact has changed.
    changed: Notify,
    /// Wakes the clock when it may have to be earlier.
    rearm: Notify,
    term: u64,
    profile: LeaseProfile,
}

#[derive(Debug)]
struct State {
    table: SessionTable,
    membership: Membership,
    vitals: VitalsTable,
    health: LocalHealth,
}

impl Heartbeats {
    /// Raises the term and begins to listen.
    ///
    /// # Errors
    ///
    /// When the new term cannot be stored: without it agents could not tell us from our past.
    pub(crate) async fn start(
        socket: UdpSocket,
        store: &dyn Store,
        profile: LeaseProfile,
    ) -> Result<(Arc<Self>, [JoinHandle<()>; 2]), StartHeartbeatsError> {
        profile.check()?;
        let term = term::raise(store).await?;
        let state = State {
            table: SessionTable::default(),
            // Versions count within a term, and the term has just been raised.
            membership: Membership::new(1),
            vitals: VitalsTable::default(),
            health: LocalHealth::default(),
        };
        let heartbeats = Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            rearm: Notify::new(),
            term,
            profile,
        });
        tracing::info!(term, "heartbeats begin");
        let tasks = [
            tokio::spawn(listener::run(socket, Arc::clone(&heartbeats))),
            tokio::spawn(Arc::clone(&heartbeats).run_clock()),
        ];
        Ok((heartbeats, tasks))
    }

    /// Our term.
    pub(crate) const fn term(&self) -> u64 {
        self.term
    }

    /// The lease that an acknowledgement grants, in milliseconds.
    pub(crate) fn lease_ms(&self) -> u32 {
        u32::try_from(self.profile.lease.as_millis()).unwrap_or(u32::MAX)
    }

    /// Resolves when somebody's contact has changed since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What controllers are told.
    pub(crate) fn contacts(&self) -> Contacts {
        self.lock().membership.contacts(Instant::now())
    }

    /// How the boards are that are in contact, by node name.
    pub(crate) fn vitals(&self) -> BTreeMap<Arc<str>, Vitals> {
        let (state, now) = (self.lock(), Instant::now());
        let of = |(node, name)| Some((Arc::clone(name), state.vitals.vitals(node, now)?));
        state.membership.in_contact().filter_map(of).collect()
    }

    /// What is wrong with the power of the boards that are in contact and can tell, by node name.
    pub(crate) fn power(&self) -> BTreeMap<Arc<str>, PowerState> {
        let state = self.lock();
        let of = |(node, name)| Some((Arc::clone(name), state.vitals.power(node)?));
        state.membership.in_contact().filter_map(of).collect()
    }

    /// Takes a place in the table; none if it is full. It must be given back, or used by
    /// [`Self::install`].
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Reservation> {
        let index = self.lock().table.reserve()?;
        Some(Reservation { heartbeats: Arc::clone(self), index: Some(index) })
    }

    /// Adds a node, or changes its name. `local` is the master's own board, `quarantined` what an
    /// earlier master wrote down.
    pub(crate) fn add_node(&self, node: NodeId, name: &str, local: bool, quarantined: bool) {
        self.lock().membership.add(node, name, local, quarantined, Instant::now());
        self.rearm.notify_one();
    }

    /// Adds a node that is not known yet; whether it is our own board, its session will tell.
    pub(crate) fn ensure_node(&self, node: NodeId, name: &str, quarantined: bool) {
        let mut state = self.lock();
        if state.membership.contact(node).is_none() {
            state.membership.add(node, name, false, quarantined, Instant::now());
            drop(state);
            self.rearm.notify_one();
        }
    }

    /// Whether a boot that says hello may speak for a node.
    pub(crate) fn hear(&self, node: NodeId, boot: BootId) -> Hearing {
        let (hearing, change) = self.lock().membership.handle_hello(node, boot, Instant::now());
        self.report(change.as_slice());
        hearing
    }

    /// Whether nothing that is said in a node's name may be believed.
    pub(crate) fn quarantined(&self, node: NodeId) -> bool {
        self.lock().membership.quarantined(node)
    }

    /// Forgets a node's keys.
    pub(crate) fn forget_keys(&self, node: NodeId) {
        self.lock().table.revoke(node);
    }

    /// Forgets a node's keys and whom it has heard as it, so that it is not in contact any more.
    pub(crate) fn cut_off(&self, name: &str) {
        let mut state = self.lock();
        let Some(node) = state.membership.find(name) else { return };
        state.table.revoke(node);
        let change = state.membership.disown(node, Instant::now());
        drop(state);
        self.report(change.as_slice());
    }

    /// Takes in that an administrator decided about a node with two boards; true if it was one.
    pub(crate) fn decide(&self, name: &str) -> bool {
        let mut state = self.lock();
        let decided = state.membership.find(name).is_some_and(|node| state.membership.decide(node));
        drop(state);
        if decided {
            self.changed.notify_one();
        }
        decided
    }

    /// Removes a node and its keys.
    pub(crate) fn remove_node(&self, node: NodeId) {
        let mut state = self.lock();
        state.membership.remove(node);
        state.vitals.remove(node);
        state.table.revoke(node);
        drop(state);
        self.changed.notify_one();
    }

    /// Makes a session's keys good. Older keys of that node stay good until the first heartbeat
    /// under these.
    fn install(&self, session: &ReceiverSession, node: NodeId) {
        self.lock().table.install(session, node);
    }

    /// Opens a datagram in place and writes the acknowledgement into `reply`; none for whatever
    /// is not authentic.
    fn handle_datagram(&self, datagram: &mut [u8], reply: &mut [u8]) -> Option<usize> {
        let mut state = self.lock();
        let State { table, membership, vitals, .. } = &mut *state;
        let now = Instant::now();
        let (node, receiver, heartbeat) = table.open(datagram)?;
        let arrival = Arrival {
            boot: heartbeat.boot_id,
            incarnation: heartbeat.incarnation,
            sequence: heartbeat.sequence,
        };
        let change = membership.handle_heartbeat(node, arrival, now);
        if membership.quarantined(node) {
            // Nobody gets a lease or learns whom we hear.
            table.revoke(node);
            drop(state);
            self.report(change.as_slice());
            return None;
        }
        // A cloned card's board must not speak for the one that it was cloned from.
        let believed = membership.contact(node).and_then(|it| it.boot()) == Some(arrival.boot);
        let power_changed = believed && vitals.handle_heartbeat(node, &heartbeat, now);
        let unreachable = membership.unreachable_set();
        let grant = Grant {
            term: self.term,
            lease_ms: self.lease_ms(),
            unreachable_version: unreachable.version,
            unreachable: unreachable.nodes,
        };
        let len = receiver.acknowledge(&heartbeat, &grant, reply);
        drop(state);
        self.report(change.as_slice());
        if power_changed {
            self.changed.notify_one();
        }
        len.ok()
    }

    async fn run_clock(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let deadline = self.lock().membership.poll_deadline();
            let at = deadline.map_or(now + HEALTH_INTERVAL, |at| at.min(now + HEALTH_INTERVAL));
            tokio::select! {
                () = Timer::at(at) => self.handle_timeout(at),
                () = self.rearm.notified() => {}
            }
        }
    }

    fn handle_timeout(&self, wanted: Instant) {
        let now = Instant::now();
        let mut state = self.lock();
        let lag = now.saturating_duration_since(wanted);
        let before = state.health.score();
        state.health.observe_timer_lag(lag, HEALTH_INTERVAL);
        let score = state.health.score();
        if score != before {
            state.membership.set_local_health(score);
        }
        let changes = state.membership.handle_timeout(now);
        drop(state);
        if score > before {
            tracing::warn!(lag_ms = lag.as_millis(), score, "the master itself is late");
        }
        self.report(&changes);
    }

    fn report(&self, changes: &[Change]) {
        for Change { node, verdict } in changes {
            if *verdict == Verdict::Quarantined {
                tracing::error!(node = node.0, "two boards use one node's certificate");
            }
            tracing::info!(node = node.0, ?verdict, "contact changed");
        }
        if !changes.is_empty() {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the table that was not used yet; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reservation {
    heartbeats: Arc<Heartbeats>,
    index: Option<SessionIndex>,
}

impl Reservation {
    /// The place's number; the keys are bound to it.
    pub(crate) fn index(&self) -> SessionIndex {
        // Only `install` takes it out, and that consumes the reservation.
        self.index.unwrap_or(SessionIndex(u32::MAX))
    }

    /// Makes the session's keys good.
    pub(crate) fn install(mut self, session: &ReceiverSession, node: NodeId) {
        self.index = None;
        self.heartbeats.install(session, node);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(index) = self.index.take() {
            self.heartbeats.lock().table.release(index);
        }
    }
}
