//! Turns a board's hello into a Node object: numbers, ranges, labels, status.
//!
//! The board's serial is pinned by the first hello; another one under the same name is a clone or
//! a replacement, and a person has to say which. Whoever is refused is not told the serial: with it
//! a stolen certificate would be as good as the board.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use bramble_api::{Resource, Status};
use bramble_shared::ids::NodeId;
use bramble_shared::link::{Hello, Ipv4Range};
use bramble_store::Class;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::desired::parse_range;
use super::field::Field;
use super::ranges::{free_id, free_range};
use super::{NODE_ID_ANNOTATION, SERIAL_ANNOTATION, node_status};
use crate::objects::{ListOptions, Objects, Part, WriteOptions};

/// Registers nodes, one at a time, so that no number is dealt twice.
#[derive(Debug)]
pub(super) struct Registration {
    objects: Objects,
    cluster_range: Ipv4Range,
    master_address: Ipv4Addr,
    dealing: Mutex<()>,
}

/// A registered node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    /// Its number.
    pub(super) id: NodeId,
    /// Addresses of its pods.
    pub(super) pod_range: Ipv4Range,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// It is another board than the last one of that name.
    pub(super) other_board: bool,
}

/// What is written down of a node that has said hello before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    /// Its number.
    pub(super) id: NodeId,
    /// A board has spoken for it.
    pub(super) known: bool,
    /// Two boards were found with its certificate.
    pub(super) quarantined: bool,
}

/// Why a board was not registered; the text is for the agent's log.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegisterError {
    /// Another board has this name.
    #[error(
        "node `{node}` is another board than this one; if this board takes its place, say so with \
         `bramble node replace {node}`, or flash its card with `bramble flash --replace {node}`"
    )]
    OtherBoard { node: String },
    /// No number or no pod range is left.
    #[error("the cluster has no room for another node: {what} are used up")]
    Full { what: &'static str },
    /// The object service refused.
    #[error("could not store the Node object")]
    Store(#[from] Status),
}

impl Registration {
    /// Registers nodes in `objects`, with pod ranges out of `cluster_range`.
    pub(super) fn new(
        objects: Objects,
        cluster_range: Ipv4Range,
        master_address: Ipv4Addr,
    ) -> Self {
        Self { objects, cluster_range, master_address, dealing: Mutex::default() }
    }

    /// What is written down of a node; none if there is no such node, or it was dealt no number.
    ///
    /// # Errors
    ///
    /// When the Node object cannot be read.
    pub(super) async fn present(&self, node: &str) -> Result<Option<Present>, Status> {
        let object = match self.objects.get(Objects::resource("", "nodes"), "", node).await {
            Ok(object) => object,
            Err(status) if status.code == 404 => return Ok(None),
            Err(status) => return Err(status),
        };
        let quarantined = node_status::quarantined(&object);
        let known = !pinned(&object).is_empty();
        Ok(node_id(&object).map(|id| Present { id, known, quarantined }))
    }

    /// Creates or updates the Node object of a board that said hello from `peer`; `any_board` if it
    /// may be another one than the last.
    ///
    /// # Errors
    ///
    /// When the board may not be this node, or there is no room for it.
    pub(super) async fn register(
        &self,
        node: &str,
        hello: &Hello,
        peer: IpAddr,
        any_board: bool,
    ) -> Result<Registered, RegisterError> {
        let dealing = self.dealing.lock().await;
        let nodes = Objects::resource("", "nodes");
        let present = match self.objects.get(nodes, "", node).await {
            Ok(present) => Some(present),
            Err(status) if status.code == 404 => None,
            Err(status) => return Err(status.into()),
        };
        let other_board = present.as_ref().is_some_and(|present| {
            let pinned = pinned(present);
            !pinned.is_empty() && pinned != hello.serial
        });
        if other_board && !any_board {
            return Err(RegisterError::OtherBoard { node: node.to_owned() });
        }
        let dealt = present.as_ref().and_then(dealt);
        let (id, pod_range) = match dealt {
            Some(dealt) => dealt,
            None => self.deal(nodes).await?,
        };
        // Nobody else can hold a connection from this address.
        let on_master = peer == IpAddr::V4(self.master_address);
        let metadata = node_status::metadata(node, id.0, hello, on_master);
        let range_text = format!("{}/{}", pod_range.network, pod_range.prefix_len);
        if present.is_none() {
            let mut metadata = metadata.clone();
            merge(&mut metadata, &json!({"name": node}));
            let mut object = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": metadata,
                "spec": {"podCIDR": range_text, "podCIDRs": [range_text]},
            });
            node_status::apply_boot(&mut object, hello.facts.boot.as_ref());
            self.objects.create(nodes, "", object, &WriteOptions::default()).await?;
        } else {
            let spec = json!({"podCIDR": range_text, "podCIDRs": [range_text]});
            let boot = hello.facts.boot.clone();
            let change = move |object: &mut Value| {
                merge(object, &json!({"metadata": metadata, "spec": spec}));
                node_status::apply_boot(object, boot.as_ref());
                Ok(())
            };
            let options = WriteOptions::default();
            self.objects.modify(nodes, "", node, Part::Main, &options, &change).await?;
        }
        drop(dealing);
        let address = address(hello, peer);
        let facts = hello.clone();
        let change = move |object: &mut Value| {
            node_status::apply_facts(object, &facts, address);
            Ok(())
        };
        let options = WriteOptions { class: Some(Class::Reported), ..WriteOptions::default() };
        self.objects.modify(nodes, "", node, Part::Status, &options, &change).await?;
        Ok(Registered { id, pod_range, address, other_board })
    }

    async fn deal(&self, nodes: &'static Resource) -> Result<(NodeId, Ipv4Range), RegisterError> {
        let list = self.objects.list(nodes, "", &ListOptions::default()).await?;
        let ids: BTreeSet<NodeId> = list.items.iter().filter_map(node_id).collect();
        let ranges: BTreeSet<Ipv4Range> = list.items.iter().filter_map(pod_range).collect();
        let id = free_id(&ids).ok_or(RegisterError::Full { what: "node numbers" })?;
        let range = free_range(self.cluster_range, &ranges)
            .ok_or(RegisterError::Full { what: "pod ranges" })?;
        Ok((id, range))
    }
}

/// The serial of the board that is this node; empty before its first hello.
fn pinned(present: &Value) -> &str {
    Field(present).get("metadata").get("annotations").get(SERIAL_ANNOTATION).text()
}

/// The number of a Node object, if it was dealt one.
fn node_id(object: &Value) -> Option<NodeId> {
    let annotations = Field(object).get("metadata").get("annotations");
    annotations.get(NODE_ID_ANNOTATION).text().parse().ok().map(NodeId)
}

fn pod_range(object: &Value) -> Option<Ipv4Range> {
    parse_range(Field(object).get("spec").get("podCIDR").text())
}

fn dealt(object: &Value) -> Option<(NodeId, Ipv4Range)> {
    node_id(object).zip(pod_range(object))
}

/// What the agent says, unless that is no address that others could use.
fn address(hello: &Hello, peer: IpAddr) -> Ipv4Addr {
    let said = hello.facts.address;
    match peer {
        IpAddr::V4(seen) if said.is_unspecified() || said.is_loopback() => seen,
        IpAddr::V4(_) | IpAddr::V6(_) => said,
    }
}

/// Lays one object over another, recursively.
fn merge(object: &mut Value, over: &Value) {
    match (object, over) {
        (Value::Object(object), Value::Object(over)) => {
            for (name, value) in over {
                merge(object.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (object, over) => *object = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::node_status::tests::hello;

    #[test]
    fn an_address_that_nobody_can_use_is_replaced_by_the_one_that_was_seen() {
        let seen = IpAddr::from([192, 0, 2, 77]);
        assert_eq!(address(&hello(), seen), Ipv4Addr::new(192, 0, 2, 1));
        let mut hello = hello();
        hello.facts.address = Ipv4Addr::UNSPECIFIED;
        assert_eq!(address(&hello, seen), Ipv4Addr::new(192, 0, 2, 77));
    }

    #[test]
    fn merging_keeps_what_is_not_named() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "d": 3});
        merge(&mut object, &json!({"a": {"b": 9}, "e": {"f": 4}}));
        assert_eq!(object, json!({"a": {"b": 9, "c": 2}, "d": 3, "e": {"f": 4}}));
    }
}
