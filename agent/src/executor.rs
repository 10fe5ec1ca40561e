//! Does what a pod worker wants: sandbox, pulls, starts, signals, removals.
//!
//! Decides nothing. What changes the pod's folders or containers goes through one queue per pod,
//! in order; pulls and signals do not wait for it. Every outcome is sent back as an event.

mod container_spec;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bramble_agent_core::hosts::{self, Dns};
use bramble_agent_core::message::message_text;
use bramble_agent_core::pod_worker::{Action, Event, Hook, Pulled, Signal};
use bramble_agent_core::probe::{Outcome, ProbeKind};
use bramble_agent_core::stop_signal::{self, SIGTERM};
use bramble_agent_core::token::HeldToken;
use bramble_agent_core::volume::{self, Tokens, WantedToken};
use bramble_image::{Image, PullPolicy, PullSecrets, Reference};
use bramble_network::NodeNetwork;
use bramble_runtime::logs::{self, LogFiles};
use bramble_runtime::protocol::{CreateContainer, FailureReason, OwnStreams, STDIO_BUDGET_DEFAULT};
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::whole_file;
use bramble_shared::link::{self, Container, DataKey, DataKind, Pod};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::cgroups;
use crate::clock;
use crate::container_id::ContainerId;
use crate::facts;
use crate::foreign_file;
use crate::node::Node;
use crate::pod_manager::PodEvent;
use crate::pod_memory;
use crate::pod_sandbox;
use crate::probes::Target;
use crate::records;
use crate::remove_folder::remove_folder;
use crate::resolv_conf;
use crate::runtime_link::CallError;
use crate::volumes::{self, Contents};
use container_spec::{Place, PrepareError};

/// Longest termination message, in bytes; the kubelet's bound.
const MESSAGE_LEN_MAX: u64 = 4096;
/// Longest termination message from a log, in bytes and lines; the kubelet's bounds.
const MESSAGE_FROM_LOG_LEN_MAX: usize = 2048;
const MESSAGE_LINES_MAX: u64 = 80;

/// A handle on one pod's executor.
#[derive(Clone)]
pub(crate) struct PodExecutor {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Job>,
}

struct Shared {
    node: Arc<Node>,
    uid: String,
    events: mpsc::Sender<PodEvent>,
    /// The pod's own queue, for what it must do later.
    later: mpsc::WeakUnboundedSender<Job>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    pod: Pod,
    ip: Option<Ipv4Addr>,
    network: Option<Arc<NodeNetwork>>,
    images: BTreeMap<String, Image>,
    tokens: BTreeMap<WantedToken, HeldToken>,
    /// Looks at the volumes when the next token is due.
    alarm: Option<AbortHandle>,
}

/// What goes through the pod's queue.
enum Job {
    SetUp,
    UpdateVolumes,
    Start { container: String, attempt: u32 },
    Remove { container: String, attempt: u32 },
    Release,
    TearDown,
}

impl PodExecutor {
    /// Starts the queue; it ends when the last handle is dropped.
    pub(crate) fn start(
        node: Arc<Node>,
        pod: Pod,
        network: Option<Arc<NodeNetwork>>,
        events: mpsc::Sender<PodEvent>,
    ) -> Self {
        let uid = pod.uid.clone();
        let (images, tokens) = (BTreeMap::new(), BTreeMap::new());
        let state = Mutex::new(State { pod, ip: None, network, images, tokens, alarm: None });
        // Bounded by the worker: it has at most a few actions under way per container.
        let (queue, mut jobs) = mpsc::unbounded_channel();
        let later = queue.downgrade();
        let shared = Arc::new(Shared { node, uid, events, later, state });
        let worker = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                worker.run(job).await;
            }
        });
        Self { shared, queue }
    }

    /// The pod has changed.
    pub(crate) fn set_pod(&self, pod: Pod) {
        self.shared.state().pod = pod;
    }

    /// The pod's address is known.
    pub(crate) fn set_ip(&self, ip: Ipv4Addr) {
        self.shared.state().ip = Some(ip);
    }

    /// The node's network is there, or another one.
    pub(crate) fn set_network(&self, network: Option<Arc<NodeNetwork>>) {
        self.shared.state().network = network;
    }

    /// The pod has changed, or a ConfigMap or Secret of its namespace.
    pub(crate) fn update_volumes(&self) {
        let _ = self.queue.send(Job::UpdateVolumes);
    }

    /// Does an action.
    pub(crate) fn act(&self, action: Action) {
        let job = match action {
            Action::SetUpSandbox => Job::SetUp,
            Action::StartContainer { container, attempt } => Job::Start { container, attempt },
            Action::RemoveContainer { container, attempt } => Job::Remove { container, attempt },
            Action::ReleaseSandbox => Job::Release,
            Action::TearDown => Job::TearDown,
            Action::PullImage { container, image } => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { shared.pull(container, image).await });
                return;
            }
            Action::Signal { container, attempt, signal, number } => {
                let shared = Arc::clone(&self.shared);
                let all = signal == Signal::Kill;
                tokio::spawn(async move { shared.signal(&container, attempt, number, all).await });
                return;
            }
            Action::Probe { container, attempt, kind } => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { shared.probe(container, attempt, kind).await });
                return;
            }
            Action::RunHook { container, attempt, hook } => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { shared.run_hook(container, attempt, hook).await });
                return;
            }
            Action::Resize { container, attempt, resources } => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { shared.resize(container, attempt, resources).await });
                return;
            }
            Action::Report(_) | Action::EmitEvent(_) | Action::ReportRemoved => return,
        };
        let _ = self.queue.send(job);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(alarm) = self.state().alarm.take() {
            alarm.abort();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, event: Event) {
        let _ = self.events.send((self.uid.clone(), event)).await;
    }

    async fn run(&self, job: Job) {
        match job {
            Job::SetUp => {
                let event = match self.set_up().await {
                    Ok(ip) => Event::SandboxReady { ip },
                    Err((reason, message)) => {
                        Event::SandboxFailed { reason: reason.to_owned(), message }
                    }
                };
                self.tell(event).await;
            }
            Job::UpdateVolumes => self.update_volumes().await,
            Job::Start { container, attempt } => {
                let event = self.start_container(&container, attempt).await;
                self.tell(event).await;
            }
            Job::Remove { container, attempt } => {
                if let Err(error) = self.remove_container(&container, attempt).await {
                    // Tried again with the whole pod.
                    tracing::warn!(error, container, "an ended container could not be removed");
                }
            }
            Job::Release => {
                if let Err(error) = self.cleaner().release().await {
                    tracing::warn!(error, uid = %self.uid, "a finished pod's sandbox is still there");
                }
            }
            Job::TearDown => {
                let event = match self.tear_down().await {
                    Ok(()) => Event::TornDown,
                    Err(message) => Event::TearDownFailed { message },
                };
                self.tell(event).await;
            }
        }
    }

    fn cleaner(&self) -> Cleaner {
        let network = self.state().network.clone();
        Cleaner::new(Arc::clone(&self.node), network, self.uid.clone())
    }

    /// Volumes, files and network of the pod. Errors are reason and message of the event.
    async fn set_up(&self) -> Result<Ipv4Addr, (&'static str, String)> {
        const SANDBOX: &str = "FailedCreatePodSandBox";
        let State { pod, ip, network, .. } = self.state().clone();
        let ip = ip.ok_or_else(|| (SANDBOX, "the pod has no address".to_owned()))?;
        let folders = self.node.folders(&self.uid);
        pod_memory::make(&folders.memory, &pod)
            .map_err(|error| (SANDBOX, format!("could not make the pod's memory: {error}")))?;
        self.set_up_volumes(&pod, ip).await.map_err(|why| ("FailedMount", why))?;
        write_files(&self.node, &pod, ip, &folders.memory)
            .map_err(|error| (SANDBOX, format!("could not write the pod's files: {error}")))?;
        pod_sandbox::set_up(&pod, &folders)
            .map_err(|error| (SANDBOX, crate::telemetry::Chain(&error).to_string()))?;
        if !pod.host_network {
            let network =
                network.ok_or_else(|| (SANDBOX, "the node's network is not open".to_owned()))?;
            network
                .add_pod(&self.uid, ip)
                .await
                .map_err(|error| (SANDBOX, crate::telemetry::Chain(&error).to_string()))?;
        }
        Ok(ip)
    }

    /// Makes the volumes, away from the threads that serve everybody: a disk may hang.
    async fn set_up_volumes(&self, pod: &Pod, ip: Ipv4Addr) -> Result<(), String> {
        let contents = self.contents(pod, ip).await;
        let (folders, pod) = (self.node.folders(&self.uid), pod.clone());
        let made = tokio::task::spawn_blocking(move || volumes::set_up(&folders, &pod, &contents));
        made.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn contents(&self, pod: &Pod, ip: Ipv4Addr) -> Contents {
        let tokens = self.tokens(pod).await;
        let desired = self.node.desired();
        volumes::contents(pod, &self.node.world(&desired, ip), &tokens)
    }

    /// The tokens that the pod's volumes hold. Those that are due are asked for, and the volumes are
    /// looked at again when the next one is.
    async fn tokens(&self, pod: &Pod) -> Tokens {
        let mut tokens = Tokens::new();
        for wanted in volume::wanted_tokens(pod) {
            let now = clock::now().instant;
            let held = self.state().tokens.remove(&wanted);
            let token = match held {
                Some(held) if !held.stale(now) => Ok(held),
                held => match self.node.tokens.ask(pod, &wanted).await {
                    Ok((text, life_s)) => Ok(HeldToken::new(text, life_s, clock::now().instant)),
                    Err(why) => held.and_then(|held| held.kept(now)).ok_or(why),
                },
            };
            if let Ok(held) = &token {
                self.state().tokens.insert(wanted.clone(), held.clone());
            }
            tokens.insert(wanted, token.map(|held| held.text().to_owned()));
        }
        let next = self.state().tokens.values().map(HeldToken::refresh_at).min();
        let alarm = next.map(|at| {
            let later = self.later.clone();
            let alarm = tokio::spawn(async move {
                clock::sleep_until(at).await;
                // Nobody needs it if the pod is gone.
                later.upgrade().map(|queue| queue.send(Job::UpdateVolumes))
            });
            alarm.abort_handle()
        });
        if let Some(before) = std::mem::replace(&mut self.state().alarm, alarm) {
            before.abort();
        }
        tokens
    }

    async fn update_volumes(&self) {
        let State { pod, ip, .. } = self.state().clone();
        let folders = self.node.folders(&self.uid);
        let Some(ip) = ip else { return };
        // A pod without sandbox gets its volumes when it is set up.
        if !folders.memory.exists() {
            return;
        }
        let contents = self.contents(&pod, ip).await;
        let name = pod.name.clone();
        let made = tokio::task::spawn_blocking(move || volumes::update(&folders, &pod, &contents));
        for error in made.await.unwrap_or_default() {
            tracing::debug!(%error, pod = %name, "a volume was not updated");
        }
    }

    async fn pull(&self, container: String, image: String) {
        let event = match self.try_pull(&container, &image).await {
            Ok(event) => event,
            Err((reason, message)) => Event::ImageFailed { container, image, reason, message },
        };
        self.tell(event).await;
    }

    /// Pulls the image that was asked for, whatever the pod names by now.
    async fn try_pull(&self, container: &str, name: &str) -> Result<Event, (String, String)> {
        let pod = self.state().pod.clone();
        let spec = find(&pod, container)
            .ok_or_else(|| ("ErrImagePull".to_owned(), "no such container".to_owned()))?;
        let reference = Reference::parse(name)
            .map_err(|error| ("InvalidImageName".to_owned(), error.to_string()))?;
        let policy = match spec.pull_policy {
            link::PullPolicy::Always => PullPolicy::Always,
            link::PullPolicy::IfNotPresent => PullPolicy::IfNotPresent,
            link::PullPolicy::Never => PullPolicy::Never,
        };
        let secrets = self.pull_secrets(&pod);
        let here = self.node.image_store.get(&reference).is_some();
        let asks = policy == PullPolicy::Always || policy == PullPolicy::IfNotPresent && !here;
        if asks {
            let (container, image) = (container.to_owned(), name.to_owned());
            self.tell(Event::ImagePulling { container, image }).await;
        }
        let begun = clock::now().instant;
        let image =
            self.node.images.ensure(&reference, policy, &secrets).await.map_err(|error| {
                if error.disk_full() {
                    self.node.no_room.notify_one();
                }
                (error.reason().to_owned(), error.message())
            })?;
        let took = clock::now().instant.saturating_duration_since(begun);
        let pulled = asks.then(|| Pulled { took_ms: took.as_millis(), bytes: image.size_bytes });
        let ready = Event::ImageReady {
            container: container.to_owned(),
            image: name.to_owned(),
            image_id: image.image_id(),
            stop_signal: stop_signal(spec, &image),
            pulled,
        };
        let mut state = self.state();
        // The pod may name another image by now, whose pull may have been faster.
        if find(&state.pod, container).is_some_and(|spec| spec.image == name) {
            state.images.insert(container.to_owned(), image);
        }
        Ok(ready)
    }

    fn pull_secrets(&self, pod: &Pod) -> PullSecrets {
        let mut secrets = PullSecrets::default();
        let desired = self.node.desired();
        for name in &pod.pull_secrets {
            let key = DataKey {
                kind: DataKind::Secret,
                namespace: pod.namespace.clone(),
                name: name.clone(),
            };
            let Some(data) = desired.data.get(&key) else { continue };
            let added = match data.secret_type.as_str() {
                "kubernetes.io/dockercfg" => {
                    data.entries.get(".dockercfg").map(|bytes| secrets.add_dockercfg(bytes))
                }
                _ => data
                    .entries
                    .get(".dockerconfigjson")
                    .map(|bytes| secrets.add_dockerconfigjson(bytes)),
            };
            if let Some(Err(error)) = added {
                tracing::warn!(%error, secret = name, "a pull secret could not be read");
            }
        }
        secrets
    }

    async fn start_container(&self, container: &str, attempt: u32) -> Event {
        let id = ContainerId::text(&self.uid, container, attempt);
        let not_created = |reason: &str, message: String| Event::ContainerNotCreated {
            container: container.to_owned(),
            attempt,
            reason: reason.to_owned(),
            message,
        };
        let created = match self.prepare(container, attempt).await {
            Ok(created) => created,
            Err(PrepareError::Config(message)) => {
                return not_created("CreateContainerConfigError", message);
            }
            Err(PrepareError::System(message)) => {
                self.unmount(container, attempt).await;
                return not_created("CreateContainerError", message);
            }
        };
        let outcome = async {
            // What an earlier try left under this id is in the way and of no use.
            self.node.runtime.delete(&id).await?;
            self.node.runtime.create(created).await?;
            self.node.runtime.start_container(&id).await
        };
        match outcome.await {
            Ok(()) => Event::ContainerStarted { container: container.to_owned(), attempt, id },
            Err(CallError::Failed(failure)) if failure.reason == FailureReason::FenceDenied => {
                // Its init waits for a start that does not come: without the folder, nobody
                // would know of it any more.
                match self.node.runtime.delete(&id).await {
                    Ok(()) => self.unmount(container, attempt).await,
                    Err(error) => tracing::warn!(%error, id, "a refused singleton is still there"),
                }
                not_created("CreateContainerError", failure.message)
            }
            Err(CallError::Failed(failure)) => Event::ContainerNotStarted {
                container: container.to_owned(),
                attempt,
                id,
                exit_code: failure.reason.exit_code(),
                reason: failure.reason.kubernetes_reason().to_owned(),
                message: failure.message,
            },
            Err(error @ (CallError::Lost | CallError::WrongResponse)) => {
                not_created("CreateContainerError", error.to_string())
            }
        }
    }

    /// Mounts the root file system and makes the runtime spec.
    async fn prepare(
        &self,
        container: &str,
        attempt: u32,
    ) -> Result<CreateContainer, PrepareError> {
        let State { pod, ip, network, images, .. } = self.state().clone();
        let spec = find(&pod, container)
            .ok_or_else(|| PrepareError::System("no such container".to_owned()))?
            .clone();
        let image = images
            .get(container)
            .cloned()
            .ok_or_else(|| PrepareError::System("the image is not here".to_owned()))?;
        let ip = ip.ok_or_else(|| PrepareError::System("the pod has no address".to_owned()))?;
        let network = match (pod.host_network, network) {
            (true, _) => None,
            (false, Some(network)) => Some(network.namespace_path(&self.uid)),
            (false, None) => {
                return Err(PrepareError::System("the node's network is not open".to_owned()));
            }
        };
        let processes = match spec.target.as_str() {
            "" => None,
            target => Some(self.processes_of(target).await?),
        };
        let streams =
            OwnStreams { stdin: spec.stdin, stdin_once: spec.stdin_once, terminal: spec.tty };
        let node = Arc::clone(&self.node);
        let dir = self.container_dir(container, attempt);
        let made = tokio::task::spawn_blocking(move || {
            let place = Place { dir, ip, network, processes, attempt };
            container_spec::make(&node, &pod, &spec, &image, &place)
        });
        let made = made.await.map_err(|error| PrepareError::System(error.to_string()))??;
        Ok(CreateContainer {
            id: ContainerId::text(&self.uid, container, attempt),
            spec_json: made.spec_json,
            log_file: Some(made.log_file.to_string_lossy().into_owned()),
            stdio_budget_bytes: STDIO_BUDGET_DEFAULT,
            singleton: made.singleton,
            streams,
        })
    }

    /// Where the process namespace is that a running container of this pod has.
    async fn processes_of(&self, container: &str) -> Result<PathBuf, PrepareError> {
        let record = records::read(&self.node.records_dir(), &self.uid);
        let found = record
            .and_then(|record| record.containers.into_iter().find(|each| each.name == container));
        let id = found.map(|found| found.container_id).unwrap_or_default();
        let pid = self.node.runtime.pid(&id).await.ok_or_else(|| {
            PrepareError::System(format!("the target container {container} does not run"))
        })?;
        Ok(PathBuf::from(format!("/proc/{pid}/ns/pid")))
    }

    async fn probe(&self, container: String, attempt: u32, kind: ProbeKind) {
        let probe = find(&self.state().pod, &container).and_then(|spec| kind.of(spec)).cloned();
        let outcome = match (probe, self.target(&container, attempt)) {
            (Some(probe), Some(target)) => target.probe(&probe).await,
            (None, _) | (_, None) => Outcome::Unknown { message: "nothing to probe".to_owned() },
        };
        self.tell(Event::Probed { container, attempt, kind, outcome }).await;
    }

    async fn run_hook(&self, container: String, attempt: u32, hook: Hook) {
        let handler = find(&self.state().pod, &container).and_then(|spec| match hook {
            Hook::PostStart => spec.lifecycle.post_start.clone(),
            Hook::PreStop => spec.lifecycle.pre_stop.clone(),
        });
        let outcome = match (handler, self.target(&container, attempt)) {
            (Some(handler), Some(target)) => target.hook(&handler).await,
            (None, _) | (_, None) => Err("there is nothing to run".to_owned()),
        };
        if let Err(error) = &outcome {
            tracing::warn!(error, ?hook, uid = %self.uid, container, "a hook failed");
        }
        let failed = outcome.is_err();
        self.tell(Event::HookDone { container, attempt, hook, failed }).await;
    }

    async fn resize(&self, container: String, attempt: u32, resources: link::Resources) {
        let id = ContainerId::text(&self.uid, &container, attempt);
        let failure = match container_spec::resources(resources).limits() {
            Ok(limits) => {
                let updated = self.node.runtime.update(&id, limits).await;
                updated.err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        self.tell(Event::Resized { container, attempt, resources, failure }).await;
    }

    fn target(&self, container: &str, attempt: u32) -> Option<Target> {
        Some(Target {
            runtime: self.node.runtime.clone(),
            id: ContainerId::text(&self.uid, container, attempt),
            ip: self.state().ip?,
        })
    }

    async fn signal(&self, container: &str, attempt: u32, number: i32, all: bool) {
        let id = ContainerId::text(&self.uid, container, attempt);
        if let Err(error) = self.node.runtime.kill(&id, number, all).await {
            // It has ended meanwhile, or was never created: its event is on the way.
            tracing::debug!(%error, id, "a signal reached nobody");
        }
    }

    async fn remove_container(&self, container: &str, attempt: u32) -> Result<(), String> {
        let id = ContainerId::text(&self.uid, container, attempt);
        self.node.runtime.delete(&id).await.map_err(|error| error.to_string())?;
        self.unmount(container, attempt).await;
        // It was read when the container ended; a pod that restarts for weeks must not keep all.
        let message = message_file(&self.node.folders(&self.uid).memory, container, attempt);
        match std::fs::remove_file(message) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn unmount(&self, container: &str, attempt: u32) {
        let dir = self.container_dir(container, attempt);
        let done = tokio::task::spawn_blocking(move || {
            bramble_image::unmount_root(&dir).map_err(|error| error.to_string())?;
            remove_folder(&dir).map_err(|error| error.to_string())
        });
        if let Ok(Err(error)) = done.await {
            tracing::warn!(error, container, "a root file system could not be taken down");
        }
    }

    async fn tear_down(&self) -> Result<(), String> {
        let pod = self.state().pod.clone();
        let cleaner = self.cleaner();
        let mut ids = Vec::new();
        for container in all_containers(&pod) {
            // Folders say which starts left something; the last ones are tried in any case.
            ids.extend(self.starts_of(&container.name));
        }
        cleaner.clean(&ids).await
    }

    fn starts_of(&self, container: &str) -> Vec<String> {
        let folder = self.node.folders(&self.uid).disk.join("containers");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.rsplit_once('.').is_some_and(|(found, _)| found == container))
            .map(|name| format!("{}.{name}", self.uid))
            .collect()
    }

    fn container_dir(&self, container: &str, attempt: u32) -> PathBuf {
        self.node.folders(&self.uid).disk.join("containers").join(format!("{container}.{attempt}"))
    }
}

/// Removes what is left of a pod, whether anybody knows the pod or not.
pub(crate) struct Cleaner {
    node: Arc<Node>,
    network: Option<Arc<NodeNetwork>>,
    uid: String,
}

impl Cleaner {
    /// A cleaner for one pod.
    pub(crate) fn new(node: Arc<Node>, network: Option<Arc<NodeNetwork>>, uid: String) -> Self {
        Self { node, network, uid }
    }

    /// Removes containers, network, mounts, folders and logs.
    ///
    /// # Errors
    ///
    /// All that went wrong, in one line; everything has been tried.
    pub(crate) async fn clean(&self, containers: &[String]) -> Result<(), String> {
        let mut errors = Vec::new();
        for id in containers {
            if let Err(error) = self.node.runtime.delete(id).await {
                errors.push(error.to_string());
            }
        }
        if let Err(error) = self.release().await {
            errors.push(error);
        }
        let root = self.node.config.cgroup_root.trim_end_matches('/').to_owned();
        let uid = self.uid.clone();
        let folders = self.node.folders(&self.uid);
        let logs = log_folders(&self.node.config.data_dir, &self.uid);
        let removed = tokio::task::spawn_blocking(move || {
            let mut errors = Vec::new();
            for group in ["pods", "singletons"] {
                errors.extend(cgroups::remove(&format!("{root}/{group}/{uid}")));
            }
            for folder in [&folders.disk, &folders.memory] {
                if let Err(error) = volumes::remove(folder) {
                    errors.push(format!("could not remove `{}`: {error}", folder.display()));
                }
            }
            for folder in logs {
                if let Err(error) = remove_folder(&folder) {
                    errors.push(format!("could not remove `{}`: {error}", folder.display()));
                }
            }
            errors
        });
        match removed.await {
            Ok(more) => errors.extend(more),
            Err(error) => errors.push(error.to_string()),
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    /// Gives the network and the memory back; logs and results stay.
    ///
    /// # Errors
    ///
    /// All that went wrong, in one line.
    pub(crate) async fn release(&self) -> Result<(), String> {
        let mut errors = Vec::new();
        if let Some(network) = &self.network
            && let Err(error) = network.remove_pod(&self.uid).await
        {
            errors.push(crate::telemetry::Chain(&error).to_string());
        }
        let folders = self.node.folders(&self.uid);
        let removed = tokio::task::spawn_blocking(move || {
            let mut errors = Vec::new();
            let roots = folders.disk.join("containers");
            for entry in std::fs::read_dir(&roots).into_iter().flatten().flatten() {
                if let Err(error) = bramble_image::unmount_root(&entry.path()) {
                    errors.push(error.to_string());
                }
            }
            if let Err(error) = volumes::remove(&folders.memory) {
                errors.push(error.to_string());
            }
            errors
        });
        match removed.await {
            Ok(more) => errors.extend(more),
            Err(error) => errors.push(error.to_string()),
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }
}

/// What a container wrote about its end: its file, or the end of its log.
pub(crate) fn read_message(
    node: &Node,
    pod: &Pod,
    container: &str,
    attempt: u32,
    exit_code: i32,
) -> String {
    let Some(spec) = find(pod, container) else { return String::new() };
    let path = message_file(&node.folders(&pod.uid).memory, container, attempt);
    // The container may have made the file into anything.
    let mut bytes = foreign_file::read_start(&path, MESSAGE_LEN_MAX).unwrap_or_default();
    if bytes.is_empty() && spec.termination_message_from_log && exit_code != 0 {
        let log = log_files(node, pod, container, attempt);
        let end = logs::read_end(&log, MESSAGE_LINES_MAX, MESSAGE_FROM_LOG_LEN_MAX);
        bytes = end.unwrap_or_default();
    }
    message_text(&bytes, pod.init_containers.len() + pod.containers.len())
}

/// The log file of one start of a container.
pub(crate) fn log_file(node: &Node, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    let (data, namespace) = (&node.config.data_dir, &pod.namespace);
    logs::log_file(data, namespace, &pod.name, &pod.uid, container, attempt)
}

/// The places of the log of one start of a container.
pub(crate) fn log_files(node: &Node, pod: &Pod, container: &str, attempt: u32) -> LogFiles {
    let id = ContainerId::text(&pod.uid, container, attempt);
    let run_dir = RunDir::new(&node.config.run_dir);
    let disk = log_file(node, pod, container, attempt);
    LogFiles { disk, memory: Some(run_dir.newest_log(&id)) }
}

/// Log folders of a pod of which only the uid is known.
fn log_folders(data_dir: &Path, uid: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("logs")) else { return Vec::new() };
    let end = format!("_{uid}");
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(&end))
        .map(|entry| entry.path())
        .collect()
}

/// The file that becomes a container's termination message.
fn message_file(memory: &Path, container: &str, attempt: u32) -> PathBuf {
    memory.join("messages").join(format!("{container}.{attempt}"))
}

/// `/etc/hosts`, `/etc/resolv.conf` and the host name of a pod, as files to be mounted.
fn write_files(node: &Node, pod: &Pod, ip: Ipv4Addr, memory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(memory.join("messages"))?;
    let accepted = node.accepted();
    let domain = accepted.as_ref().map_or("cluster.local", |accepted| accepted.domain.as_str());
    let hosts = match pod.host_network {
        true => hosts::hosts_of_host_network(pod, &facts::text("/etc/hosts")),
        false => hosts::hosts(pod, ip, domain),
    };
    let node_resolv_conf = match pod.host_network {
        true => resolv_conf::own(),
        false => resolv_conf::for_pods(),
    };
    let address = accepted.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |accepted| accepted.dns);
    let dns = Dns { address, domain, node_resolv_conf: &node_resolv_conf };
    whole_file::replace(&memory.join("hosts"), hosts.as_bytes(), 0o644)?;
    let resolv_conf = hosts::resolv_conf(pod, &dns);
    whole_file::replace(&memory.join("resolv.conf"), resolv_conf.as_bytes(), 0o644)?;
    let hostname = format!("{}\n", pod.hostname);
    whole_file::replace(&memory.join("hostname"), hostname.as_bytes(), 0o644)
}

fn find<'a>(pod: &'a Pod, container: &str) -> Option<&'a Container> {
    all_containers(pod).find(|each| each.name == container)
}

/// All containers of a pod, of whatever kind.
pub(crate) fn all_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().chain(&pod.containers).chain(&pod.ephemeral_containers)
}

/// The signal by which a container, or else its image, wants to be stopped.
fn stop_signal(container: &Container, image: &Image) -> i32 {
    if let Some(number) = stop_signal::number(&container.lifecycle.stop_signal) {
        return number;
    }
    let Some(named) = &image.config.stop_signal else { return SIGTERM };
    stop_signal::number(named).unwrap_or_else(|| {
        let digest = image.digest;
        tracing::warn!(image = %digest, signal = named, "the image's STOPSIGNAL is no signal");
        SIGTERM
    })
}
