//! The heartbeats' thread: reads datagrams, sends acknowledgements and lets time pass, before
//! everything else that this machine does.
//!
//! Nothing here waits for a disk, a log or a request: what it locks is held by others for
//! microseconds only, and what it has to tell goes through a queue. Says nothing to whatever is
//! not authentic.

use std::io::{self, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bramble_process::urgency::{self, Urgent};
use bramble_shared::limits::DATAGRAM_LEN_MAX;
use embassy_time::Instant;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::{HEALTH_INTERVAL, Heartbeats};

/// Datagrams that are read before the time is looked at again: what 128 nodes send in 800 ms, so
/// that after a stall nobody is judged before what had come in meanwhile is read.
const BURST_MAX: usize = 1_024;

/// Wakes the thread, which otherwise sleeps until something is due.
#[derive(Debug)]
pub(super) struct Wake {
    stream: UnixStream,
    stopping: AtomicBool,
}

impl Wake {
    /// A handle and what it wakes.
    pub(super) fn new() -> io::Result<(Self, UnixStream)> {
        let (stream, woken) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        Ok((Self { stream, stopping: AtomicBool::new(false) }, woken))
    }

    /// Makes the thread look at its deadlines again.
    pub(super) fn wake(&self) {
        // A full pipe means that the thread is about to wake anyway.
        let _ = (&self.stream).write(&[0]);
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }
}

/// Starts the thread.
pub(super) fn start(
    socket: UdpSocket,
    woken: UnixStream,
    heartbeats: Arc<Heartbeats>,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    super::filter::prepare(&socket)?;
    thread::Builder::new().name("heartbeats".to_owned()).spawn(move || {
        urgency::run_before_others(Urgent::Heartbeat);
        let mut listener = Listener { socket, woken, heartbeats, health_at: Instant::now() };
        while !listener.heartbeats.wake.stopping.load(Ordering::Acquire) {
            listener.round();
        }
    })?;
    Ok(())
}

struct Listener {
    socket: UdpSocket,
    woken: UnixStream,
    heartbeats: Arc<Heartbeats>,
    /// When our own health is looked at next.
    health_at: Instant,
}

impl Listener {
    /// Waits for whatever comes first and does what is due.
    fn round(&mut self) {
        let now = Instant::now();
        let deadline = self.heartbeats.deadline();
        let at = deadline.map_or(self.health_at, |deadline| deadline.min(self.health_at));
        self.wait(at.saturating_duration_since(now));
        let mut ignored = [0; 64];
        while (&self.woken).read(&mut ignored).is_ok_and(|len| len > 0) {}
        self.receive();
        let now = Instant::now();
        if now >= at {
            self.heartbeats.handle_timeout(at);
            self.health_at = now + HEALTH_INTERVAL;
        }
    }

    fn wait(&self, time: embassy_time::Duration) {
        let timeout = TimeSpec::from(std::time::Duration::from_micros(time.as_micros()));
        let wake = PollFd::new(self.woken.as_fd(), PollFlags::POLLIN);
        let datagram = PollFd::new(self.socket.as_fd(), PollFlags::POLLIN);
        // An interrupted wait is a short one.
        let _ = ppoll(&mut [wake, datagram], Some(timeout), None);
    }

    fn receive(&self) {
        // One byte more than a packet may have: what is longer is seen to be, and dropped.
        let mut datagram = [0; DATAGRAM_LEN_MAX + 1];
        let mut reply = [0; DATAGRAM_LEN_MAX];
        for _ in 0..BURST_MAX {
            // An error here is another's unreachable port, told by ICMP, or nothing to read.
            let Ok((len, peer)) = self.socket.recv_from(&mut datagram) else { break };
            let received = datagram.get_mut(..len).unwrap_or_default();
            let Some(len) = self.heartbeats.handle_datagram(received, &mut reply) else { continue };
            // A full socket buffer loses an acknowledgement, like the network does.
            let _ = self.socket.send_to(reply.get(..len).unwrap_or_default(), peer);
        }
    }
}
