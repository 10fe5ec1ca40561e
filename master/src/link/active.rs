//! Which nodes are linked now. A newer session of a node replaces the older one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bramble_process::panics;
use tokio::sync::oneshot;

use super::mux::Opener;

/// How long the older session may take to end: it has at most one write to the store to finish.
const END: Duration = Duration::from_secs(2);

/// Sessions by node.
#[derive(Debug, Default)]
pub(super) struct ActiveLinks {
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    by_node: BTreeMap<String, ActiveLink>,
    entered: u64,
}

#[derive(Debug)]
struct ActiveLink {
    number: u64,
    opener: Opener,
    /// Dropping it ends the session.
    _stop: oneshot::Sender<()>,
    /// Closed when the session has ended.
    ended: oneshot::Receiver<()>,
}

/// A session's own end of its entry.
#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    /// Resolves when the session is to end.
    pub(super) stopped: oneshot::Receiver<()>,
    _ended: oneshot::Sender<()>,
}

impl ActiveLinks {
    /// Enters a session and ends the older one of this node; returns when that has ended.
    pub(super) async fn enter(&self, node: &str, opener: Opener) -> Entry {
        let (stop, stopped) = oneshot::channel();
        let (ended_in, ended) = oneshot::channel();
        let (number, older) = {
            let mut links = self.lock();
            links.entered += 1;
            let number = links.entered;
            let link = ActiveLink { number, opener, _stop: stop, ended };
            (number, links.by_node.insert(node.to_owned(), link))
        };
        if let Some(ActiveLink { _stop: stop, ended, .. }) = older {
            drop(stop);
            tracing::info!(%node, "a newer session replaces the older one");
            // Whether it ended or took too long: the newer one goes on.
            let _ = tokio::time::timeout(END, ended).await;
        }
        Entry { number, stopped, _ended: ended_in }
    }

    /// Removes a session that ended, unless a newer one has replaced it.
    pub(super) fn leave(&self, node: &str, entry: &Entry) {
        let mut links = self.lock();
        if links.by_node.get(node).is_some_and(|link| link.number == entry.number) {
            links.by_node.remove(node);
        }
    }

    /// Ends a node's session.
    pub(super) fn disconnect(&self, node: &str) {
        self.lock().by_node.remove(node);
    }

    /// Opens streams to a node; none if it is not linked.
    pub(super) fn opener(&self, node: &str) -> Option<Opener> {
        self.lock().by_node.get(node).map(|link| link.opener.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(|_| panics::torn("the table of links"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::mux;

    fn opener() -> Opener {
        mux::accept(futures_util::io::Cursor::new(Vec::new())).0
    }

    #[tokio::test]
    async fn a_newer_session_ends_the_older_and_stays_when_that_leaves() {
        let links = ActiveLinks::default();
        let mut older = links.enter("pi-1", opener()).await;
        assert!(
            older
                .stopped
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        let (newer, older) = tokio::join!(links.enter("pi-1", opener()), async {
            let mut older = older;
            let _ = (&mut older.stopped).await;
            links.leave("pi-1", &older);
            older.number
        });
        assert!(newer.number > older);
        assert!(links.opener("pi-1").is_some());
        links.leave("pi-1", &newer);
        assert!(links.opener("pi-1").is_none());
    }
}
