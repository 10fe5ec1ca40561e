//! Runs the yamux session of one node: takes streams in and opens streams out.
//!
//! yamux moves bytes only while it is polled, so one future owns it; others ask it by channel.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures_util::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// Streams of one node at a time: its control stream and what people ask of it.
const STREAMS_MAX: usize = 256;
/// Streams that wait to be opened.
const OPENING_MAX: usize = 32;

type Opened = oneshot::Sender<Stream>;

/// Opens streams to one node; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    requests: mpsc::Sender<Opened>,
}

impl Opener {
    /// A new stream; none if the session is over.
    pub(super) async fn open(&self) -> Option<Stream> {
        let (opened, stream) = oneshot::channel();
        self.requests.send(opened).await.ok()?;
        stream.await.ok()
    }
}

/// A yamux session.
#[derive(Debug)]
pub(super) struct Mux<T> {
    connection: Connection<T>,
    requests: mpsc::Receiver<Opened>,
    waiting: VecDeque<Opened>,
    incoming: mpsc::Sender<Stream>,
}

/// A session over `socket` which the other side has opened: its opener, the streams that come in,
/// and the session itself, which must be run.
pub(super) fn accept<T: AsyncRead + AsyncWrite + Unpin>(
    socket: T,
) -> (Opener, mpsc::Receiver<Stream>, Mux<T>) {
    let mut config = Config::default();
    config.set_max_num_streams(STREAMS_MAX);
    // yamux wants at least 256 KiB for each stream that may exist.
    config.set_max_connection_receive_window(Some(STREAMS_MAX * 256 * 1024));
    let (requests_in, requests) = mpsc::channel(OPENING_MAX);
    // Only the control stream is ever awaited; more of them are dropped.
    let (incoming, streams) = mpsc::channel(1);
    let connection = Connection::new(socket, config, Mode::Server);
    let mux = Mux { connection, requests, waiting: VecDeque::new(), incoming };
    (Opener { requests: requests_in }, streams, mux)
}

impl<T: AsyncRead + AsyncWrite + Unpin> Mux<T> {
    /// Runs the session to its end.
    pub(super) async fn run(mut self) -> Result<(), ConnectionError> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        while self.waiting.len() < OPENING_MAX {
            match self.requests.poll_recv(context) {
                Poll::Ready(Some(opened)) => self.waiting.push_back(opened),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        while !self.waiting.is_empty() {
            match self.connection.poll_new_outbound(context) {
                Poll::Ready(Ok(stream)) => {
                    if let Some(opened) = self.waiting.pop_front() {
                        // Whoever asked may have gone; the stream is reset then.
                        let _ = opened.send(stream);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        loop {
            match self.connection.poll_next_inbound(context) {
                Poll::Ready(Some(Ok(stream))) => {
                    if self.incoming.try_send(stream).is_err() {
                        tracing::debug!("refused a stream that nobody waits for");
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
