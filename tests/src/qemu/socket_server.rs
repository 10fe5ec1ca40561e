//! A server on a unix socket with one client at a time, which is QEMU or a test.
//!
//! Knows nothing of what is said.

use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

/// A running server. Ends when dropped, with its client.
#[derive(Debug)]
pub struct SocketServer {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    client: Mutex<Option<UnixStream>>,
}

impl SocketServer {
    /// Calls `serve` with one client after the other, each until it returns.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(path: &Path, mut serve: impl FnMut(UnixStream) + Send + 'static) -> Result<Self> {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)
            .with_context(|| format!("could not make socket `{}`", path.display()))?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // In this order: whoever stops the server either finds the client, or is found.
                of_thread.set_client(client.try_clone().ok());
                if of_thread.stop.load(Ordering::SeqCst) {
                    return;
                }
                serve(client);
                of_thread.set_client(None);
            }
        });
        Ok(Self { path: path.into(), shared, thread: Some(thread) })
    }

    /// Its socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The client that there is, if any.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn client(&self) -> Result<Option<UnixStream>> {
        Ok(self.shared.client().as_ref().map(UnixStream::try_clone).transpose()?)
    }

    /// Ends the connection to the client that there is, if any.
    pub fn disconnect(&self) {
        if let Some(client) = &*self.shared.client() {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn client(&self) -> std::sync::MutexGuard<'_, Option<UnixStream>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_client(&self, client: Option<UnixStream>) {
        *self.client() = client;
    }
}

impl Drop for SocketServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.disconnect();
        // Wakes the thread if it waits for a client.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn clients_are_served_in_turn_and_the_last_one_goes_with_the_server() {
        let path = std::env::temp_dir().join(format!("bramble-socket-{}", std::process::id()));
        let server = SocketServer::start(&path, |mut client| {
            let mut byte = [0];
            while client.read(&mut byte).is_ok_and(|len| len == 1) {
                client.write_all(&byte).unwrap();
            }
        })
        .unwrap();
        for word in [b'a', b'b'] {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(&[word]).unwrap();
            let mut answer = [0];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [word]);
            server.disconnect();
            assert_eq!(client.read(&mut answer).unwrap(), 0);
        }
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"c").unwrap();
        client.read_exact(&mut [0]).unwrap();
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert!(!path.exists());
    }
}
