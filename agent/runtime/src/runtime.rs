//! The runtime process: containers, their exits and their output.
//!
//! One thread, one poll loop, no disk: all state is in the run directory (RAM), where the next
//! runtime process finds it. Knows nothing of pods or images.
//!
//! ```text
//! requests -> forked child (libcontainer) -> init of the container, a child of this process
//! pipes    -> output rings                -> log writer
//! SIGCHLD  -> exit records                -> events
//! ```

mod adoption;
mod attached;
mod bundle;
mod connection;
mod container;
mod creation;
mod dev_mounts;
mod device_control;
mod entry;
mod exec;
mod executor;
mod exits;
mod operation;
mod own_terminal;
mod record;
mod requests;
mod user_home;
mod working_directory;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::attached::Attached;
use self::connection::Connection;
use self::container::Container;
use self::exec::ExecUnderWay;
use self::exits::Ended;
use self::requests::{Deletion, Requester, UnderWay};
use crate::cgroup::Cgroups;
use crate::clock::{monotonic_ms, wall_us};
use crate::parking::{ParkingSocket, ToRuntime};
use crate::process::die_with_parent;
use crate::protocol::{Event, Failure, FailureReason, Response, ServerFrame};
use crate::run_dir::RunDir;
use crate::sys::inherited;

/// Configuration of the runtime process.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The run directory.
    pub run_dir: RunDir,
    /// Number of the inherited socket to the supervisor; without one, nothing is parked.
    pub supervisor_fd: Option<i32>,
}

/// Why the runtime process ended.
#[derive(Debug, thiserror::Error)]
pub enum RunRuntimeError {
    /// Something that it cannot work without failed.
    #[error("could not {what}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Runs the runtime process until SIGTERM; containers keep running afterwards.
///
/// # Errors
/// When the socket, the signals or the cgroups are not to be had.
pub fn run_runtime(config: &RuntimeConfig) -> Result<(), RunRuntimeError> {
    let failed = |what| move |source| RunRuntimeError::Io { what, source };
    let mut runtime = Runtime::open(config).map_err(failed("start the runtime process"))?;
    runtime.adopt().map_err(failed("adopt running containers"))?;
    while !runtime.stopping {
        runtime.turn().map_err(failed("wait for events"))?;
    }
    Ok(())
}

/// All state of the runtime process.
struct Runtime {
    run_dir: RunDir,
    cgroups: Cgroups,
    listener: UnixListener,
    signals: SignalFd,
    parking: Option<ParkingSocket>,
    log_writer: UnixDatagram,
    log_writer_woken_ms: u64,
    log_writer_due: bool,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    containers: BTreeMap<String, Container>,
    under_way: Vec<UnderWay>,
    execs: Vec<ExecUnderWay>,
    deletions: Vec<Deletion>,
    /// Who was attached to a container that has ended, and has not taken everything yet.
    parting: Vec<Attached>,
    /// Ends of processes that no operation has reported yet.
    held: BTreeMap<i32, Ended>,
    stopping: bool,
}

/// What a polled descriptor belongs to.
enum Source {
    Listener,
    Signals,
    Parking,
    Connection(u64),
    UnderWay(i32),
    Output(String),
    Adopted(String),
    Exec(i32),
    Terminal(String),
}

/// Least time between two wakes of the log writer, in milliseconds; it batches.
const WAKE_INTERVAL_MS: u64 = 100;

impl Runtime {
    fn open(config: &RuntimeConfig) -> io::Result<Self> {
        // First of all, before any other descriptor could take the number.
        let parking = config.supervisor_fd.map(inherited::take).transpose()?;
        let _named = nix::sys::prctl::set_name(c"bramble-runtime");
        die_with_parent()?;
        let run_dir = config.run_dir.clone();
        run_dir.create()?;
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let socket = run_dir.runtime_socket();
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let log_writer = UnixDatagram::unbound()?;
        log_writer.set_nonblocking(true)?;
        Ok(Self {
            run_dir,
            cgroups: Cgroups::detect()?,
            listener,
            signals,
            parking: parking.map(ParkingSocket::new),
            log_writer,
            log_writer_woken_ms: 0,
            log_writer_due: false,
            connections: BTreeMap::new(),
            next_connection: 0,
            containers: BTreeMap::new(),
            under_way: Vec::new(),
            execs: Vec::new(),
            deletions: Vec::new(),
            parting: Vec::new(),
            held: BTreeMap::new(),
            stopping: false,
        })
    }

    /// Waits for something to happen and handles it.
    fn turn(&mut self) -> io::Result<()> {
        let timeout = self.timeout();
        let ready = self.wait(timeout)?;
        for source in ready {
            match source {
                Source::Listener => self.accept(),
                Source::Signals => self.handle_signals(),
                Source::Parking => self.handle_parking(),
                Source::Connection(number) => self.handle_connection(number),
                Source::UnderWay(child) => self.handle_outcome(child),
                Source::Output(id) => self.drain(&id),
                Source::Adopted(id) => self.look_after_adopted(&id),
                Source::Exec(pid) => self.drain_exec(pid),
                Source::Terminal(id) => self.take_terminal(&id),
            }
        }
        self.resume_output();
        self.advance_execs();
        self.advance_deletions();
        self.look_after_unknown();
        self.wake_log_writer_if_due();
        self.connections.retain(|_, connection| !connection.broken);
        self.end_execs_of_nobody();
        self.look_after_attached();
        Ok(())
    }

    /// Returns how long to wait at most, in milliseconds.
    fn timeout(&self) -> Option<u16> {
        let now = monotonic_ms();
        let wake = self.log_writer_due.then(|| {
            (self.log_writer_woken_ms + WAKE_INTERVAL_MS).saturating_sub(now).clamp(1, 1000)
        });
        let exec = self.exec_timeout_ms(now);
        let soon = (!self.deletions.is_empty()).then_some(3);
        let parting = (!self.parting.is_empty()).then_some(RESUME_INTERVAL_MS);
        let paused =
            self.containers.values().any(Container::output_waits).then_some(RESUME_INTERVAL_MS);
        let unknown = self.containers.values().any(Container::end_is_awaited).then_some(50);
        [wake, exec, soon, parting, paused, unknown]
            .into_iter()
            .flatten()
            .min()
            .map(|ms| u16::try_from(ms).unwrap_or(u16::MAX))
    }

    fn wait(&self, timeout_ms: Option<u16>) -> io::Result<Vec<Source>> {
        let mut polled: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Listener, self.listener.as_fd(), PollFlags::POLLIN),
            (Source::Signals, self.signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(parking) = &self.parking {
            polled.push((Source::Parking, parking.as_fd(), PollFlags::POLLIN));
        }
        for (&number, connection) in &self.connections {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, connection.has_unsent());
            polled.push((Source::Connection(number), connection.as_fd(), flags));
        }
        for under_way in &self.under_way {
            let child = under_way.operation.child;
            polled.push((Source::UnderWay(child), under_way.operation.as_fd(), PollFlags::POLLIN));
        }
        for (id, container) in &self.containers {
            for pipe in container.readable_pipes() {
                polled.push((Source::Output(id.clone()), pipe, PollFlags::POLLIN));
            }
            if let Some(socket) = container.terminal_to_come() {
                polled.push((Source::Terminal(id.clone()), socket, PollFlags::POLLIN));
            }
            if let Some(pidfd) = container.pidfd() {
                polled.push((Source::Adopted(id.clone()), pidfd, PollFlags::POLLIN));
            }
        }
        for exec in &self.execs {
            for pipe in exec.pipes() {
                polled.push((Source::Exec(exec.pid), pipe, PollFlags::POLLIN));
            }
        }
        let mut fds: Vec<PollFd<'_>> =
            polled.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let timeout = timeout_ms.map_or(PollTimeout::NONE, PollTimeout::from);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        Ok(polled
            .into_iter()
            .zip(ready)
            .filter_map(|((source, _, _), ready)| ready.then_some(source))
            .collect())
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if let Ok(connection) = Connection::new(stream) {
                self.next_connection += 1;
                self.connections.insert(self.next_connection, connection);
            }
        }
    }

    fn handle_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if [Signal::SIGTERM, Signal::SIGINT]
                .iter()
                .any(|&stop| u32::try_from(stop as i32) == Ok(signal.ssi_signo))
            {
                self.stopping = true;
            }
        }
        self.reap();
    }

    fn handle_parking(&mut self) {
        loop {
            let Some(parking) = &self.parking else { return };
            match parking.receive::<ToRuntime>() {
                Ok(crate::parking::Received::Message(ToRuntime::Reaped, _)) => {
                    self.look_after_all_adopted();
                }
                Ok(crate::parking::Received::Message(_, _)) => {}
                Ok(crate::parking::Received::Nothing) => return,
                Ok(crate::parking::Received::End) | Err(_) => {
                    self.parking = None;
                    return;
                }
            }
        }
    }

    fn handle_connection(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.flush();
        for frame in connection.read() {
            let requester = Requester { connection: number, number: frame.number };
            self.handle_request(requester, frame.request);
        }
    }

    /// Answers a request; the client may be gone by now.
    fn respond(&mut self, to: Requester, result: Result<Response, Failure>) {
        if let Some(connection) = self.connections.get_mut(&to.connection) {
            connection.send(&ServerFrame::Response { number: to.number, result });
        }
    }

    /// Tells all subscribers.
    fn publish(&mut self, event: &Event) {
        let frame = ServerFrame::Event(event.clone());
        for connection in self.connections.values_mut() {
            if connection.subscribed {
                connection.send(&frame);
            }
        }
    }

    /// Moves what is in a container's pipes into its ring, within its budget.
    fn drain(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let drained = container.drain(wall_us(), monotonic_ms());
        for key in &drained.ended_pipes {
            self.unpark(key);
        }
        if drained.urgent {
            self.wake_log_writer();
        } else if drained.appended {
            self.log_writer_due = true;
        }
    }

    /// Tries again where a full ring had stopped the reading.
    fn resume_output(&mut self) {
        let now = monotonic_ms();
        let waiting: Vec<String> = self
            .containers
            .iter()
            .filter(|(_, container)| container.output_waits())
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            if let Some(container) = self.containers.get_mut(&id) {
                container.resume_output(now);
            }
            self.drain(&id);
        }
    }

    fn wake_log_writer_if_due(&mut self) {
        if self.log_writer_due && monotonic_ms() >= self.log_writer_woken_ms + WAKE_INTERVAL_MS {
            self.wake_log_writer();
        }
    }

    fn wake_log_writer(&mut self) {
        self.log_writer_due = false;
        self.log_writer_woken_ms = monotonic_ms();
        // A log writer that is not there looks at everything when it starts.
        let _asleep = self.log_writer.send_to(&[1], self.run_dir.log_writer_socket());
    }

    /// Parks a descriptor with the supervisor, if there is one.
    fn park(&mut self, key: &str, descriptor: &OwnedFd) {
        if let Some(parking) = &self.parking {
            let message = crate::parking::ToSupervisor::Park { key: key.to_owned() };
            if let Err(error) = parking.send(&message, Some(descriptor.as_fd())) {
                tracing::warn!(%error, key, "output pipe is not parked");
            }
        }
    }

    fn unpark(&mut self, key: &str) {
        if let Some(parking) = &self.parking {
            let message = crate::parking::ToSupervisor::Unpark { key: key.to_owned() };
            if let Err(error) = parking.send(&message, None) {
                tracing::warn!(%error, key, "output pipe stays parked");
            }
        }
    }
}

/// Interval at which a full ring is looked at again, in milliseconds.
const RESUME_INTERVAL_MS: u64 = 10;

/// Makes a failure of an I/O error.
fn io_failure(what: &str, error: &io::Error) -> Failure {
    Failure::new(FailureReason::Internal, format!("could not {what}: {error}"))
}
