//! Turns a board's hello into a Node object: numbers, ranges, labels, status.
//!
//! The board's serial is pinned by the first hello; another one under the same name is a clone or
//! a replacement, and a person has to say which. Whoever is refused is not told the serial: with it
//! a stolen certificate would be as good as the board.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use bramble_api::Status;
use bramble_master_core::membership::Contacts;
use bramble_shared::ids::NodeId;
use bramble_shared::link::{Hello, Ipv4Range};
use bramble_store::Class;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::desired::parse_range;
use super::field::Field;
use super::node_address::{self, AddressRefusal, OtherNode, Plan};
use super::ranges::{free_id, free_range};
use super::{NODE_ID_ANNOTATION, SERIAL_ANNOTATION, node_status};
use crate::objects::{ListOptions, Objects, Part, WriteOptions};

/// Registers nodes, one at a time, so that no number is dealt twice.
#[derive(Debug)]
pub(super) struct Registration {
    objects: Objects,
    plan: Plan,
    dealing: Mutex<()>,
}

/// A board that said hello.
#[derive(Clone, Copy, Debug)]
pub(super) struct Board<'a> {
    /// What it said.
    pub(super) hello: &'a Hello,
    /// Where it said it from.
    pub(super) peer: IpAddr,
    /// It may be another one than the last of its name.
    pub(super) any_board: bool,
    /// Which nodes are in contact.
    pub(super) contacts: &'a Contacts,
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
    /// It cannot have the address that it says.
    #[error("node `{node}` cannot be where it says it is")]
    Address {
        node: String,
        #[source]
        source: AddressRefusal,
    },
    /// No number or no pod range is left.
    #[error("the cluster has no room for another node: {what} are used up")]
    Full { what: &'static str },
    /// The object service refused.
    #[error("could not store the Node object")]
    Store(#[from] Status),
}

impl Registration {
    /// Registers nodes in `objects`, with pod ranges out of the plan's.
    pub(super) fn new(objects: Objects, plan: Plan) -> Self {
        Self { objects, plan, dealing: Mutex::default() }
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

    /// Creates or updates the Node object of a board.
    ///
    /// # Errors
    ///
    /// When the board may not be this node or not have its address, or there is no room for it.
    pub(super) async fn register(
        &self,
        node: &str,
        board: &Board<'_>,
    ) -> Result<Registered, RegisterError> {
        let Board { hello, peer, any_board, .. } = *board;
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
        let all = self.objects.list(nodes, "", &ListOptions::default()).await?.items;
        let others = others(node, &all, board.contacts);
        let address = node_address::of_node(hello.facts.address, peer, &self.plan, &others)
            .map_err(|source| RegisterError::Address { node: node.to_owned(), source })?;
        let dealt = present.as_ref().and_then(dealt);
        let (id, pod_range) = match dealt {
            Some(dealt) => dealt,
            None => self.deal(&all)?,
        };
        // Nobody else can hold a connection from this address.
        let on_master = peer == IpAddr::V4(self.plan.master);
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
        let facts = hello.clone();
        let change = move |object: &mut Value| {
            node_status::apply_facts(object, &facts, address);
            Ok(())
        };
        let options = WriteOptions { class: Some(Class::Reported), ..WriteOptions::default() };
        self.objects.modify(nodes, "", node, Part::Status, &options, &change).await?;
        Ok(Registered { id, pod_range, address, other_board })
    }

    fn deal(&self, nodes: &[Value]) -> Result<(NodeId, Ipv4Range), RegisterError> {
        let ids: BTreeSet<NodeId> = nodes.iter().filter_map(node_id).collect();
        let ranges: BTreeSet<Ipv4Range> = nodes.iter().filter_map(pod_range).collect();
        let id = free_id(&ids).ok_or(RegisterError::Full { what: "node numbers" })?;
        let range = free_range(self.plan.cluster_range, &ranges)
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

/// The other nodes and where they are.
fn others(node: &str, all: &[Value], contacts: &Contacts) -> Vec<OtherNode> {
    let of = |object: &Value| {
        let object = Field(object);
        let name = object.get("metadata").get("name").string();
        let addresses = object.get("status").get("addresses");
        let internal = addresses.items().find(|it| it.get("type").text() == "InternalIP")?;
        let address = internal.get("address").text().parse().ok()?;
        let contact = contacts.nodes.get(name.as_str());
        let in_contact = contact.is_some_and(|contact| contact.reachable == Some(true));
        (name != node).then_some(OtherNode { name, address, in_contact })
    };
    all.iter().filter_map(of).collect()
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
    use bramble_master_core::membership::NodeContact;

    use super::*;

    #[test]
    fn others_are_known_by_their_addresses_and_contact() {
        let node = |name: &str, address: &str| {
            let address = json!({"type": "InternalIP", "address": address});
            json!({"metadata": {"name": name}, "status": {"addresses": [address]}})
        };
        let all = [node("pi-1", "192.0.2.1"), node("pi-2", "192.0.2.2"), json!({"metadata": {}})];
        let contact = NodeContact { reachable: Some(true), ..NodeContact::default() };
        let contacts = Contacts { nodes: [("pi-2".into(), contact)].into(), ..Contacts::default() };
        let others = others("pi-1", &all, &contacts);
        assert_eq!(others.len(), 1);
        assert_eq!((others[0].name.as_str(), others[0].in_contact), ("pi-2", true));
    }

    #[test]
    fn merging_keeps_what_is_not_named() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "d": 3});
        merge(&mut object, &json!({"a": {"b": 9}, "e": {"f": 4}}));
        assert_eq!(object, json!({"a": {"b": 9, "c": 2}, "d": 3, "e": {"f": 4}}));
    }
}
