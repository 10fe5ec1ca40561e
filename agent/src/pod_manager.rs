//! Runs the pod workers: feeds them what happens, hands out what they want done.
//!
//! One task owns all workers, so there is no lock around decisions. It never waits for anything
//! slow: actions are done by [`PodExecutor`]s and spawned tasks, which send events back.
//!
//! ```text
//! link client --changes-->  pod manager --actions--> executor of the pod --> runtime, images,
//! runtime ----events----->   (workers)  <--events--                           volumes, network
//! link client <--statuses--     |
//!                            records (run directory)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bramble_agent_core::address::PodAddresses;
use bramble_agent_core::admission::admit;
use bramble_agent_core::desired::Touched;
use bramble_agent_core::overlap::overlap;
use bramble_agent_core::pod_worker::{Action, Event, Exit, Found, PodWorker};
use bramble_network::{NodeNetwork, NodeNetworkConfig};
use bramble_runtime::protocol::{self, ContainerState, ContainerStatus};
use bramble_shared::link::{Accepted, DataKey, Ipv4Range, NodeConditions, Pod, ToMaster};
use bramble_shared::node_set::NodeSet;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::container_id::ContainerId;
use crate::dns;
use crate::executor::{Cleaner, PodExecutor, read_message};
use crate::interfaces;
use crate::link_client::LinkEvent;
use crate::network;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::records;
use crate::runtime_link::Notice;

/// Longest sleep of the loop, so that the heartbeat's progress counter moves on a calm node.
const ROUND_MAX: embassy_time::Duration = embassy_time::Duration::from_millis(1000);

/// Longest wait for what an earlier boot left behind; it goes on being removed after that.
const CLEAN_UP_MAX: embassy_time::Duration = embassy_time::Duration::from_secs(10);

/// Shortest and longest wait until a pod network that could not be opened is tried again.
const NETWORK_WAIT_MIN: embassy_time::Duration = embassy_time::Duration::from_secs(1);
const NETWORK_WAIT_MAX: embassy_time::Duration = embassy_time::Duration::from_secs(60);

/// An event for one pod.
pub(crate) type PodEvent = (String, Event);

/// All pods of the node.
pub(crate) struct PodManager {
    node: Arc<Node>,
    pods: BTreeMap<String, Slot>,
    addresses: Option<PodAddresses>,
    network: Option<Arc<NodeNetwork>>,
    /// Rules, routes and DNS. Dropping them ends them.
    network_tasks: JoinSet<()>,
    network_changed: Arc<Notify>,
    unreachable: watch::Receiver<NodeSet>,
    link: Option<Outbox>,
    /// Why there is no pod network.
    network_problem: Option<String>,
    /// When a pod network that could not be opened is tried again, and how long that waits.
    network_retry: Option<(embassy_time::Instant, embassy_time::Duration)>,
    events: mpsc::Sender<PodEvent>,
    received: Option<mpsc::Receiver<PodEvent>>,
    /// Pods that were found after a restart; adopted once the runtime has told its containers.
    to_adopt: Option<Vec<bramble_agent_core::pod_worker::PodRecord>>,
}

struct Slot {
    worker: PodWorker,
    executor: PodExecutor,
}

impl PodManager {
    /// A manager that has not looked around yet.
    pub(crate) fn new(node: Arc<Node>, unreachable: watch::Receiver<NodeSet>) -> Self {
        let (events, received) = mpsc::channel(1024);
        Self {
            node,
            pods: BTreeMap::new(),
            addresses: None,
            network: None,
            network_tasks: JoinSet::new(),
            network_changed: Arc::new(Notify::new()),
            unreachable,
            link: None,
            network_problem: None,
            network_retry: None,
            events,
            received: Some(received),
            to_adopt: None,
        }
    }

    /// Where events for pods go.
    pub(crate) fn events(&self) -> mpsc::Sender<PodEvent> {
        self.events.clone()
    }

    /// Runs for ever.
    pub(crate) async fn run(
        mut self,
        mut link: mpsc::Receiver<LinkEvent>,
        mut runtime: mpsc::Receiver<Notice>,
    ) {
        let records_dir = self.node.records_dir();
        if let Some((services, peers)) = records::read_cluster(&records_dir) {
            self.node.desired_mut().restore(services, peers);
        }
        if let Some(accepted) = records::read_accepted(&records_dir) {
            self.accept(accepted).await;
        }
        self.to_adopt = Some(records::read_all(&records_dir));
        // Nothing is decided before the runtime has said what runs.
        let mut cleaning = JoinSet::new();
        while self.to_adopt.is_some() {
            match runtime.recv().await {
                Some(Notice::Containers(containers)) => cleaning = self.adopt(&containers),
                Some(Notice::Event(_)) => {}
                None => return,
            }
        }
        // After a reboot the master sends the same pods again. Their folders of before must be
        // gone by then, or what is cleaned up would be what has just been made.
        let latest = clock::now().instant + CLEAN_UP_MAX;
        while !cleaning.is_empty() && clock::now().instant < latest {
            self.node.progress.note_pod_manager();
            tokio::select! {
                _ = cleaning.join_next() => {}
                notice = runtime.recv() => match notice {
                    Some(notice) => self.runtime_notice(notice),
                    None => return,
                },
                () = clock::sleep_until(latest) => {
                    tracing::warn!(pods = cleaning.len(), "old pods are still being removed");
                }
            }
        }
        cleaning.detach_all();
        let Some(mut received) = self.received.take() else { return };
        loop {
            self.node.progress.note_pod_manager();
            let deadline = self.next_deadline();
            tokio::select! {
                event = link.recv() => match event {
                    Some(event) => self.link_event(event).await,
                    None => return,
                },
                notice = runtime.recv() => match notice {
                    Some(notice) => self.runtime_notice(notice),
                    None => return,
                },
                event = received.recv() => match event {
                    Some((uid, event)) => self.pod_event(&uid, event),
                    None => return,
                },
                () = clock::sleep_until(deadline) => {}
            }
            self.timers();
            self.retry_network().await;
        }
    }

    fn next_deadline(&self) -> embassy_time::Instant {
        let latest = clock::now().instant + ROUND_MAX;
        let pods = self.pods.values().filter_map(|slot| slot.worker.next_deadline());
        let retry = self.network_retry.map(|(at, _)| at);
        pods.chain(retry).fold(latest, embassy_time::Instant::min)
    }

    fn timers(&mut self) {
        let now = clock::now().instant;
        let due: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, slot)| slot.worker.next_deadline().is_some_and(|at| at <= now))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in due {
            self.pod_event(&uid, Event::Timer);
        }
    }

    async fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Welcomed(accepted, link) => {
                self.link = Some(link);
                self.accept(*accepted).await;
                self.node.desired_mut().welcomed();
                self.send(ToMaster::Node(self.conditions()));
                self.send_everything();
            }
            LinkEvent::Change(change) => {
                let touched = self.node.desired_mut().apply(change);
                if let Some(touched) = touched {
                    self.touched(touched);
                }
            }
            LinkEvent::Synced => {
                let present: Vec<String> = self.pods.keys().cloned().collect();
                let touched = self.node.desired_mut().synced(present.iter().map(String::as_str));
                for touched in touched {
                    self.touched(touched);
                }
                // Tokens may have grown old while nobody could be asked.
                for slot in self.pods.values() {
                    slot.executor.update_volumes();
                }
                self.node.progress.note_synced();
            }
            LinkEvent::Closed => self.link = None,
        }
    }

    /// Notes what the master says about this node, and opens the network once the range is known.
    async fn accept(&mut self, accepted: Accepted) {
        if let Err(error) = records::write_accepted(&self.node.records_dir(), &accepted) {
            tracing::warn!(%error, "the master's welcome could not be kept");
        }
        let (range, services) = (accepted.pod_range, accepted.service_range);
        let changed = self.addresses.as_ref().is_none_or(|held| held.range() != range);
        self.node.set_accepted(accepted);
        if changed {
            self.addresses = Some(PodAddresses::new(range));
            // Only a node that was deleted and joined again gets another range; its old pods
            // are gone with it.
            self.network = None;
        }
        if self.network.is_none() {
            self.network_retry = None;
            self.open_network(range, services).await;
        }
        self.network_changed.notify_one();
    }

    /// Tries again to open a pod network that could not be: whatever was in the way (a module that
    /// is loaded late, an interface of that name) may be gone, and no new link has to tell.
    async fn retry_network(&mut self) {
        let due = self.network_retry.is_some_and(|(at, _)| at <= clock::now().instant);
        if !due {
            return;
        }
        let Some(Accepted { pod_range, service_range, .. }) = self.node.accepted() else { return };
        self.open_network(pod_range, service_range).await;
        if self.network.is_some() {
            self.network_changed.notify_one();
            self.send(ToMaster::Node(self.conditions()));
        }
    }

    async fn open_network(&mut self, pod_range: Ipv4Range, service_range: Ipv4Range) {
        self.network_tasks.shutdown().await;
        let config = NodeNetworkConfig {
            bridge: self.node.config.bridge.clone(),
            pod_range,
            service_range,
            run_dir: self.node.config.run_dir.clone(),
        };
        match self.open_unless_in_the_way(config).await {
            Ok(network) => {
                self.network_problem = None;
                let network = Arc::new(network);
                let rules = network::keep(
                    Arc::clone(&self.node),
                    Arc::clone(&network),
                    Arc::clone(&self.network_changed),
                    self.unreachable.clone(),
                );
                let names = dns::serve(
                    Arc::clone(&self.node),
                    Arc::clone(&network),
                    Arc::clone(&self.network_changed),
                    self.unreachable.clone(),
                );
                let mut tasks = JoinSet::new();
                tasks.spawn(rules);
                tasks.spawn(names);
                self.network_tasks = tasks;
                self.network = Some(network);
                self.network_retry = None;
            }
            Err(error) => {
                let error = crate::telemetry::Chain(&*error).to_string();
                self.network_problem = Some(error.clone());
                let wait = self
                    .network_retry
                    .map_or(NETWORK_WAIT_MIN, |(_, wait)| (wait * 2).min(NETWORK_WAIT_MAX));
                tracing::error!(error, wait_s = wait.as_secs(), "the pod network is not open");
                self.network_retry = Some((clock::now().instant + wait, wait));
            }
        }
        for slot in self.pods.values() {
            slot.executor.set_network(self.network.clone());
        }
    }

    /// Opens the pod network, unless a network that the board is in would be cut off by it.
    async fn open_unless_in_the_way(
        &self,
        config: NodeNetworkConfig,
    ) -> Result<NodeNetwork, Box<dyn std::error::Error + Send + Sync>> {
        let cluster_range = self.node.accepted().map(|accepted| accepted.cluster_range);
        let networks = interfaces::networks(&config.bridge)?;
        if let Some(cluster_range) = cluster_range
            && let Some(overlap) = overlap(&networks, cluster_range, config.service_range)
        {
            return Err(overlap.into());
        }
        Ok(NodeNetwork::open(config).await?)
    }

    fn conditions(&self) -> NodeConditions {
        let ready = self.network.is_some();
        let message = match (ready, &self.network_problem) {
            (true, _) => "",
            (false, Some(problem)) => problem,
            (false, None) => "the pod network could not be opened",
        };
        NodeConditions {
            ready,
            message: message.to_owned(),
            memory_pressure: false,
            disk_pressure: false,
            pid_pressure: false,
        }
    }

    fn send_everything(&mut self) {
        let statuses: Vec<ToMaster> =
            self.pods.values().map(|slot| ToMaster::Pod(Box::new(slot.worker.status()))).collect();
        for status in statuses {
            self.send(status);
        }
    }

    fn touched(&mut self, touched: Touched) {
        match touched {
            Touched::Pod(pod) => self.wanted(*pod),
            Touched::PodGone(uid) => {
                self.pod_event(&uid, Event::Gone);
            }
            Touched::Data(key) => self.data_changed(&key),
            Touched::Network => self.network_changed.notify_one(),
        }
    }

    fn wanted(&mut self, pod: Pod) {
        let uid = pod.uid.clone();
        if self.pods.contains_key(&uid) {
            return self.pod_event(&uid, Event::Desired(Box::new(pod)));
        }
        let here = self.pods.values().map(|slot| &slot.worker).filter(|worker| !worker.ended());
        let (worker, actions) = match admit(&pod, here.map(PodWorker::pod)) {
            Ok(()) => PodWorker::new(pod, clock::now()),
            Err(rejection) => PodWorker::rejected(pod, rejection, clock::now()),
        };
        self.insert(worker, actions);
    }

    fn insert(&mut self, worker: PodWorker, actions: Vec<Action>) {
        let uid = worker.pod().uid.clone();
        let executor = PodExecutor::start(
            Arc::clone(&self.node),
            worker.pod().clone(),
            self.network.clone(),
            self.events.clone(),
        );
        if let Some(ip) = worker.pod_ip() {
            executor.set_ip(ip);
            self.node.set_pod_ip(&uid, Some(ip));
            self.network_changed.notify_one();
        }
        self.pods.insert(uid.clone(), Slot { worker, executor });
        self.apply(&uid, actions);
    }

    /// Pods that use a ConfigMap or Secret get its new content in their volumes, and those that
    /// wait for it try again.
    fn data_changed(&mut self, key: &DataKey) {
        let users: BTreeSet<String> = self
            .pods
            .iter()
            .filter(|(_, slot)| slot.worker.pod().namespace == key.namespace)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in users {
            if let Some(slot) = self.pods.get(&uid) {
                slot.executor.update_volumes();
            }
            self.pod_event(&uid, Event::DataChanged);
        }
    }

    fn pod_event(&mut self, uid: &str, event: Event) {
        let Some(slot) = self.pods.get_mut(uid) else { return };
        if let Event::Desired(pod) = &event {
            slot.executor.set_pod((**pod).clone());
            // Its labels and annotations may be files.
            slot.executor.update_volumes();
        }
        tracing::debug!(uid, ?event, "event");
        let actions = slot.worker.on_event(event, clock::now());
        self.apply(uid, actions);
    }

    fn apply(&mut self, uid: &str, actions: Vec<Action>) {
        // Before anybody hears of it or acts upon it: who reads the record must not find an older
        // state than the master has been told.
        if actions.iter().any(is_recorded) {
            self.record(uid);
        }
        for action in actions {
            tracing::debug!(uid, ?action, "action");
            match action {
                Action::Report(status) => self.send(ToMaster::Pod(status)),
                Action::EmitEvent(event) => self.send(ToMaster::Event(event)),
                Action::ReportRemoved => self.removed(uid),
                Action::SetUpSandbox => self.set_up(uid),
                Action::ReleaseSandbox => {
                    self.node.set_pod_ip(uid, None);
                    self.network_changed.notify_one();
                    if let Some(addresses) = &mut self.addresses {
                        addresses.release(uid);
                    }
                    if let Some(slot) = self.pods.get(uid) {
                        slot.executor.act(Action::ReleaseSandbox);
                    }
                }
                action @ (Action::Probe { .. }
                | Action::RunHook { .. }
                | Action::Resize { .. }
                | Action::PullImage { .. }
                | Action::StartContainer { .. }
                | Action::Signal { .. }
                | Action::RemoveContainer { .. }
                | Action::TearDown) => {
                    if let Some(slot) = self.pods.get(uid) {
                        slot.executor.act(action);
                    }
                }
            }
        }
    }

    fn record(&self, uid: &str) {
        let Some(slot) = self.pods.get(uid) else { return };
        if let Err(error) = records::write(&self.node.records_dir(), &slot.worker.record()) {
            tracing::error!(%error, uid, "a pod's record could not be written");
        }
    }

    /// Deals an address and lets the executor do the rest.
    fn set_up(&mut self, uid: &str) {
        let Some(slot) = self.pods.get(uid) else { return };
        let pod = slot.worker.pod();
        let failed = |message: String| Event::SandboxFailed {
            reason: "FailedCreatePodSandBox".to_owned(),
            message,
        };
        let outcome = if pod.host_network {
            Ok(self.node.address())
        } else {
            match &mut self.addresses {
                Some(addresses) => addresses.allocate(uid).map_err(|error| error.to_string()),
                None => Err("the node has no pod range yet".to_owned()),
            }
        };
        match outcome {
            Ok(ip) => {
                slot.executor.set_ip(ip);
                if !pod.host_network {
                    self.node.set_pod_ip(uid, Some(ip));
                    self.network_changed.notify_one();
                }
                slot.executor.act(Action::SetUpSandbox);
            }
            Err(message) => {
                let event = (uid.to_owned(), failed(message));
                // Through the queue: the worker is in the middle of its actions.
                if let Err(error) = self.events.try_send(event) {
                    tracing::error!(%error, "the pod manager's queue is full");
                }
            }
        }
    }

    fn removed(&mut self, uid: &str) {
        let Some(slot) = self.pods.remove(uid) else { return };
        self.node.set_pod_ip(uid, None);
        self.network_changed.notify_one();
        if let Some(addresses) = &mut self.addresses {
            addresses.release(uid);
        }
        records::remove(&self.node.records_dir(), uid);
        self.node.desired_mut().removed(uid);
        let pod = slot.worker.pod();
        tracing::info!(pod = %pod.name, namespace = %pod.namespace, "pod removed");
        self.send(ToMaster::PodRemoved {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: uid.to_owned(),
        });
    }

    fn send(&mut self, message: ToMaster) {
        let Some(link) = &self.link else { return };
        if !link.send(message) {
            // The link is slow or gone. The session ends, and the next one begins with everything.
            self.link = None;
        }
    }

    fn runtime_notice(&mut self, notice: Notice) {
        self.node.progress.note_runtime();
        match notice {
            Notice::Event(protocol::Event::Exited { id, exit }) => self.exited(&id, &exit),
            // Answers to starts say the same, with the outcome of the start.
            Notice::Event(protocol::Event::Started { .. } | protocol::Event::Deleted { .. }) => {}
            Notice::Containers(containers) => self.runtime_is_back(&containers),
        }
    }

    fn exited(&mut self, id: &str, exit: &protocol::Exit) {
        let Some(ContainerId { uid, container, attempt }) = ContainerId::parse(id) else { return };
        let Some(slot) = self.pods.get(&uid) else { return };
        let exit = exit_of(&self.node, slot.worker.pod(), &container, attempt, exit);
        self.pod_event(&uid, Event::ContainerExited { container, attempt, exit });
    }

    /// The runtime process was started again: exits that nobody told are found in its list.
    fn runtime_is_back(&mut self, containers: &[ContainerStatus]) {
        let mut known = BTreeSet::new();
        for status in containers {
            if let ContainerState::Exited(exit) = &status.state {
                self.exited(&status.id, exit);
            }
            known.insert(status.id.clone());
        }
        let lost: Vec<(String, String, u32)> = self
            .pods
            .iter()
            .flat_map(|(uid, slot)| {
                let containers = slot.worker.record().containers;
                let uid = uid.clone();
                containers.into_iter().filter_map(move |container| {
                    let running = matches!(
                        container.state,
                        bramble_shared::link::ContainerState::Running { .. }
                    );
                    running.then(|| (uid.clone(), container.name, container.attempt))
                })
            })
            .filter(|(uid, container, attempt)| {
                !known.contains(&ContainerId::text(uid, container, *attempt))
            })
            .collect();
        for (uid, container, attempt) in lost {
            let exit = Exit {
                code: 137,
                signal: 0,
                reason: "ContainerStatusUnknown".to_owned(),
                message: "The runtime process lost this container".to_owned(),
                finished_ms: clock::now().time_of_day_ms,
            };
            self.pod_event(&uid, Event::ContainerExited { container, attempt, exit });
        }
    }

    /// Takes over what the agent before left, and starts to clean up what nobody knows.
    fn adopt(&mut self, containers: &[ContainerStatus]) -> JoinSet<()> {
        let mut cleaning = JoinSet::new();
        let Some(records) = self.to_adopt.take() else { return cleaning };
        let known: BTreeSet<String> = records.iter().map(|r| r.pod.uid.clone()).collect();
        let sandboxes: BTreeSet<String> =
            self.network.iter().flat_map(|network| network.pods()).collect();
        for record in records {
            let uid = record.pod.uid.clone();
            let found: Vec<Found> = containers
                .iter()
                .filter_map(|status| {
                    let id = ContainerId::parse(&status.id)?;
                    (id.uid == uid).then_some((id, status))
                })
                .map(|(id, status)| Found {
                    exit: match &status.state {
                        ContainerState::Exited(exit) => {
                            Some(exit_of(&self.node, &record.pod, &id.container, id.attempt, exit))
                        }
                        ContainerState::Creating
                        | ContainerState::Created { .. }
                        | ContainerState::Running { .. } => None,
                    },
                    container: id.container,
                    attempt: id.attempt,
                    id: status.id.clone(),
                })
                .collect();
            if let (Some(ip), Some(addresses)) = (record.pod_ip, &mut self.addresses)
                && !record.pod.host_network
                && !record.finished
            {
                addresses.hold(&uid, ip);
            }
            let sandbox = record.pod.host_network || sandboxes.contains(&uid);
            let pod = record.pod.clone();
            let (worker, actions) = PodWorker::adopt(record, &found, sandbox, clock::now());
            tracing::info!(pod = %pod.name, namespace = %pod.namespace, "pod adopted");
            self.node.desired_mut().pods.insert(uid, pod);
            self.insert(worker, actions);
        }
        let mut strangers: BTreeSet<String> = sandboxes;
        strangers.extend(
            containers.iter().filter_map(|status| Some(ContainerId::parse(&status.id)?.uid)),
        );
        for folder in [&self.node.config.data_dir, &self.node.config.run_dir] {
            let Ok(entries) = std::fs::read_dir(folder.join("pods")) else { continue };
            strangers
                .extend(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()));
        }
        for uid in strangers.difference(&known) {
            let containers: Vec<String> = containers
                .iter()
                .filter(|status| ContainerId::parse(&status.id).is_some_and(|id| id.uid == *uid))
                .map(|status| status.id.clone())
                .collect();
            let cleaner = Cleaner::new(Arc::clone(&self.node), self.network.clone(), uid.clone());
            cleaning.spawn(async move {
                if let Err(error) = cleaner.clean(&containers).await {
                    tracing::warn!(error, "what is left of an old pod could not be removed");
                }
            });
        }
        cleaning
    }
}

/// Tells whether an action follows from a state that must outlive the agent.
fn is_recorded(action: &Action) -> bool {
    matches!(
        action,
        Action::Report(_)
            | Action::PullImage { .. }
            | Action::StartContainer { .. }
            | Action::Signal { .. }
            | Action::RemoveContainer { .. }
            | Action::TearDown
    )
}

/// How a container ended, with its termination message.
fn exit_of(node: &Node, pod: &Pod, container: &str, attempt: u32, exit: &protocol::Exit) -> Exit {
    Exit {
        code: exit.code,
        signal: exit.signal.unwrap_or(0),
        reason: exit.reason().to_owned(),
        message: read_message(node, pod, container, attempt, exit.code),
        finished_ms: exit.finished_at_us / 1000,
    }
}
