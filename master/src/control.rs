//! The control loop: watches the store, decides with the pure cores, carries out what they want.
//!
//! Level-based: what could not be done now is decided again by a later run. Two kinds of runs: the
//! scheduler's, which counts what it decided as done and so may run while its bindings are still
//! being stored, and the controllers', each in a lane of its own on what changes made worth a look,
//! which wait until they see their own writes, lest they do things twice.

pub(crate) mod events;
mod execute;
mod feed;
#[cfg(test)]
mod field_tests;
mod node_leases;
mod tracks;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use bramble_master_core::action::Action;
use bramble_master_core::controllers::lanes::{LANES, Lane};
use bramble_master_core::controllers::{World, contacts_change_at};
use bramble_master_core::scheduler::Scheduler;
use bramble_master_core::view::resource::{ObjectKey, Resource};
use bramble_master_core::view::timestamp::Timestamp;
use bramble_shared::ids::NodeId;
use bramble_shared::lease::LeaseProfile;
use bramble_store::{Revision, StoreError};
use embassy_time::{Duration, Instant, Timer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::access::AccountTokens;
use crate::clock;
use crate::config::Config;
use crate::heartbeat::{Heartbeats, StartHeartbeatsError};
use crate::link::{ClusterFacts, NODE_ID_ANNOTATION, NodeLink};
use crate::objects::Objects;
use crate::pki::Identity;
use crate::telemetry::Chain;
use crate::token::Tokens;
use events::EventRecorder;
use execute::Executor;
use feed::Feed;
use tracks::Tracks;
use wake::Wake;

/// Pause after a run, so that a burst of changes is decided on together.
const COALESCE: Duration = Duration::from_millis(2);
/// Time between two looks for events that are too old.
const EXPIRE_EVENTS: Duration = Duration::from_secs(60);
/// Time between two looks of the controllers at everything, for what no change pointed at.
const FULL_PASS: Duration = Duration::from_secs(600);
/// Pause before a controller looks again at what it could not do, if nothing changes before, in
/// milliseconds.
const FAILED_PAUSE_MS: i64 = 1_000;
/// Pause before the store is read again after its watch failed.
const RETRY: Duration = Duration::from_millis(200);
/// Domain of cluster DNS.
const DOMAIN: &str = "cluster.local";

/// Why the control loop could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartControlError {
    /// The UDP port could not be had.
    #[error("could not listen for heartbeats on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    /// Heartbeats could not be started.
    #[error("could not start heartbeats")]
    Heartbeats(#[from] StartHeartbeatsError),
}

/// The running parts.
#[derive(Debug)]
pub(crate) struct Control {
    /// The node link, to be given to the API server.
    pub(crate) nodes: Arc<NodeLink>,
    heartbeats: Arc<Heartbeats>,
    tasks: Vec<JoinHandle<()>>,
}

impl Control {
    /// Ends all tasks. Nothing is lost: a later start decides on what it finds.
    pub(crate) fn stop(&self) {
        self.heartbeats.stop();
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts heartbeats, node link and control loop.
///
/// # Errors
///
/// When the UDP port is taken, the term cannot be stored, or the lease would be unsafe.
pub(crate) async fn start(
    config: &Config,
    objects: &Objects,
    identity: &Arc<Identity>,
    tokens: &Arc<Tokens>,
    account_tokens: &Arc<AccountTokens>,
) -> Result<Control, StartControlError> {
    bramble_clock::install();
    let address = SocketAddr::new(config.listen.ip(), config.heartbeat_port);
    let listen = |source| StartControlError::Listen { address, source };
    let socket = UdpSocket::bind(address).map_err(listen)?;
    let heartbeat_port = socket.local_addr().map_err(listen)?.port();
    let (heartbeats, logging) =
        Heartbeats::start(socket, objects.store().as_ref(), LeaseProfile::FAST).await?;
    let events = Arc::new(EventRecorder::new(objects.clone()));
    let facts = ClusterFacts {
        cluster_range: config.cluster_range,
        service_range: config.service_range,
        dns: config.dns_service_address(),
        domain: DOMAIN.to_owned(),
        heartbeat_port,
        master_address: config.advertise_address,
    };
    let nodes = Arc::new(NodeLink::new(
        Arc::clone(identity),
        (Arc::clone(tokens), Arc::clone(account_tokens)),
        objects.clone(),
        Arc::clone(&events),
        Arc::clone(&heartbeats),
        facts,
    ));
    let control = ControlLoop {
        objects: objects.clone(),
        executor: Executor::new(objects.clone(), Arc::clone(&events)),
        heartbeats: Arc::clone(&heartbeats),
        nodes: Arc::clone(&nodes),
        scheduler: Scheduler::new(),
        root_ca: Arc::from(identity.authority.ca_pem()),
        numbers: BTreeMap::new(),
    };
    let mut tasks = vec![logging];
    tasks.push(tokio::spawn(control.run()));
    tasks.push(tokio::spawn(node_leases::run(objects.clone(), Arc::clone(&heartbeats))));
    tasks.push(tokio::spawn(async move {
        loop {
            Timer::after(EXPIRE_EVENTS).await;
            events.expire().await;
        }
    }));
    Ok(Control { nodes, heartbeats, tasks })
}

#[derive(Debug)]
struct ControlLoop {
    objects: Objects,
    executor: Executor,
    heartbeats: Arc<Heartbeats>,
    nodes: Arc<NodeLink>,
    scheduler: Scheduler,
    /// The CA's certificate, PEM.
    root_ca: Arc<str>,
    /// Numbers of the nodes that membership knows, by name.
    numbers: BTreeMap<Arc<str>, NodeId>,
}

/// What ended, of what was being carried out.
#[derive(Debug)]
enum Done {
    /// A binding failed: the pod (by uid) is not where the scheduler thinks.
    NotBound(Arc<str>),
    /// An eviction that is to make room failed, of the pod with this uid.
    NotEvicted(Arc<str>),
    /// A lane's actions are done; all its writes have at most this revision. The keys are those to
    /// be looked at again, since something failed.
    Lane(Lane, Revision, BTreeSet<ObjectKey>),
}

impl ControlLoop {
    async fn run(mut self) {
        let mut feed = Feed::new(Arc::clone(self.nodes.desired()));
        loop {
            let error = match self.run_watch(&mut feed).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if let StoreError::Stopped { .. } = error {
                tracing::error!(error = %Chain(&error), "the control loop ends with the store");
                return;
            }
            tracing::warn!(error = %Chain(&error), "watch ended, reading everything again");
            Timer::after(RETRY).await;
        }
    }

    /// Reads everything, then follows changes until the watch fails.
    async fn run_watch(&mut self, feed: &mut Feed) -> Result<std::convert::Infallible, StoreError> {
        let mut watch = feed.list(self.objects.store().as_ref()).await?;
        self.scheduler.rebuild(feed.snapshot());
        self.follow_nodes(feed);
        let (done_in, mut done) = mpsc::unbounded_channel();
        let mut schedule = true;
        let mut control = true;
        let mut tracks = Tracks::default();
        let mut full_pass_at = Instant::now() + FULL_PASS;
        let mut wake = Wake::new(Instant::now());
        loop {
            if schedule {
                schedule = false;
                let wait = self.schedule(feed, &done_in);
                wake.scheduler_ran(Instant::now(), wait);
            }
            if control {
                if Instant::now() >= full_pass_at {
                    feed.parts().1.note_everything();
                    full_pass_at = Instant::now() + FULL_PASS;
                }
                let (waiting, wait) = self.control(feed, &done_in, &mut tracks);
                control = waiting;
                wake.controllers_ran(Instant::now(), wait);
            }
            let wait = async {
                match wake.at(!control) {
                    Some(at) => Timer::at(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                batch = watch.next() => {
                    let mut nodes_changed = feed.apply(&batch?, &mut self.scheduler);
                    // What else is there already belongs to the same run.
                    let _ = embassy_time::with_timeout(COALESCE, async {
                        while feed.changed() {
                            match watch.next().await {
                                Ok(batch) => {
                                    nodes_changed |= feed.apply(&batch, &mut self.scheduler);
                                }
                                // The next turn meets the error again.
                                Err(_) => break,
                            }
                        }
                    })
                    .await;
                    if nodes_changed {
                        self.follow_nodes(feed);
                    }
                    if feed.take_changed() {
                        schedule = true;
                        control = true;
                    }
                }
                () = self.heartbeats.changed() => {
                    self.nodes.end_quarantined();
                    schedule = true;
                    control = true;
                }
                Some(done) = done.recv() => match done {
                    Done::NotBound(uid) => {
                        self.scheduler.forget(&uid);
                        schedule = true;
                    }
                    Done::NotEvicted(uid) => {
                        self.scheduler.not_evicted(&uid);
                        schedule = true;
                    }
                    Done::Lane(lane, revision, failed) => {
                        tracks.end(lane, revision);
                        let again = Timestamp(now().0.saturating_add(FAILED_PAUSE_MS));
                        feed.parts().1.note_failed(lane, failed, again);
                        control = true;
                    }
                },
                () = wait => {
                    let due = wake.due(Instant::now());
                    control |= due.controllers;
                    schedule |= due.scheduler;
                }
            }
        }
    }

    /// Runs the scheduler and has its actions carried out; returns after how long to run again.
    fn schedule(&mut self, feed: &Feed, done: &mpsc::UnboundedSender<Done>) -> Option<Duration> {
        let now = now();
        let actions = self.scheduler.reconcile(feed.snapshot(), now);
        let wait = self.scheduler.next_deadline().map(|at| until(at, now));
        if actions.is_empty() {
            return wait;
        }
        let (executor, done) = (self.executor.clone(), done.clone());
        tokio::spawn(async move {
            for failed in executor.execute(actions).await {
                // The loop may have ended.
                if let Action::Bind { target, .. } = failed {
                    let _ = done.send(Done::NotBound(target.uid));
                } else if let Action::Evict { target, .. } = failed {
                    let _ = done.send(Done::NotEvicted(target.uid));
                }
            }
        });
        wait
    }

    /// Runs all lanes that have something to look at, and has their actions carried out. Returns
    /// whether some lane waits for what it did last, and after how long to run again.
    fn control(
        &self,
        feed: &mut Feed,
        done: &mpsc::UnboundedSender<Done>,
        tracks: &mut Tracks,
    ) -> (bool, Option<Duration>) {
        let (now, seen) = (now(), feed.revision());
        let (snapshot, lanes) = feed.parts();
        let (contacts, power) = (self.heartbeats.contacts(), self.heartbeats.power());
        lanes.note_contacts(snapshot, &contacts);
        let world =
            World { snapshot, contacts: &contacts, power: &power, root_ca: &self.root_ca, now };
        let mut waiting = false;
        for lane in LANES {
            if !lanes.pending(lane, now) {
                continue;
            }
            if !tracks.free(lane, seen) {
                waiting = true;
                continue;
            }
            let run = lanes.run(lane, &world);
            if run.actions.is_empty() {
                continue;
            }
            tracks.begin(lane);
            let (executor, done) = (self.executor.clone(), done.clone());
            let objects = self.objects.clone();
            tokio::spawn(async move {
                let failed = executor.execute(run.actions).await;
                let keys = if failed.is_empty() { BTreeSet::new() } else { run.keys };
                // The loop may have ended.
                let _ = done.send(Done::Lane(lane, objects.revision(), keys));
            });
        }
        let deadline =
            lanes.next_deadline().into_iter().chain(contacts_change_at(&contacts, now)).min();
        (waiting, deadline.map(|at| until(at, now)))
    }

    /// Tells membership which nodes there are.
    fn follow_nodes(&mut self, feed: &Feed) {
        let mut present = BTreeMap::new();
        for node in feed.snapshot().nodes().values() {
            let number = node.meta.annotations.get(NODE_ID_ANNOTATION);
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                present.insert(Arc::clone(&node.meta.name), NodeId(number));
            }
        }
        for (name, id) in &self.numbers {
            if present.get(name) != Some(id) {
                self.heartbeats.remove_node(*id);
                self.nodes.disconnect(name);
            }
        }
        for (name, id) in &present {
            let quarantined = feed.snapshot().node(name).is_some_and(|node| node.quarantined());
            self.heartbeats.ensure_node(*id, name, quarantined);
        }
        self.numbers = present;
    }
}

/// The resources whose changes concern no controller.
fn is_noise(resource: &Resource) -> bool {
    matches!(
        (&*resource.group, &*resource.plural),
        ("" | "events.k8s.io", "events") | ("coordination.k8s.io", "leases")
    )
}

fn now() -> Timestamp {
    Timestamp(i64::try_from(clock::time_of_day_ms()).unwrap_or(i64::MAX))
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0))
}
