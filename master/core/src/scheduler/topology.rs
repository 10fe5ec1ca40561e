//! Places: the nodes that share a value of a label, for every label that some pod asks about.
//!
//! Knows nodes by their index only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::view::labels::Labels;

/// A label of nodes that makes places, as a number.
pub type TopologyId = usize;

/// One label and the place of every node.
#[derive(Clone, Debug)]
pub struct Topology {
    key: Arc<str>,
    places: BTreeMap<Arc<str>, usize>,
    of_node: Vec<Option<usize>>,
}

impl Topology {
    /// The place of a node; `None` if it lacks the label.
    #[must_use]
    pub fn place(&self, node: usize) -> Option<usize> {
        self.of_node.get(node).copied().flatten()
    }

    /// How many places there are or were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no node has the label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds up numbers of nodes by place. Nodes without the label are left out.
    #[must_use]
    pub fn sum<T: Copy + Default + std::ops::AddAssign>(&self, of_nodes: &[T]) -> Vec<T> {
        let mut sums = vec![T::default(); self.places.len()];
        for (place, number) in self.of_node.iter().zip(of_nodes) {
            if let Some(sum) = place.and_then(|place| sums.get_mut(place)) {
                *sum += *number;
            }
        }
        sums
    }

    fn set(&mut self, node: usize, labels: &Labels) {
        let place = labels.get(&self.key).map(|value| {
            let next = self.places.len();
            *self.places.entry(Arc::from(value)).or_insert(next)
        });
        if self.of_node.len() <= node {
            self.of_node.resize(node + 1, None);
        }
        if let Some(slot) = self.of_node.get_mut(node) {
            *slot = place;
        }
    }
}

/// All labels that were asked about.
#[derive(Clone, Debug, Default)]
pub struct Topologies {
    ids: BTreeMap<Arc<str>, TopologyId>,
    all: Vec<Topology>,
}

impl Topologies {
    /// The number of a label that was learnt.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<TopologyId> {
        self.ids.get(key).copied()
    }

    /// The places of a label.
    #[must_use]
    pub fn get(&self, id: TopologyId) -> Option<&Topology> {
        self.all.get(id)
    }

    /// The number of a label; asks all nodes for it at the first time.
    pub fn learn<'a>(
        &mut self,
        key: &Arc<str>,
        nodes: impl Iterator<Item = &'a Labels>,
    ) -> TopologyId {
        if let Some(id) = self.id(key) {
            return id;
        }
        let mut topology =
            Topology { key: Arc::clone(key), places: BTreeMap::new(), of_node: Vec::new() };
        for (labels, node) in nodes.zip(0..) {
            topology.set(node, labels);
        }
        let id = self.all.len();
        self.ids.insert(Arc::clone(key), id);
        self.all.push(topology);
        id
    }

    /// Takes in new labels of a node.
    pub fn set_node(&mut self, node: usize, labels: &Labels) {
        for topology in &mut self.all {
            topology.set(node, labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_added_up_by_place_and_may_move() {
        let zone = |zone: &str| [("zone", zone)].into_iter().collect::<Labels>();
        let nodes = [zone("a"), zone("b"), zone("a"), Labels::default()];
        let mut topologies = Topologies::default();
        let id = topologies.learn(&Arc::from("zone"), nodes.iter());
        assert_eq!(topologies.get(id).unwrap().sum(&[1, 2, 4, 8]), [5, 2]);
        topologies.set_node(2, &zone("c"));
        assert_eq!(topologies.get(id).unwrap().sum(&[1, 2, 4, 8]), [1, 2, 4]);
        assert_eq!(topologies.get(id).unwrap().place(3), None);
    }
}
