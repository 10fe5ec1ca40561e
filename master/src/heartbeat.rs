//! Heartbeats of all nodes: sessions, membership and acknowledgements.
//!
//! A thread of their own reads the socket and lets time pass; others only ask and tell under the
//! lock, for microseconds. Nothing here waits for the store, a log or a request, so that neither a
//! slow card nor a busy API server makes a node look dead.

mod filter;
mod listener;
mod table;
mod term;

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard};

use bramble_master_core::membership::{Arrival, Change, Contacts, Hearing, Membership, Verdict};
use bramble_master_core::vitals::{PowerState, Vitals, VitalsTable};
use bramble_process::panics;
use bramble_shared::heartbeat_receiver::{Grant, ReceiverSession};
use bramble_shared::ids::{BootId, NodeId, SessionIndex};
use bramble_shared::lease::{LeaseProfile, LeaseProfileError};
use bramble_shared::local_health::LocalHealth;
use bramble_store::{Store, StoreError};
use embassy_time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use listener::Wake;
use table::SessionTable;

/// Interval of our own health check, so that a busy master notices it also when nobody is late.
const HEALTH_INTERVAL: Duration = Duration::from_millis(100);

/// Remarks that wait to be logged: as many verdicts as there may be nodes.
const REMARKS_MAX: usize = 2 * bramble_shared::limits::NODES_MAX;

/// Why heartbeats could not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartHeartbeatsError {
    /// The term could not be raised.
    #[error("could not store the new term")]
    Term(#[from] StoreError),
    /// The lease would be unsafe.
    #[error(transparent)]
    Lease(#[from] LeaseProfileError),
    /// No thread, or a socket that takes no filter.
    #[error("could not start the heartbeats' thread")]
    Thread(#[source] io::Error),
}

/// All heartbeat sessions; shared by listener, clock, node link and control loop.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    state: Mutex<State>,
    /// Wakes the control loop when somebody's contact has changed.
    changed: Notify,
    /// Wakes the thread when it may have to be earlier.
    wake: Wake,
    /// What is to be logged: the thread itself must not wait for a log.
    remarks: mpsc::Sender<Remark>,
    term: u64,
    profile: LeaseProfile,
}

/// Something for the log.
#[derive(Debug)]
enum Remark {
    Changed(Change),
    /// The thread itself was late.
    Late {
        lag: Duration,
        score: u8,
    },
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
    ) -> Result<(Arc<Self>, JoinHandle<()>), StartHeartbeatsError> {
        profile.check()?;
        let term = term::raise(store).await?;
        let state = State {
            table: SessionTable::default(),
            // Versions count within a term, and the term has just been raised.
            membership: Membership::new(1),
            vitals: VitalsTable::default(),
            health: LocalHealth::default(),
        };
        let (wake, woken) = Wake::new().map_err(StartHeartbeatsError::Thread)?;
        let (remarks, remarked) = mpsc::channel(REMARKS_MAX);
        let heartbeats = Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            wake,
            remarks,
            term,
            profile,
        });
        tracing::info!(term, "heartbeats begin");
        listener::start(socket, woken, Arc::clone(&heartbeats))
            .map_err(StartHeartbeatsError::Thread)?;
        Ok((heartbeats, tokio::spawn(log(remarked))))
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.wake.stop();
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
        self.wake.wake();
    }

    /// Adds a node that is not known yet; whether it is our own board, its session will tell.
    pub(crate) fn ensure_node(&self, node: NodeId, name: &str, quarantined: bool) {
        let mut state = self.lock();
        if state.membership.contact(node).is_none() {
            state.membership.add(node, name, false, quarantined, Instant::now());
            drop(state);
            self.wake.wake();
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
        let quarantined = membership.quarantined(node);
        let believed = membership.contact(node).and_then(|it| it.boot()) == Some(arrival.boot);
        if quarantined || !believed {
            // A cloned card's board must not speak for the one that it was cloned from, nor get a
            // lease or learn whom we hear.
            if quarantined {
                table.revoke(node);
            }
            drop(state);
            self.report(change.as_slice());
            return None;
        }
        let power_changed = vitals.handle_heartbeat(node, &heartbeat, now);
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

    /// When time must be let pass at the latest.
    fn deadline(&self) -> Option<Instant> {
        self.lock().membership.poll_deadline()
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
            self.remark(Remark::Late { lag, score });
        }
        self.report(&changes);
    }

    fn report(&self, changes: &[Change]) {
        changes.iter().for_each(|change| self.remark(Remark::Changed(*change)));
        if !changes.is_empty() {
            self.changed.notify_one();
        }
    }

    fn remark(&self, remark: Remark) {
        // The log is behind; what counts is told through the contacts.
        let _ = self.remarks.try_send(remark);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|_| panics::torn("the heartbeats' state"))
    }
}

/// Writes remarks into the log.
async fn log(mut remarks: mpsc::Receiver<Remark>) {
    while let Some(remark) = remarks.recv().await {
        match remark {
            Remark::Changed(Change { node, verdict }) => {
                if verdict == Verdict::Quarantined {
                    tracing::error!(node = node.0, "two boards use one node's certificate");
                }
                tracing::info!(node = node.0, ?verdict, "contact changed");
            }
            Remark::Late { lag, score } => {
                tracing::warn!(lag_ms = lag.as_millis(), score, "the master itself is late");
            }
        }
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
