//! The threads that work for clients: handshakes, requests and watches, everybody in turn.
//!
//! A task is a future, as in tokio, and a piece of its work is one poll of it: what lies between
//! two waits. Whose piece is next is decided by [`FairQueue`], so that one client's heavy requests
//! make another's wait for those that are being worked on, not for those that queue. Waiting takes
//! no thread, so watches and slow clients take none. Timers and sockets are tokio's.
//!
//! A task that panics ends alone.

mod contained;
mod task;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use bramble_master_core::turns::{FairQueue, Identity};
use bramble_process::{panics, urgency};
use embassy_time::{Duration, Instant};
use tokio::runtime::Handle;

pub(crate) use contained::{Contained, contained};
use task::Task;

/// Threads: as many as the others of this process have, so that a board of four cores always has
/// some left.
const THREADS: usize = 2;
/// Stack of each, in bytes: the deepest recursion is a body nested 128 deep. Only what is used
/// takes memory.
const STACK_BYTES: usize = 1024 * 1024;
/// How much nicer these threads are than those of control loop and node links.
const NICER_BY: u8 = 2;

/// The threads; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What threads and tasks share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ready: Condvar,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct State {
    queue: FairQueue<Arc<Task>>,
    stopping: bool,
}

impl Pool {
    /// Starts the threads, for tasks that use this runtime's timers and sockets.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(crate) fn start(runtime: Handle) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), ready: Condvar::new(), runtime });
        let start = |number| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(format!("clients-{number}"));
            thread.stack_size(STACK_BYTES).spawn(move || shared.work())
        };
        let threads = (0..THREADS).map(start).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Begins a task that works for this identity.
    pub(crate) fn spawn(
        &self,
        identity: Identity,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        Task::start(&self.shared, identity, Box::pin(work));
    }

    /// Ends the threads, each after the piece that it is working on. Tasks go no further.
    pub(crate) fn stop(&self) {
        self.shared.stop();
        let threads = std::mem::take(&mut *self.lock_threads());
        for thread in threads {
            // Work that panics is contained, and the loop around it does not panic.
            let _ = thread.join();
        }
    }

    fn lock_threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(|_| panics::torn("the list of threads"))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The last owner may be a task: its thread cannot wait for itself.
        self.shared.stop();
    }
}

impl Shared {
    fn work(&self) {
        urgency::let_others_go_first(NICER_BY);
        while let Some((identity, task)) = self.next() {
            let begun = Instant::now();
            // In the runtime's context, and within its bound on what one poll may do: a socket
            // that always has something does not keep the thread.
            self.runtime.block_on(async { task.run() });
            self.lock().queue.done(&identity, begun.elapsed());
        }
    }

    /// Waits for a piece of work; none when it is time to stop.
    fn next(&self) -> Option<(Identity, Arc<Task>)> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(next) = state.queue.pop() {
                return Some(next);
            }
            state = self.ready.wait(state).unwrap_or_else(|_| panics::torn("the work queue"));
        }
    }

    /// Puts a task into its queue; once we stop it is dropped instead.
    fn push(&self, identity: &Identity, task: Arc<Task>) {
        let mut state = self.lock();
        if !state.stopping {
            state.queue.push(identity, task);
            drop(state);
            self.ready.notify_one();
        }
    }

    fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let waiting = state.queue.drain();
        drop(state);
        self.ready.notify_all();
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|_| panics::torn("the work queue"))
    }
}

/// The share of a [`Duration`] that a queue can count is whole microseconds.
const _: () = assert!(Duration::from_micros(1).as_ticks() == 1);

#[cfg(test)]
mod tests;
