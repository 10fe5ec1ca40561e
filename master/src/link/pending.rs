//! Links that have not said who they are in full: few, and the oldest makes room.
//!
//! An honest agent says hello within moments of its handshake, so whoever waits longest says nothing
//! on purpose, or not any more. Nobody is refused because others are silent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bramble_shared::limits::NODES_MAX;
use tokio::sync::oneshot;

/// Links of one node: the one that it gave up and does not know to be closed, and the next.
const OF_NODE_MAX: usize = 2;
/// Links from one address: boards may sit behind one router that translates.
const OF_ADDRESS_MAX: usize = 32;
/// Links of all. With two heartbeat sessions for each node they fit into the table of sessions.
const MAX: usize = NODES_MAX;

/// Links without a hello.
#[derive(Debug, Default)]
pub(super) struct PendingLinks {
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    by_number: BTreeMap<u64, Link>,
    entered: u64,
}

#[derive(Debug)]
struct Link {
    node: String,
    address: IpAddr,
    /// Dropping it ends the link.
    _stop: oneshot::Sender<()>,
}

/// A link's own end of its entry; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct PendingLink<'a> {
    links: &'a PendingLinks,
    number: u64,
    /// Resolves when the link has to make room.
    pub(super) stopped: oneshot::Receiver<()>,
}

impl PendingLinks {
    /// Enters a link, and ends one that is in its way.
    pub(super) fn enter(&self, node: &str, address: IpAddr) -> PendingLink<'_> {
        let (stop, stopped) = oneshot::channel();
        let mut links = self.lock();
        if let Some(number) = links.in_the_way(node, address) {
            links.by_number.remove(&number);
        }
        links.entered += 1;
        let number = links.entered;
        links.by_number.insert(number, Link { node: node.to_owned(), address, _stop: stop });
        PendingLink { links: self, number, stopped }
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    /// The oldest link of those of which there are too many, once another is there.
    fn in_the_way(&self, node: &str, address: IpAddr) -> Option<u64> {
        let oldest = |which: &dyn Fn(&Link) -> bool, max: usize| {
            let mut found = self.by_number.iter().filter(|(_, link)| which(link));
            let first = found.next().map(|(number, _)| *number);
            first.filter(|_| found.count() + 1 >= max)
        };
        oldest(&|link| link.node == node, OF_NODE_MAX)
            .or_else(|| oldest(&|link| link.address == address, OF_ADDRESS_MAX))
            .or_else(|| oldest(&|_| true, MAX))
    }
}

impl Drop for PendingLink<'_> {
    fn drop(&mut self) {
        self.links.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn ended(link: &mut PendingLink<'_>) -> bool {
        link.stopped.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn a_node_ends_its_own_older_links_and_no_others() {
        let links = PendingLinks::default();
        let mut other = links.enter("pi-1", address(1));
        let mut evil: Vec<_> = (0..600).map(|_| links.enter("evil", address(2))).collect();
        let alive = evil.iter_mut().filter_map(|link| (!ended(link)).then_some(())).count();
        assert_eq!(alive, OF_NODE_MAX);
        assert!(!ended(evil.last_mut().unwrap()) && !ended(&mut other));
        drop((evil, other));
        assert!(links.lock().by_number.is_empty());
    }

    #[test]
    fn crowds_are_bounded_and_the_newest_is_always_let_in() {
        let links = PendingLinks::default();
        let mut all = Vec::new();
        for number in 0..1_000_u32 {
            let last = u8::try_from(number % 250).unwrap();
            all.push(links.enter(&format!("n{number}"), address(last)));
            assert!(!ended(all.last_mut().unwrap()));
        }
        assert_eq!(links.lock().by_number.len(), MAX);
        drop(all);
        let mut here: Vec<_> =
            (0..100).map(|number| links.enter(&format!("n{number}"), address(1))).collect();
        let alive = here.iter_mut().filter_map(|link| (!ended(link)).then_some(())).count();
        assert_eq!(alive, OF_ADDRESS_MAX);
    }
}
