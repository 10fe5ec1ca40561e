//! What an attack must not move: which processes serve, what nodes are said to be, where pods are.

use std::collections::BTreeMap;

use anyhow::Result;

use super::stage::SPARE;
use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::state::{items, text};

/// A picture of what must be the same afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Still {
    /// `Ready` of each node, with the time since which it is so: a death and a return in between
    /// change the time.
    nodes: BTreeMap<String, String>,
    /// Uid, node and restarts of each pod of the bystanders.
    pods: BTreeMap<String, String>,
}

impl Still {
    /// Looks at the nodes with an agent, but for the spare one, and at the pods with `label` in the namespace `default`.
    ///
    /// # Errors
    /// kubectl fails.
    pub(super) fn look(cluster: &Cluster, kubectl: &Kubectl, label: &str) -> Result<Self> {
        let list = kubectl.json(&["get", "nodes"])?;
        let nodes = items(&list)
            .iter()
            .filter(|node| {
                let name = text(node, "/metadata/name");
                name != SPARE && cluster.agent(name).is_ok()
            })
            .map(|node| {
                let ready = node
                    .pointer("/status/conditions")
                    .and_then(serde_json::Value::as_array)
                    .into_iter()
                    .flatten()
                    .find(|condition| text(condition, "/type") == "Ready");
                let ready = ready.map_or_else(String::new, |ready| {
                    format!(
                        "{} since {}",
                        text(ready, "/status"),
                        text(ready, "/lastTransitionTime")
                    )
                });
                (text(node, "/metadata/name").to_owned(), ready)
            })
            .collect();
        let list = kubectl.json(&["get", "pods", "-l", label])?;
        let pods = items(&list)
            .iter()
            .map(|pod| {
                let restarts = pod.pointer("/status/containerStatuses/0/restartCount");
                let place = format!(
                    "uid {} on {}, {} restarts",
                    text(pod, "/metadata/uid"),
                    text(pod, "/spec/nodeName"),
                    restarts.map_or_else(|| "no".to_owned(), ToString::to_string),
                );
                (text(pod, "/metadata/name").to_owned(), place)
            })
            .collect();
        Ok(Self { nodes, pods })
    }

    /// What has changed since, one sentence each.
    pub(super) fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = differences("node", &self.nodes, &after.nodes);
        changes.extend(differences("pod", &self.pods, &after.pods));
        changes
    }
}

fn differences(
    what: &str,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let seen = |map: &BTreeMap<String, String>, name| {
        map.get(name).map_or("gone", String::as_str).to_owned()
    };
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| format!("{what} {name}: {} became {}", seen(before, name), seen(after, name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Still;

    fn still(node: &str, pod: &str) -> Still {
        let one = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        Still { nodes: one("n1", node), pods: one("web-1", pod) }
    }

    #[test]
    fn a_death_in_between_and_a_moved_pod_are_changes() {
        let before = still("True since 1", "uid a on n1");
        assert!(before.changes(&before).is_empty());
        let after = still("True since 2", "uid b on n2");
        assert_eq!(before.changes(&after).len(), 2);
    }
}
