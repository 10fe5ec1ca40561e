//! One container of the runtime process: its record, its pipes and its ring.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::attached::Attached;
use super::operation::read_pipe;
use super::record::Record;
use crate::output::{OutputRing, Stream};
use crate::protocol::{ContainerState, ContainerStatus};

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) record: Record,
    /// Where its record and bundle are.
    pub(super) directory: PathBuf,
    pipes: Vec<(Stream, OwnedFd)>,
    ring: Option<OutputRing>,
    /// Set while a full ring stops the reading: since when, in milliseconds.
    waits_since_ms: Option<u64>,
    retry: bool,
    output_ended: bool,
    /// Where input goes, if it has any; not for a terminal.
    pub(super) input: Option<OwnedFd>,
    /// The master of its terminal arrives here.
    pub(super) terminal: Option<OwnedFd>,
    /// Who is attached to it.
    pub(super) attached: Vec<Attached>,
    /// Its init is not a child of this process: becomes readable when it ends.
    pub(super) adopted: Option<OwnedFd>,
    /// An adopted init has ended; since when its exit is awaited, in milliseconds.
    pub(super) awaits_exit_since_ms: Option<u64>,
}

/// What [`Container::drain`] did.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) appended: bool,
    /// The ring is full, or nothing more will come.
    pub(super) urgent: bool,
    /// Keys of pipes that have ended.
    pub(super) ended_pipes: Vec<String>,
}

/// Most bytes that are read from one container in one round, so that none starves the others.
const ROUND_LEN_MAX: usize = 128 * 1024;

/// Bytes of one read.
const READ_LEN: usize = 16 * 1024;

/// How long a full ring holds a container's output up before the oldest is dropped, in
/// milliseconds. A healthy log writer empties a ring in a few; one that hangs or is gone must
/// not block containers.
const PATIENCE_MS: u64 = 2_000;

impl Container {
    pub(super) fn new(record: Record, directory: PathBuf, ring: Option<OutputRing>) -> Self {
        Self {
            record,
            directory,
            pipes: Vec::new(),
            ring,
            waits_since_ms: None,
            retry: false,
            output_ended: false,
            input: None,
            terminal: None,
            attached: Vec::new(),
            adopted: None,
            awaits_exit_since_ms: None,
        }
    }

    /// Adds a pipe to read from.
    pub(super) fn add_pipe(&mut self, stream: Stream, pipe: OwnedFd) {
        self.pipes.push((stream, pipe));
    }

    /// Where input goes.
    pub(super) fn input_fd(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(|input| input.as_fd())
    }

    /// The socket on which the master of its terminal is to arrive.
    pub(super) fn terminal_to_come(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(|socket| socket.as_fd())
    }

    /// The master of its terminal, for input and for its size.
    pub(super) fn master(&self) -> Option<BorrowedFd<'_>> {
        let terminal = self.record.streams.terminal;
        self.pipes.first().filter(|_| terminal).map(|(_, pipe)| pipe.as_fd())
    }

    /// Returns the pid of its init while it has one that was not reaped.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.record.state {
            ContainerState::Created { pid } | ContainerState::Running { pid } => Some(pid),
            ContainerState::Creating | ContainerState::Exited(_) => None,
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
        ContainerStatus {
            id: self.record.id.clone(),
            state: self.record.state.clone(),
            cgroup_path: self.record.cgroup_path.clone(),
            created_at_us: self.record.created_at_us,
            started_at_us: self.record.started_at_us,
            output_bytes_lost: self.ring.as_ref().map_or(0, OutputRing::lost),
        }
    }

    /// Changes the state for this process and its successors.
    pub(super) fn set_state(&mut self, state: ContainerState) {
        self.record.state = state;
        self.save();
    }

    pub(super) fn save(&self) {
        if let Err(error) = self.record.save(&self.directory) {
            tracing::error!(id = %self.record.id, %error, "container record not saved");
        }
    }

    /// The pipes to wait for; none while a full ring stops the reading.
    pub(super) fn readable_pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let reading = self.waits_since_ms.is_none();
        self.pipes.iter().filter(move |_| reading).map(|(_, pipe)| pipe.as_fd())
    }

    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.adopted.as_ref().filter(|_| self.awaits_exit_since_ms.is_none()).map(|fd| fd.as_fd())
    }

    pub(super) fn output_waits(&self) -> bool {
        self.waits_since_ms.is_some()
    }

    pub(super) fn end_is_awaited(&self) -> bool {
        self.awaits_exit_since_ms.is_some()
    }

    /// Reads again if the log writer took something, or drops the oldest when it was too slow. The
    /// same for who is attached, who is cut off then.
    pub(super) fn resume_output(&mut self, now_ms: u64) {
        self.attached.retain_mut(|one| one.flush(now_ms));
        if self.attached.iter().any(Attached::is_behind) {
            return;
        }
        let (Some(since), Some(ring)) = (self.waits_since_ms, &mut self.ring) else {
            self.waits_since_ms = None;
            return;
        };
        if ring.full(READ_SPACE) {
            if now_ms.saturating_sub(since) < PATIENCE_MS {
                return;
            }
            let lost = ring.drop_oldest();
            tracing::warn!(id = %self.record.id, lost, "container output dropped");
            // From now on without patience, until the log writer is back.
            self.waits_since_ms = None;
            self.retry = true;
            return;
        }
        self.waits_since_ms = None;
        self.retry = false;
    }

    /// Moves what is in the pipes into the ring.
    pub(super) fn drain(&mut self, now_us: u64, now_ms: u64) -> Drained {
        let mut drained = Drained::default();
        if self.waits_since_ms.is_some() {
            return drained;
        }
        let mut round = 0;
        let mut buffer = [0; READ_LEN];
        let mut ended = Vec::new();
        'pipes: for (stream, pipe) in &self.pipes {
            while round < ROUND_LEN_MAX {
                if self.attached.iter().any(Attached::is_behind) {
                    self.waits_since_ms = Some(now_ms);
                    break 'pipes;
                }
                if let Some(ring) = &mut self.ring
                    && ring.full(READ_SPACE)
                {
                    drained.urgent = true;
                    if !self.retry {
                        self.waits_since_ms = Some(now_ms);
                        break 'pipes;
                    }
                    ring.drop_oldest();
                }
                let Some(len) = read_pipe(pipe, &mut buffer) else { break };
                if len == 0 {
                    ended.push(*stream);
                    break;
                }
                round += len;
                drained.appended = true;
                let bytes = buffer.get(..len).unwrap_or_default();
                append(self.ring.as_mut(), *stream, now_us, bytes);
                self.attached.iter_mut().for_each(|one| one.take(*stream, bytes, now_ms));
            }
        }
        self.pipes.retain(|(stream, _)| !ended.contains(stream));
        drained.ended_pipes =
            ended.into_iter().map(|stream| parking_key(&self.record.id, stream)).collect();
        if self.pipes.is_empty() && !drained.ended_pipes.is_empty() {
            self.end_output();
            drained.urgent = true;
        }
        drained
    }

    /// Takes what is left in the pipes and closes them: nothing of the container runs any more.
    /// Returns the keys of the closed pipes.
    pub(super) fn finish_output(&mut self, now_us: u64, now_ms: u64) -> Vec<String> {
        let pipes = std::mem::take(&mut self.pipes);
        let mut buffer = [0; READ_LEN];
        let mut keys = Vec::new();
        for (stream, pipe) in pipes {
            let mut left = LAST_READ_LEN_MAX;
            while let Some(len) = read_pipe(&pipe, &mut buffer)
                && len > 0
                && left > 0
            {
                let bytes = buffer.get(..len).unwrap_or_default();
                append(self.ring.as_mut(), stream, now_us, bytes);
                self.attached.iter_mut().for_each(|one| one.take(stream, bytes, now_ms));
                left = left.saturating_sub(len);
            }
            keys.push(parking_key(&self.record.id, stream));
        }
        self.waits_since_ms = None;
        self.end_output();
        keys.extend(self.input.take().map(|_| input_key(&self.record.id)));
        keys.extend(self.terminal.take().map(|_| terminal_key(&self.record.id)));
        keys
    }

    /// Tells the log writer, once, that nothing more comes.
    fn end_output(&mut self) {
        if self.output_ended {
            return;
        }
        self.output_ended = true;
        if let Some(ring) = &mut self.ring
            && let Err(error) = ring.end()
        {
            tracing::warn!(id = %self.record.id, %error, "end of output not noted");
        }
    }

    /// Without pipes that could be read there is no more output to come.
    pub(super) fn end_output_without_pipes(&mut self) {
        if self.pipes.is_empty() && self.terminal.is_none() {
            self.end_output();
        }
    }
}

/// Key of a container's pipe at the supervisor.
pub(super) fn parking_key(id: &str, stream: Stream) -> String {
    match stream {
        Stream::Stdout => format!("{id}/1"),
        Stream::Stderr => format!("{id}/2"),
    }
}

/// Key of a container's input at the supervisor.
pub(super) fn input_key(id: &str) -> String {
    format!("{id}/0")
}

/// Key of the socket on which the master of a container's terminal is to arrive.
pub(super) fn terminal_key(id: &str) -> String {
    format!("{id}/t")
}

fn append(ring: Option<&mut OutputRing>, stream: Stream, now_us: u64, data: &[u8]) {
    let Some(ring) = ring else { return };
    let appended: io::Result<()> = ring.append(stream, now_us, data);
    if let Err(error) = appended {
        tracing::warn!(%error, "container output lost: the run directory is full");
    }
}

/// Room that one read needs in a ring, header included.
const READ_SPACE: u64 = 16 * 1024 + 64;

/// Most bytes that a pipe can still hold.
const LAST_READ_LEN_MAX: usize = 1024 * 1024;
