//! Blocking client of the runtime process.
//!
//! An asynchronous caller uses [`crate::protocol`] with its own stream instead; this one serves
//! tests, benchmarks and one-shot commands. Events that arrive while it waits for a response are
//! kept until [`RuntimeClient::next_event`].

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::protocol::{
    ContainerStatus, CreateContainer, DecodeError, EncodeError, Event, ExecContainer, ExecOutcome,
    Failure, FrameDecoder, Limits, Request, RequestFrame, Response, ServerFrame, encode,
};

/// A connection to the runtime process, one request at a time.
#[derive(Debug)]
pub struct RuntimeClient {
    stream: UnixStream,
    decoder: FrameDecoder,
    events: VecDeque<Event>,
    last_number: u64,
}

/// Why a call to the runtime process failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The runtime process answered that the request failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The connection broke or its time was over.
    #[error("could not talk to the runtime process")]
    Io(#[from] io::Error),
    /// The request is too long.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The answer is not understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The answer belongs to another kind of request.
    #[error("the runtime process sent a response of another kind")]
    WrongResponse,
}

impl RuntimeClient {
    /// Connects to the runtime process.
    ///
    /// # Errors
    /// When nothing listens at `socket`.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        Ok(Self {
            stream,
            decoder: FrameDecoder::default(),
            events: VecDeque::new(),
            last_number: 0,
        })
    }

    /// Sends one request and waits for its response.
    ///
    /// # Errors
    /// When the request failed or the connection broke.
    pub fn call(&mut self, request: Request) -> Result<Response, CallError> {
        self.last_number += 1;
        let number = self.last_number;
        self.stream.write_all(&encode(&RequestFrame { number, request })?)?;
        self.stream.set_read_timeout(None)?;
        loop {
            match self.read_frame()? {
                ServerFrame::Event(event) => self.events.push_back(event),
                ServerFrame::Response { number: found, result } if found == number => {
                    return Ok(result?);
                }
                // The answer to an earlier request that this client gave up on.
                ServerFrame::Response { .. } => {}
            }
        }
    }

    /// Creates a container and returns the pid of its init.
    ///
    /// # Errors
    /// When the container could not be created; nothing of it is left then.
    pub fn create(&mut self, container: CreateContainer) -> Result<i32, CallError> {
        let Response::Created { pid } = self.call(Request::Create(container))? else {
            return Err(CallError::WrongResponse);
        };
        Ok(pid)
    }

    /// Runs the program of a created container.
    ///
    /// # Errors
    /// When the container is not waiting for its start, or its program cannot be executed.
    pub fn start(&mut self, id: &str) -> Result<(), CallError> {
        self.call(Request::Start { id: id.to_owned() }).map(drop)
    }

    /// Sends a signal to the container's init, or to all of its processes.
    ///
    /// # Errors
    /// When the container is unknown.
    pub fn kill(&mut self, id: &str, signal: i32, all: bool) -> Result<(), CallError> {
        self.call(Request::Kill { id: id.to_owned(), signal, all }).map(drop)
    }

    /// Removes a container; unknown ones count as removed.
    ///
    /// # Errors
    /// When it runs and `force` is not set, or something of it could not be removed.
    pub fn delete(&mut self, id: &str, force: bool) -> Result<(), CallError> {
        self.call(Request::Delete { id: id.to_owned(), force }).map(drop)
    }

    /// Lists all containers, sorted by id.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn list(&mut self) -> Result<Vec<ContainerStatus>, CallError> {
        let Response::Containers(containers) = self.call(Request::List)? else {
            return Err(CallError::WrongResponse);
        };
        Ok(containers)
    }

    /// Runs a program in a running container and waits for it.
    ///
    /// # Errors
    /// When the container does not run or the program cannot be executed.
    pub fn exec(&mut self, exec: ExecContainer) -> Result<ExecOutcome, CallError> {
        let Response::ExecDone(outcome) = self.call(Request::Exec(exec))? else {
            return Err(CallError::WrongResponse);
        };
        Ok(outcome)
    }

    /// Gives a container other limits.
    ///
    /// # Errors
    /// When it does not run, or the limits cannot hold.
    pub fn update(&mut self, id: &str, limits: Limits) -> Result<(), CallError> {
        self.call(Request::Update { id: id.to_owned(), limits }).map(drop)
    }

    /// Ends the input of a container whose input ends with the first who was attached.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn close_input(&mut self, id: &str) -> Result<(), CallError> {
        self.call(Request::CloseInput { id: id.to_owned() }).map(drop)
    }

    /// Asks for all later events and returns the containers of now.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn subscribe(&mut self) -> Result<Vec<ContainerStatus>, CallError> {
        let Response::Containers(containers) = self.call(Request::Subscribe)? else {
            return Err(CallError::WrongResponse);
        };
        Ok(containers)
    }

    /// Returns the next event, or `None` when none came within `timeout`.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, CallError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        self.stream.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        loop {
            match self.read_frame() {
                Ok(ServerFrame::Event(event)) => return Ok(Some(event)),
                Ok(ServerFrame::Response { .. }) => {}
                Err(CallError::Io(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read_frame(&mut self) -> Result<ServerFrame, CallError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(frame);
            }
            let mut chunk = [0; 16 * 1024];
            let len = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if len == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.decoder.push(chunk.get(..len).unwrap_or_default());
        }
    }
}
