//! Carries out the requests of clients.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use libcontainer::container::{Container as LibContainer, ContainerStatus as LibStatus};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_spec::runtime::Spec;

use super::bundle::Bundle;
use super::container::{Container, input_key, parking_key, terminal_key};
use super::exec::ExecPlan;
use super::operation::{Kept, Operation, Stdio};
use super::own_terminal;
use super::record::Record;
use super::{Runtime, io_failure};
use crate::cgroup::SetLimitsError;
use crate::clock::{monotonic_ms, wall_us};
use crate::error_chain::Chain;
use crate::fence::client::FenceClient;
use crate::output::{OutputRing, Stream};
use crate::process;
use crate::protocol::{
    CONTAINER_ID_LEN_MAX, ContainerState, CreateContainer, Event, Failure, FailureReason, Limits,
    Request, Response, STDIO_BUDGET_DEFAULT,
};
use crate::sys::signals;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Requester {
    pub(super) connection: u64,
    pub(super) number: u64,
}

/// An operation whose child is at work.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) operation: Operation,
    pub(super) requester: Requester,
    pub(super) id: String,
    /// What an exec needs further on; a create otherwise.
    pub(super) exec: Option<ExecPlan>,
}

/// A container on its way out.
#[derive(Debug)]
pub(super) struct Deletion {
    id: String,
    requester: Option<Requester>,
    /// In place of the plain answer: the failure of the create that made this necessary.
    because: Option<Failure>,
    deadline_ms: u64,
}

/// How long the processes of a container may take to die, in milliseconds.
const DELETE_MS: u64 = 10_000;

/// Longest wait for the fence's answer.
const FENCE_TIMEOUT: Duration = Duration::from_millis(200);

impl Deletion {
    pub(super) fn new(id: &str, requester: Option<Requester>, now_ms: u64) -> Self {
        Self { id: id.to_owned(), requester, because: None, deadline_ms: now_ms + DELETE_MS }
    }
}

impl Runtime {
    pub(super) fn handle_request(&mut self, from: Requester, request: Request) {
        let result = match request {
            Request::Create(create) => self.create(from, &create).map(|()| None),
            Request::Start { id } => self.start(&id).map(Some),
            Request::Kill { id, signal, all } => self.kill(&id, signal, all).map(Some),
            Request::Delete { id, force } => self.delete(from, &id, force),
            Request::List => Ok(Some(self.list())),
            Request::Update { id, limits } => self.update(&id, limits).map(Some),
            Request::Attach(attach) => self.attach(from, &attach).map(|()| None),
            Request::CloseInput { id } => self.close_input(&id).map(Some),
            Request::Exec(exec) => self.exec(from, &exec).map(|()| None),
            Request::OpenExec(open) => self.open_exec(from, &open).map(|()| None),
            Request::Subscribe => {
                if let Some(connection) = self.connections.get_mut(&from.connection) {
                    connection.subscribed = true;
                }
                Ok(Some(self.list()))
            }
        };
        match result {
            Ok(Some(response)) => self.respond(from, Ok(response)),
            // The answer comes later.
            Ok(None) => {}
            Err(failure) => self.respond(from, Err(failure)),
        }
    }

    fn list(&self) -> Response {
        Response::Containers(self.containers.values().map(Container::status).collect())
    }

    pub(super) fn container(&mut self, id: &str) -> Result<&mut Container, Failure> {
        self.containers.get_mut(id).ok_or_else(|| {
            Failure::new(FailureReason::NotFound, format!("container `{id}` not found"))
        })
    }

    fn create(&mut self, from: Requester, create: &CreateContainer) -> Result<(), Failure> {
        let id = &create.id;
        check_id(id)?;
        if self.containers.contains_key(id) {
            let text = format!("container `{id}` exists already");
            return Err(Failure::new(FailureReason::AlreadyExists, text));
        }
        let spec = parse_spec(&create.spec_json)?;
        let (cgroup_path, uid, gid) = facts_of(&spec)?;
        let mut spec = spec;
        if create.streams.terminal {
            own_terminal::want(&mut spec);
        }
        let bundle = Bundle::new(spec, &self.cgroups, &cgroup_path)
            .map_err(|error| Failure::new(FailureReason::Invalid, error.to_string()))?;
        if create.singleton {
            // Nothing is made for a start that would be refused; the start itself asks again.
            ask_fence(&self.run_dir.fence_socket(), &cgroup_path)?;
        }
        let made = self.begin_create(from, create, bundle, (uid, gid));
        made.map_err(|error| {
            self.forget(id);
            io_failure(&format!("create container `{id}`"), &error)
        })
    }

    fn begin_create(
        &mut self,
        from: Requester,
        create: &CreateContainer,
        bundle: Bundle,
        (uid, gid): (u32, u32),
    ) -> io::Result<()> {
        let id = &create.id;
        let directory = self.run_dir.containers().join(id);
        // Left-overs of one whose record was never written.
        remove_directory(&directory)?;
        remove_directory(&self.run_dir.libcontainer().join(id))?;
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("config.json"), serde_json::to_vec(&bundle.spec)?)?;
        let budget = match create.stdio_budget_bytes {
            0 => STDIO_BUDGET_DEFAULT,
            bytes => bytes,
        };
        let ring = create
            .log_file
            .as_ref()
            .map(|target| OutputRing::create(self.run_dir.output().join(id), target, budget))
            .transpose()?;
        let record = Record {
            id: id.clone(),
            state: ContainerState::Creating,
            start_ticks: 0,
            cgroup_path: bundle.cgroup_path.clone(),
            created_at_us: wall_us(),
            started_at_us: None,
            log_file: create.log_file.clone(),
            stdio_budget_bytes: budget,
            singleton: create.singleton,
            streams: create.streams,
        };
        record.save(&directory)?;
        let (stdio, kept) = Stdio::open(uid, gid, create.streams)?;
        let mut container = Container::new(record, directory.clone(), ring);
        match kept {
            Kept::Pipes { stdin, stdout, stderr } => {
                self.park(&parking_key(id, Stream::Stdout), &stdout);
                self.park(&parking_key(id, Stream::Stderr), &stderr);
                container.add_pipe(Stream::Stdout, stdout);
                container.add_pipe(Stream::Stderr, stderr);
                if let Some(stdin) = stdin {
                    self.park(&input_key(id), &stdin);
                    container.input = Some(stdin);
                }
            }
            Kept::Terminal(socket) => {
                self.park(&terminal_key(id), &socket);
                container.terminal = Some(socket);
            }
        }
        let root = self.run_dir.libcontainer();
        let operation = Operation::create(id, &root, &directory, stdio, bundle, &self.cgroups)?;
        self.containers.insert(id.clone(), container);
        self.under_way.push(UnderWay { operation, requester: from, id: id.clone(), exec: None });
        Ok(())
    }

    /// The child has something to say.
    pub(super) fn handle_outcome(&mut self, child: i32) {
        let Some(index) = self.position_of(child) else { return };
        let outcome = self.under_way.get_mut(index).and_then(|one| one.operation.outcome());
        if let Some(outcome) = outcome {
            self.finish_operation(index, outcome);
        }
    }

    /// The child has ended; if it had something to say, it has said it.
    pub(super) fn operation_ended(&mut self, child: i32) {
        let Some(index) = self.position_of(child) else { return };
        let outcome = self.under_way.get_mut(index).map(|one| one.operation.last_outcome());
        if let Some(outcome) = outcome {
            self.finish_operation(index, outcome);
        }
    }

    fn position_of(&self, child: i32) -> Option<usize> {
        self.under_way.iter().position(|one| one.operation.child == child)
    }

    fn finish_operation(&mut self, index: usize, outcome: Result<i32, Failure>) {
        let under_way = self.under_way.remove(index);
        match under_way.exec {
            Some(plan) => self.exec_begun(under_way.id, under_way.requester, plan, outcome),
            None => self.created(&under_way.id, under_way.requester, outcome),
        }
    }

    fn created(&mut self, id: &str, requester: Requester, outcome: Result<i32, Failure>) {
        let deleted_meanwhile = self.deletions.iter().any(|deletion| deletion.id == id);
        match outcome {
            Ok(pid) => {
                let Some(container) = self.containers.get_mut(id) else { return };
                container.record.start_ticks = process::start_ticks(pid).unwrap_or(0);
                container.set_state(ContainerState::Created { pid });
                self.respond(requester, Ok(Response::Created { pid }));
                if let Some(end) = self.held.remove(&pid) {
                    self.container_ended(id, Some(end));
                }
            }
            Err(failure) if deleted_meanwhile => self.respond(requester, Err(failure)),
            Err(failure) => {
                // What libcontainer left behind goes before the answer.
                let mut deletion = Deletion::new(id, Some(requester), monotonic_ms());
                deletion.because = Some(failure);
                self.deletions.push(deletion);
            }
        }
    }

    fn start(&mut self, id: &str) -> Result<Response, Failure> {
        let libcontainer = self.run_dir.libcontainer().join(id);
        let fence = self.run_dir.fence_socket();
        let container = self.container(id)?;
        let ContainerState::Created { pid } = container.record.state else {
            let text = format!("container `{id}` is not waiting for its start");
            return Err(Failure::new(FailureReason::WrongState, text));
        };
        if container.record.singleton {
            // Its init is in the fenced cgroup by now, so a lease that is lost from here on
            // stops it whatever this process does.
            ask_fence(&fence, &container.record.cgroup_path)?;
        }
        let notified = notify_start(&libcontainer);
        notified.map_err(|error| io_failure(&format!("start container `{id}`"), &error))?;
        let now = wall_us();
        container.record.started_at_us = Some(now);
        container.set_state(ContainerState::Running { pid });
        // Exec wants to see it running; the container itself does not depend on it.
        if let Err(error) = mark_running(&libcontainer) {
            tracing::warn!(id, error, "exec into this container will fail");
        }
        self.publish(&Event::Started { id: id.to_owned(), pid, at_us: now });
        Ok(Response::Started)
    }

    fn update(&mut self, id: &str, limits: Limits) -> Result<Response, Failure> {
        let cgroups = self.cgroups.clone();
        let container = self.container(id)?;
        if container.pid().is_none() {
            let text = format!("container `{id}` does not run");
            return Err(Failure::new(FailureReason::WrongState, text));
        }
        match cgroups.set_limits(&container.record.cgroup_path, limits) {
            Ok(()) => Ok(Response::Updated),
            Err(error @ SetLimitsError::BelowUsage { .. }) => {
                Err(Failure::new(FailureReason::Invalid, error.to_string()))
            }
            Err(error) => Err(Failure::new(FailureReason::Internal, Chain(&error).to_string())),
        }
    }

    fn kill(&mut self, id: &str, signal: i32, all: bool) -> Result<Response, Failure> {
        if !(1..=signals::NUMBER_MAX).contains(&signal) {
            let text = format!("there is no signal {signal}");
            return Err(Failure::new(FailureReason::Invalid, text));
        }
        let cgroups = self.cgroups.clone();
        let container = self.container(id)?;
        let pid = container.pid().filter(|&pid| {
            // Until it is reaped its pid cannot become another process'; an adopted one's can.
            container.adopted.is_none() || process::runs(pid, container.record.start_ticks)
        });
        if all {
            cgroups.signal_all(&container.record.cgroup_path, signal);
        } else if let Some(pid) = pid {
            // It may have ended just now: its exit is on its way.
            let _ended = signals::send(pid, signal);
        }
        if signal == Signal::SIGKILL as i32 {
            // What froze itself would not die.
            cgroups.thaw(&container.record.cgroup_path);
        }
        Ok(Response::Killed)
    }

    fn delete(
        &mut self,
        from: Requester,
        id: &str,
        force: bool,
    ) -> Result<Option<Response>, Failure> {
        let Some(container) = self.containers.get(id) else {
            return Ok(Some(Response::Deleted));
        };
        match container.record.state {
            ContainerState::Running { .. } if !force => {
                let text = format!("container `{id}` is running; it can only be deleted by force");
                return Err(Failure::new(FailureReason::WrongState, text));
            }
            ContainerState::Creating if !force => {
                let text = format!("container `{id}` is being created");
                return Err(Failure::new(FailureReason::WrongState, text));
            }
            ContainerState::Creating
            | ContainerState::Created { .. }
            | ContainerState::Running { .. }
            | ContainerState::Exited(_) => {}
        }
        self.deletions.push(Deletion::new(id, Some(from), monotonic_ms()));
        Ok(None)
    }

    /// Carries deletions on: kill, wait until nothing runs, remove the cgroup, then the state.
    pub(super) fn advance_deletions(&mut self) {
        for deletion in std::mem::take(&mut self.deletions) {
            match self.try_delete(&deletion.id) {
                Ok(true) => self.deleted(deletion),
                Ok(false) if monotonic_ms() < deletion.deadline_ms => self.deletions.push(deletion),
                Ok(false) => {
                    let text = format!("processes of container `{}` do not die", deletion.id);
                    self.delete_failed(&deletion, Failure::new(FailureReason::Internal, text));
                }
                Err(error) => {
                    let what = format!("delete container `{}`", deletion.id);
                    self.delete_failed(&deletion, io_failure(&what, &error));
                }
            }
        }
    }

    /// Goes one step; returns whether nothing is left.
    fn try_delete(&mut self, id: &str) -> io::Result<bool> {
        let Some(container) = self.containers.get_mut(id) else { return Ok(true) };
        let cgroup_path = container.record.cgroup_path.clone();
        if self.under_way.iter().any(|one| one.id == id && one.exec.is_none()) {
            // The child of a create would go on making things.
            return Ok(false);
        }
        if let Some(pid) = container.pid()
            && (container.adopted.is_none() || process::runs(pid, container.record.start_ticks))
        {
            let _ended = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if self.cgroups.exists(&cgroup_path) {
            self.cgroups.kill_all(&cgroup_path);
            if !self.cgroups.remove(&cgroup_path)? {
                return Ok(false);
            }
        }
        // Its exit is told before it goes.
        Ok(self.containers.get(id).is_none_or(|container| container.pid().is_none()))
    }

    fn deleted(&mut self, deletion: Deletion) {
        let container = self.containers.get(&deletion.id);
        let known = container.is_some();
        let failed = deletion.because.is_some();
        let discard = container.is_none_or(|one| one.record.started_at_us.is_none());
        self.forget(&deletion.id);
        if discard {
            // It never ran, so there is nothing to log.
            let _gone = fs::remove_dir_all(self.run_dir.output().join(&deletion.id));
        }
        if known && !failed {
            self.publish(&Event::Deleted { id: deletion.id });
        }
        if let Some(requester) = deletion.requester {
            let result = deletion.because.map_or(Ok(Response::Deleted), Err);
            self.respond(requester, result);
        }
    }

    fn delete_failed(&mut self, deletion: &Deletion, failure: Failure) {
        tracing::error!(id = %deletion.id, %failure, "container not deleted");
        if let Some(requester) = deletion.requester {
            self.respond(requester, Err(deletion.because.clone().unwrap_or(failure)));
        }
    }

    /// Removes all that this process keeps of a container.
    fn forget(&mut self, id: &str) {
        let keys = match self.containers.get_mut(id) {
            Some(container) => container.finish_output(wall_us(), monotonic_ms()),
            None => Vec::new(),
        };
        for key in keys {
            self.unpark(&key);
        }
        self.detach_all(id);
        if let Some(container) = self.containers.remove(id)
            && container.record.singleton
        {
            // A grant that stays costs a few bytes until the lease ends, so once is enough.
            let _unheard = FenceClient::connect(&self.run_dir.fence_socket(), FENCE_TIMEOUT)
                .and_then(|mut fence| fence.release(&container.record.cgroup_path));
        }
        self.wake_log_writer();
        for directory in [self.run_dir.libcontainer().join(id), self.run_dir.containers().join(id)]
        {
            if let Err(error) = remove_directory(&directory) {
                tracing::error!(id, %error, "state of a deleted container stays");
            }
        }
    }
}

fn check_id(id: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    let named = !id.is_empty() && id != "." && id != ".." && id.len() <= CONTAINER_ID_LEN_MAX;
    if named && id.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::new(FailureReason::Invalid, format!("container id `{id}` is invalid")))
}

pub(super) fn parse_spec(json: &[u8]) -> Result<Spec, Failure> {
    serde_json::from_slice(json).map_err(|error| {
        Failure::new(FailureReason::Invalid, format!("runtime spec is invalid: {error}"))
    })
}

/// Returns the cgroup path and the user of a spec.
pub(super) fn facts_of(spec: &Spec) -> Result<(String, u32, u32), Failure> {
    let invalid = |text: String| Failure::new(FailureReason::Invalid, text);
    let cgroup_path = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.cgroups_path().as_ref())
        .filter(|path| path.is_absolute() && path.components().count() > 1)
        .and_then(|path| path.to_str())
        .ok_or_else(|| invalid("runtime spec needs an absolute `linux.cgroupsPath`".to_owned()))?
        .to_owned();
    let rooted = spec.root().as_ref().is_some_and(|root| root.path().is_absolute());
    if !rooted {
        return Err(invalid("runtime spec needs an absolute `root.path`".to_owned()));
    }
    let user = spec.process().as_ref().map(|process| process.user());
    let (uid, gid) = user.map_or((0, 0), |user| (user.uid(), user.gid()));
    Ok((cgroup_path, uid, gid))
}

/// Lets the init of a created container go on.
fn notify_start(libcontainer: &Path) -> io::Result<()> {
    // Through a descriptor, since a socket's path may not be longer than 107 bytes.
    let directory = File::open(libcontainer)?;
    let path = format!("/proc/self/fd/{}/notify.sock", directory.as_raw_fd());
    UnixStream::connect(path)?.write_all(b"start container")
}

fn mark_running(libcontainer: &Path) -> Result<(), String> {
    let mut container =
        LibContainer::load(libcontainer.to_owned()).map_err(|error| error.to_string())?;
    container.set_status(LibStatus::Running).save().map_err(|error| error.to_string())
}

fn ask_fence(socket: &Path, cgroup_path: &str) -> Result<(), Failure> {
    let denied = |why: String| {
        Failure::new(FailureReason::FenceDenied, format!("singleton may not start: {why}"))
    };
    let granted = FenceClient::connect(socket, FENCE_TIMEOUT)
        .and_then(|mut fence| fence.grant(cgroup_path))
        .map_err(|error| denied(error.to_string()))?;
    if granted { Ok(()) } else { Err(denied("this node holds no lease".to_owned())) }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
