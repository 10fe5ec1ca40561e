//! Turns a board's hello into a Node object: numbers, ranges, labels, status.
//!
//! The board's serial is pinned by the first hello; another one under the same name is a clone or
//! a replacement, and a person has to say which by deleting the Node object.

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
}

/// Why a board was not registered; the text is for the agent's log.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegisterError {
    /// Another board has this name.
    #[error(
        "node `{node}` is the board with serial `{pinned}`, not `{found}`; if this board replaces \
         it, flash its card with `bramble flash --replace`, or delete the Node object"
    )]
    OtherBoard { node: String, pinned: String, found: String },
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

    /// Creates or updates the Node object of a board that said hello from `peer`.
    ///
    /// # Errors
    ///
    /// When the board may not be this node, or there is no room for it.
    pub(super) async fn register(
        &self,
        node: &str,
        hello: &Hello,
        peer: IpAddr,
    ) -> Result<Registered, RegisterError> {
        let dealing = self.dealing.lock().await;
        let nodes = Objects::resource("", "nodes");
        let present = match self.objects.get(nodes, "", node).await {
            Ok(present) => Some(present),
            Err(status) if status.code == 404 => None,
            Err(status) => return Err(status.into()),
        };
        if let Some(present) = &present {
            check_serial(node, present, hello)?;
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
        Ok(Registered { id, pod_range, address })
    }

    /// Lets the next board that has this node's certificate be another one than the last.
    ///
    /// # Errors
    ///
    /// When the Node object cannot be written.
    pub(super) async fn unpin(&self, node: &str) -> Result<(), Status> {
        let change = |object: &mut Value| {
            let annotations = object.pointer_mut("/metadata/annotations");
            if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                annotations.remove(SERIAL_ANNOTATION);
            }
            Ok(())
        };
        let (nodes, options) = (Objects::resource("", "nodes"), WriteOptions::default());
        match self.objects.modify(nodes, "", node, Part::Main, &options, &change).await {
            Err(status) if status.code != 404 => Err(status),
            Ok(_) | Err(_) => Ok(()),
        }
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

fn check_serial(node: &str, present: &Value, hello: &Hello) -> Result<(), RegisterError> {
    let pinned = Field(present).get("metadata").get("annotations").get(SERIAL_ANNOTATION).text();
    if pinned.is_empty() || pinned == hello.serial {
        return Ok(());
    }
    Err(RegisterError::OtherBoard {
        node: node.to_owned(),
        pinned: pinned.to_owned(),
        found: hello.serial.clone(),
    })
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
    fn another_serial_is_refused_and_a_new_node_is_not() {
        let pinned =
            |serial: &str| json!({"metadata": {"annotations": {SERIAL_ANNOTATION: serial}}});
        check_serial("pi-1", &pinned("100000001"), &hello()).unwrap();
        check_serial("pi-1", &json!({}), &hello()).unwrap();
        let error = check_serial("pi-1", &pinned("2"), &hello()).unwrap_err();
        assert!(error.to_string().contains("delete the Node object"), "{error}");
    }

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
