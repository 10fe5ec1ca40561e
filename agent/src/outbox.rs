//! What waits to be told to the master in one session.
//!
//! Bounded; never waits. Once something had no room, nothing more is taken: the session ends, and
//! the next one begins with everything.

use std::sync::Arc;

use bramble_shared::link::ToMaster;
use tokio::sync::{Notify, mpsc};

/// The end to put messages in. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<ToMaster>,
    overrun: Arc<Notify>,
}

impl Outbox {
    /// An outbox for so many messages, and the end to take them out.
    pub(crate) fn new(waiting_max: usize) -> (Self, mpsc::Receiver<ToMaster>) {
        let (messages, outgoing) = mpsc::channel(waiting_max);
        (Self { messages, overrun: Arc::new(Notify::new()) }, outgoing)
    }

    /// Puts a message in; false if the session cannot take it and ends.
    pub(crate) fn send(&self, message: ToMaster) -> bool {
        let taken = self.messages.try_send(message).is_ok();
        if !taken {
            self.overrun.notify_one();
        }
        taken
    }

    /// Returns once a message had no room, also if that was before.
    pub(crate) async fn overrun(&self) {
        self.overrun.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn overrun(outbox: &Outbox) -> bool {
        tokio::time::timeout(Duration::from_secs(1), outbox.overrun()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_without_room_ends_the_session_whoever_sent_it() {
        let (outbox, mut outgoing) = Outbox::new(2);
        let pong = ToMaster::Pong;
        assert!(outbox.send(pong(1)) && outbox.clone().send(pong(2)));
        assert!(!overrun(&outbox).await);
        assert!(!outbox.clone().send(pong(3)));
        assert!(overrun(&outbox).await);
        assert_eq!(outgoing.try_recv().unwrap(), pong(1));
    }
}
