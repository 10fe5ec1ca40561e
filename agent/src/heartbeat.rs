//! The heartbeat thread: an urgent thread with a socket, and nothing else to do.
//!
//! Decisions are `bramble_shared`'s; this file reads the clock, waits and passes on what they
//! say. No lock, no disk and no allocation once it runs. Keys come through a channel at every
//! new session of the node link and stay good when that session breaks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use bramble_process::urgency::{self, Urgent};
use bramble_shared::heartbeat::Report;
use bramble_shared::heartbeat_sender::{
    HeartbeatSender, SenderEvent, SenderIdentity, SenderSession,
};
use bramble_shared::limits::DATAGRAM_LEN_MAX;
use bramble_shared::node_set::NodeSet;
use embassy_time::Instant;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::{Notify, watch};

use crate::fence_link::FenceLink;
use crate::progress::Progress;

/// A new session of the node link.
#[derive(Debug)]
pub(crate) struct Keyed {
    /// Where heartbeats go.
    pub(crate) master: SocketAddr,
    /// Keys and numbers.
    pub(crate) session: SenderSession,
}

/// A handle on the thread.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    sessions: mpsc::Sender<Keyed>,
    wake: Arc<UnixStream>,
    /// Nodes that get no traffic; changes are seen here at once.
    pub(crate) unreachable: watch::Receiver<NodeSet>,
    /// The master does not answer: dial again.
    pub(crate) redial: Arc<Notify>,
}

impl Heartbeat {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system has no more threads or descriptors.
    pub(crate) fn start(
        identity: SenderIdentity,
        seed: u64,
        fence: FenceLink,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let (sessions, received) = mpsc::channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (told, unreachable) = watch::channel(NodeSet::EMPTY);
        let redial = Arc::new(Notify::new());
        let notify = Arc::clone(&redial);
        thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            urgency::run_before_others(Urgent::Heartbeat);
            let mut beat = Beat {
                sender: HeartbeatSender::new(identity, seed),
                socket: None,
                sessions: received,
                woken,
                unreachable: told,
                redial: notify,
                fence,
                progress,
            };
            loop {
                beat.round();
            }
        })?;
        Ok(Self { sessions, wake: Arc::new(wake), unreachable, redial })
    }

    /// Goes on under the keys of a new session.
    pub(crate) fn start_session(&self, keyed: Keyed) {
        let _ = self.sessions.send(keyed);
        // A full pipe means that the thread is about to wake anyway.
        let _ = (&*self.wake).write(&[0]);
    }
}

struct Beat {
    sender: HeartbeatSender,
    socket: Option<UdpSocket>,
    sessions: mpsc::Receiver<Keyed>,
    woken: UnixStream,
    unreachable: watch::Sender<NodeSet>,
    redial: Arc<Notify>,
    fence: FenceLink,
    progress: Arc<Progress>,
}

impl Beat {
    /// Waits for whatever comes first and does what is due.
    fn round(&mut self) {
        self.wait();
        let mut ignored = [0; 16];
        while self.woken.read(&mut ignored).is_ok_and(|len| len > 0) {}
        while let Ok(keyed) = self.sessions.try_recv() {
            self.start_session(&keyed);
        }
        self.receive();
        self.sender.handle_timeout(Instant::now());
        self.transmit();
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::LeaseUntil(until) => {
                    self.progress.note_acknowledged();
                    self.fence.renew(until);
                }
                SenderEvent::Redial => self.redial.notify_one(),
                SenderEvent::Unreachable(set) => {
                    let _ = self.unreachable.send(set);
                }
            }
        }
    }

    fn wait(&self) {
        let timeout = self.sender.poll_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            TimeSpec::from(std::time::Duration::from_micros(left.as_micros()))
        });
        let wake = PollFd::new(self.woken.as_fd(), PollFlags::POLLIN);
        match &self.socket {
            Some(socket) => {
                let datagram = PollFd::new(socket.as_fd(), PollFlags::POLLIN);
                // An interrupted wait is a short one.
                let _ = ppoll(&mut [wake, datagram], timeout, None);
            }
            None => {
                let _ = ppoll(&mut [wake], timeout, None);
            }
        }
    }

    fn start_session(&mut self, keyed: &Keyed) {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let opened = UdpSocket::bind(any).and_then(|socket| {
            socket.set_nonblocking(true)?;
            // Only datagrams of the master reach this socket then.
            socket.connect(keyed.master)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => {
                tracing::warn!(%error, master = %keyed.master, "no socket for heartbeats");
                return;
            }
        }
        self.sender.start_session(Instant::now(), &keyed.session);
    }

    fn receive(&mut self) {
        let Some(socket) = &self.socket else { return };
        // One byte more than allowed, so that longer datagrams are seen to be longer.
        let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
        // Bounded, so that a flood cannot keep this thread from sending.
        for _ in 0..32 {
            let Ok(len) = socket.recv(&mut buffer) else { return };
            let Some(datagram) = buffer.get_mut(..len) else { continue };
            if let Err(error) = self.sender.handle_input(Instant::now(), datagram) {
                tracing::trace!(%error, "datagram dropped");
            }
        }
    }

    fn transmit(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        let report = self.progress.report();
        if let Some(len) = self.sender.poll_transmit(Instant::now(), &report, &mut buffer)
            && let Some(datagram) = buffer.get(..len)
            && let Err(error) = socket.send(datagram)
        {
            // Nobody listens, or the cable is out: the next heartbeat tries again.
            tracing::trace!(%error, "heartbeat not sent");
        }
    }
}

impl Progress {
    fn report(&self) -> Report {
        let vitals = self.vitals();
        Report {
            pod_manager_rounds: self.pod_manager_rounds(),
            runtime_rounds: self.runtime_rounds(),
            memory_pressure: false,
            disk_pressure: false,
            pid_pressure: false,
            power: vitals.power,
            temperature_celsius: vitals.temperature_celsius,
            card_kib_per_day: vitals.card_kib_per_day,
            // The sender knows these.
            timer_lag_ms: 0,
            round_trip_us: None,
        }
    }
}
