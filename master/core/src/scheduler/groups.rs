//! Groups: which pods some term of an affinity or spread constraint means, and how many of them
//! each node has.
//!
//! A group is counted once when the first pod names it and follows every placement from then on, so
//! that a decision never looks at placed pods. Groups are found by a pair of labels that their pods
//! must have, so that placing a pod costs as many looks as it has labels, not as there are groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::topology::TopologyId;
use crate::view::labels::Labels;
use crate::view::pod::PodView;
use crate::view::pod_affinity::PodSelector;
use crate::view::selector::Operator;

/// A group, as a number.
pub type GroupId = usize;

/// Labels of all namespaces, by name.
pub type Namespaces = BTreeMap<Arc<str>, Labels>;

/// Which pods are in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Matcher {
    /// All must mean a pod.
    pub terms: Vec<PodSelector>,
    /// Whether pods that are being deleted count no more.
    pub live_only: bool,
}

impl Matcher {
    /// Whether a pod is in the group.
    #[must_use]
    pub fn matches(&self, pod: &PodView, namespaces: &Namespaces) -> bool {
        let namespace = &pod.meta.namespace;
        !(self.live_only && pod.meta.deleting())
            && self
                .terms
                .iter()
                .all(|term| term.selects(&pod.meta.labels, namespace, namespaces.get(namespace)))
    }

    /// A pair of labels that every pod of the group has.
    fn pair(&self) -> Option<(Arc<str>, Arc<str>)> {
        let selectors = || self.terms.iter().filter_map(|term| term.selector.as_ref());
        let one_of = |requirement: &crate::view::selector::Requirement| {
            let [value] = &*requirement.values else { return None };
            let pair = (Arc::clone(&requirement.key), Arc::clone(value));
            (requirement.operator == Operator::In).then_some(pair)
        };
        selectors()
            .flat_map(|selector| selector.match_labels.iter())
            .map(|(key, value)| (Arc::from(key), Arc::from(value)))
            .next()
            .or_else(|| {
                let mut all = selectors().flat_map(|selector| &selector.match_expressions);
                all.find_map(one_of)
            })
    }

    /// Whether namespaces' labels decide, too.
    #[must_use]
    pub fn by_namespace_labels(&self) -> bool {
        self.terms.iter().any(|term| term.namespace_selector.is_some())
    }
}

/// Pods that hold a term about a group for one label: how many forbid it, and what they wish.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Pods on each node that must not be near the group.
    pub anti: Vec<i64>,
    /// Sum of the weights of the wishes of each node's pods.
    pub weight: Vec<i64>,
    anti_total: i64,
    wishes: i64,
}

impl Held {
    /// Whether any pod forbids.
    #[must_use]
    pub const fn forbids(&self) -> bool {
        self.anti_total > 0
    }

    /// Whether any pod wishes.
    #[must_use]
    pub const fn wishes(&self) -> bool {
        self.wishes > 0
    }
}

/// One group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Who is in it.
    pub matcher: Matcher,
    /// Its pods on each node.
    pub counts: Vec<i64>,
    /// All of its placed pods.
    pub total: i64,
    /// What placed pods say about it, by the label that says what near is.
    pub held: BTreeMap<TopologyId, Held>,
}

/// What a placed pod says about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Not near me.
    Forbids,
    /// Rather near me, or with a negative weight rather not.
    Wishes(i64),
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    ids: BTreeMap<Matcher, GroupId>,
    all: Vec<Group>,
    by_label: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<GroupId>>>,
    without_label: Vec<GroupId>,
}

impl Groups {
    /// The number of groups.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A group.
    #[must_use]
    pub fn get(&self, id: GroupId) -> Option<&Group> {
        self.all.get(id)
    }

    /// Whether labels of namespaces decide about any group.
    #[must_use]
    pub fn by_namespace_labels(&self) -> bool {
        self.all.iter().any(|group| group.matcher.by_namespace_labels())
    }

    /// The number of a group; counts the pods at the first time, given with their nodes.
    pub fn learn<'a>(
        &mut self,
        matcher: Matcher,
        pods: impl Iterator<Item = (usize, &'a PodView)>,
        namespaces: &Namespaces,
    ) -> GroupId {
        if let Some(id) = self.ids.get(&matcher) {
            return *id;
        }
        let id = self.all.len();
        match matcher.pair() {
            Some((key, value)) => {
                self.by_label.entry(key).or_default().entry(value).or_default().push(id);
            }
            None => self.without_label.push(id),
        }
        let mut group =
            Group { matcher: matcher.clone(), counts: Vec::new(), total: 0, held: BTreeMap::new() };
        for (node, pod) in pods {
            if matcher.matches(pod, namespaces) {
                shift(&mut group.counts, node, 1);
                group.total += 1;
            }
        }
        self.ids.insert(matcher, id);
        self.all.push(group);
        id
    }

    /// The groups that a pod is in.
    #[must_use]
    pub fn of(&self, pod: &PodView, namespaces: &Namespaces) -> Vec<GroupId> {
        let labels = pod.meta.labels.iter();
        let by_label = labels.filter_map(|(key, value)| self.by_label.get(key)?.get(value));
        let candidates = by_label.flatten().chain(&self.without_label).copied();
        let is_in =
            |id: &GroupId| self.get(*id).is_some_and(|it| it.matcher.matches(pod, namespaces));
        candidates.filter(is_in).collect()
    }

    /// Counts a pod in (`by` is 1) or out (-1).
    pub fn count(&mut self, pod: &PodView, node: usize, by: i64, namespaces: &Namespaces) {
        for id in self.of(pod, namespaces) {
            if let Some(group) = self.all.get_mut(id) {
                shift(&mut group.counts, node, by);
                group.total += by;
            }
        }
    }

    /// Notes what a pod on a node says about a group, or with `by` of -1 that it does no more.
    pub fn hold(&mut self, id: GroupId, near: TopologyId, stance: Stance, node: usize, by: i64) {
        let Some(group) = self.all.get_mut(id) else { return };
        let held = group.held.entry(near).or_default();
        match stance {
            Stance::Forbids => {
                shift(&mut held.anti, node, by);
                held.anti_total += by;
            }
            Stance::Wishes(weight) => {
                shift(&mut held.weight, node, by * weight);
                held.wishes += by;
            }
        }
    }
}

fn shift(counts: &mut Vec<i64>, node: usize, by: i64) {
    if counts.len() <= node {
        counts.resize(node + 1, 0);
    }
    if let Some(count) = counts.get_mut(node) {
        *count += by;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(labels: Value) -> PodView {
        serde_json::from_value(json!({"metadata": {"namespace": "d", "labels": labels}})).unwrap()
    }

    fn matcher(selector: Value) -> Matcher {
        let selector = Some(serde_json::from_value(selector).unwrap());
        let term = PodSelector { namespaces: vec!["d".into()], selector, ..PodSelector::default() };
        Matcher { terms: vec![term], live_only: false }
    }

    #[test]
    fn a_group_is_counted_once_and_then_follows() {
        let (mut groups, names) = (Groups::default(), Namespaces::new());
        let (web, other) = (pod(json!({"app": "web"})), pod(json!({"app": "other"})));
        let wanted = matcher(json!({"matchLabels": {"app": "web"}}));
        let placed = [(2, &web), (0, &other), (2, &web)];
        let id = groups.learn(wanted.clone(), placed.into_iter(), &names);
        assert_eq!(groups.get(id).unwrap().counts, [0, 0, 2]);
        assert_eq!(groups.learn(wanted, std::iter::empty(), &names), id);
        groups.count(&web, 0, 1, &names);
        groups.count(&other, 0, 1, &names);
        groups.count(&web, 2, -1, &names);
        assert_eq!(
            (&*groups.get(id).unwrap().counts, groups.get(id).unwrap().total),
            (&[1, 0, 1][..], 2)
        );
    }

    #[test]
    fn groups_are_found_by_pair_by_single_value_and_without_either() {
        let (mut groups, names) = (Groups::default(), Namespaces::new());
        let mut learn = |selector| groups.learn(matcher(selector), std::iter::empty(), &names);
        let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        let pair = learn(json!({"matchLabels": {"app": "web"}}));
        let single = learn(expression("In", json!(["web"])));
        let several = learn(expression("In", json!(["web", "api"])));
        let absent = learn(expression("NotIn", json!(["web"])));
        let every = learn(json!({}));
        let of = |labels| groups.of(&pod(labels), &names);
        assert_eq!(of(json!({"app": "web"})), [pair, single, several, every]);
        assert_eq!(of(json!({"app": "api"})), [several, absent, every]);
        assert_eq!(of(json!({})), [absent, every]);
    }
}
