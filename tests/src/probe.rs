//! A client that asks a Service all the time and writes down every answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::wait::{now, pause};

/// Pause between two requests.
const INTERVAL: Duration = Duration::from_millis(10);
/// A request that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_millis(250);

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was sent.
    pub sent: Instant,
    /// Its answer, or nothing.
    pub answer: Option<String>,
}

/// A running client.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Request>>,
}

impl Probe {
    /// Starts asking; every request is a connection of its own.
    #[must_use]
    pub fn start(address: SocketAddrV4) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut requests = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let sent = now();
                requests.push(Request { sent, answer: ask(address.into()).ok() });
                pause(INTERVAL);
            }
            requests
        });
        Self { stop, thread }
    }

    /// Stops asking and returns all requests in the order of their sending.
    ///
    /// # Errors
    /// The client has panicked.
    pub fn stop(self) -> Result<Vec<Request>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the client panicked")
    }
}

/// One HTTP request; returns the body of a successful answer.
///
/// # Errors
/// No answer in time, or not a successful one.
pub fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("not an HTTP answer")?;
    ensure!(head.contains(" 200 "), "{head}");
    Ok(body.trim().to_owned())
}
