//! A TLS stream that the multiplexer owns while its exporter stays within reach.
//!
//! The heartbeat keys depend on the session index, which comes through the multiplexer, so the
//! connection is needed once more after it was given away. One task uses both ends; the lock
//! is never waited for.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A TLS stream with more than one owner.
#[derive(Clone, Debug)]
pub(crate) struct SharedTls(Arc<Mutex<TlsStream<TcpStream>>>);

impl SharedTls {
    /// Shares a stream.
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Takes 64 bytes from the TLS exporter.
    ///
    /// # Errors
    ///
    /// When the handshake is not complete.
    pub(crate) fn export(&self, label: &[u8], context: &[u8]) -> Result<[u8; 64], rustls::Error> {
        self.lock().get_ref().1.export_keying_material([0; 64], label, Some(context))
    }

    fn lock(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for SharedTls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SharedTls {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}
