//! One task of the pool, and when it is worked on again.
//!
//! ```text
//!            wake             run
//!   Waiting ------> Queued ---------> Running --ready, panic--> Ended
//!      ^              ^                | |  | wake
//!      +---pending----|----------------+ |  v
//!                     +-----pending----- Woken
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bramble_master_core::turns::Identity;
use bramble_process::panics;

use super::{Contained, Shared, contained};

const WAITING: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const WOKEN: u8 = 3;
const ENDED: u8 = 4;

type Work = Contained<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// A task; its wakers hold it.
pub(super) struct Task {
    identity: Identity,
    shared: Arc<Shared>,
    state: AtomicU8,
    /// None once it has ended. Only the thread that has it as `RUNNING` locks it.
    work: Mutex<Option<Work>>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load(Ordering::Relaxed);
        f.debug_struct("Task").field("identity", &self.identity).field("state", &state).finish()
    }
}

impl Task {
    /// Makes a task and queues it.
    pub(super) fn start(
        shared: &Arc<Shared>,
        identity: Identity,
        work: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) {
        let task = Arc::new(Self {
            identity,
            shared: Arc::clone(shared),
            state: AtomicU8::new(QUEUED),
            work: Mutex::new(Some(contained(work))),
        });
        shared.push(&task.identity, Arc::clone(&task));
    }

    /// Does one piece of its work.
    pub(super) fn run(self: &Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        let mut work = self.work.lock().unwrap_or_else(|_| panics::torn("a task"));
        let Some(future) = work.as_mut() else { return };
        let waker = Waker::from(Arc::clone(self));
        let poll = Pin::new(future).poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(ended) = poll {
            *work = None;
            drop(work);
            self.state.store(ENDED, Ordering::Release);
            if ended.is_err() {
                tracing::error!(of = %self.identity, "a client's task panicked and was ended");
            }
            return;
        }
        drop(work);
        let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
        if self.state.compare_exchange(RUNNING, WAITING, order, failed).is_err() {
            // It was woken meanwhile.
            self.state.store(QUEUED, Ordering::Release);
            self.shared.push(&self.identity, Arc::clone(self));
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let next = |state| match state {
            WAITING => Some(QUEUED),
            RUNNING => Some(WOKEN),
            // It is to be worked on anyway, or never again.
            _ => None,
        };
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if before == Ok(WAITING) {
            self.shared.push(&self.identity, Arc::clone(self));
        }
    }
}
