//! How many may read logs at a time.
//!
//! Every reader costs a window of its log, a file that stays open and a stream of the link, for as
//! long as it likes. Counts only; knows nothing of files or streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most readers of one pod's logs: one of each container for several people.
const READERS_PER_POD_MAX: usize = 16;
/// Most readers on one node: with streams to pods they leave some of the link's for an upgrade and
/// whatever else the master asks for; 3 MiB of windows (two of 32 KiB each).
const READERS_MAX: usize = 48;
const _: () = assert!(READERS_PER_POD_MAX < READERS_MAX, "one pod's readers must leave room");
const _: () = assert!(
    READERS_MAX + crate::streams::PLACES < crate::link_client::STREAMS_MAX,
    "readers of logs must leave streams for the rest"
);

/// The readers of logs on this node.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogReaders {
    of_pods: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// A reader's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    readers: LogReaders,
    uid: String,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnterError {
    /// The pod has too many.
    #[error("{READERS_PER_POD_MAX} readers of this pod's logs are open already; end one of them")]
    Pod,
    /// The node has too many.
    #[error("{READERS_MAX} readers of logs are open on this node already; end one of them")]
    Node,
}

impl LogReaders {
    /// Takes a place for a reader of this pod's logs.
    pub(crate) fn enter(&self, uid: &str) -> Result<Place, EnterError> {
        let mut of_pods = self.of_pods();
        if of_pods.values().sum::<usize>() >= READERS_MAX {
            return Err(EnterError::Node);
        }
        let of_pod = of_pods.entry(uid.to_owned()).or_default();
        if *of_pod >= READERS_PER_POD_MAX {
            return Err(EnterError::Pod);
        }
        *of_pod += 1;
        Ok(Place { readers: self.clone(), uid: uid.to_owned() })
    }

    fn of_pods(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.of_pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_pods = self.readers.of_pods();
        if let Some(of_pod) = of_pods.get_mut(&self.uid) {
            *of_pod -= 1;
            if *of_pod == 0 {
                of_pods.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_and_a_node_have_so_many_places_and_get_them_back() {
        let readers = LogReaders::default();
        let mut places: Vec<Place> =
            (0..READERS_PER_POD_MAX).map(|_| readers.enter("a").unwrap()).collect();
        assert_eq!(readers.enter("a").unwrap_err(), EnterError::Pod);
        for number in places.len()..READERS_MAX {
            places.push(readers.enter(&format!("b{number}")).unwrap());
        }
        assert_eq!(readers.enter("c").unwrap_err(), EnterError::Node);
        places.pop();
        places.push(readers.enter("c").unwrap());
        places.clear();
        assert!(readers.of_pods().is_empty(), "nothing is kept of pods that are not read");
        assert!(EnterError::Pod.to_string().starts_with("16 readers"));
    }
}
