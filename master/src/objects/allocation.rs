//! What objects hold that no other may have: cluster addresses, node ports, node numbers and pod
//! ranges.
//!
//! Each is an entry of the store, made and removed by the transaction that writes its object, on
//! condition that it is not there: so two objects can never have the same one, whatever becomes of
//! a process or a request meanwhile. Nothing is kept in memory.

use std::collections::{BTreeMap, BTreeSet};

use bramble_api::{Holds, Resource, Status, registry};
use bramble_store::{Class, Compare, KeyValue, Op, RangeRequest, Txn, TxnReply};
use serde_json::Value;

use super::addresses::{node_ports, service_ip};
use super::key::store_status;
use super::{ListOptions, Objects, meta};
use crate::link::NODE_ID_ANNOTATION;

/// What all these entries begin with; not objects.
const PREFIX: &str = "/bramble/allocated/";

/// The part of a transaction that takes and gives back.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Conditions.
    pub(super) compares: Vec<Compare>,
    /// Changes.
    pub(super) ops: Vec<Op>,
}

impl Exchange {
    /// Both together.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.compares.extend(other.compares.iter().cloned());
        self.ops.extend(other.ops.iter().cloned());
        self
    }
}

/// Key of a cluster address.
pub(super) fn ip_key(ip: impl std::fmt::Display) -> String {
    format!("{PREFIX}service-address/{ip}")
}

/// Key of a node port.
pub(super) fn port_key(protocol: &str, port: u16) -> String {
    format!("{PREFIX}node-port/{protocol}/{port}")
}

/// Returns the keys of all that an object holds.
fn held(resource: &Resource, object: &Value) -> BTreeSet<String> {
    match resource.strategy.holds {
        Holds::ServiceAddresses => {
            let ports = node_ports(object).into_iter();
            let ports = ports.map(|(protocol, port)| port_key(&protocol, port));
            service_ip(object).map(ip_key).into_iter().chain(ports).collect()
        }
        Holds::NodeNumbers => {
            let annotations = object.get("metadata").and_then(|meta| meta.get("annotations"));
            let number = annotations.and_then(|map| map.get(NODE_ID_ANNOTATION));
            let number = number.and_then(Value::as_str).unwrap_or("");
            let range = meta::text_at(object, "/spec/podCIDR");
            [("node-number", number), ("pod-range", range)]
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(what, value)| format!("{PREFIX}{what}/{value}"))
                .collect()
        }
        Holds::Nothing => BTreeSet::new(),
    }
}

/// Whether a key of the store is one of these.
pub(super) fn is_allocation(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Says that someone else was faster.
pub(super) fn taken(resource: &Resource, name: &str, key: &str) -> Status {
    let what = key.strip_prefix(PREFIX).unwrap_or(key).replacen('/', " ", 1);
    Status::conflict(resource, name, &format!("{what} was taken at the same time"))
}

/// Works out what a write takes and gives back.
pub(super) fn exchange(resource: &Resource, old: Option<&Value>, new: Option<&Value>) -> Exchange {
    let keys =
        |object: Option<&Value>| object.map(|object| held(resource, object)).unwrap_or_default();
    let (had, has) = (keys(old), keys(new));
    let owner = new.map(owner).unwrap_or_default();
    let mut exchange = Exchange::default();
    for key in has.difference(&had) {
        exchange.compares.push(Compare { key: key.clone(), mod_revision: 0 });
        exchange.ops.push(put(key, &owner));
    }
    exchange.ops.extend(had.difference(&has).map(|key| Op::Delete { key: key.clone() }));
    exchange
}

fn put(key: &str, owner: &str) -> Op {
    Op::Put { key: key.to_owned(), value: owner.as_bytes().into(), class: Class::Intent }
}

/// For people who look into the store.
fn owner(object: &Value) -> String {
    format!("{}/{}", meta::text(object, "namespace"), meta::text(object, "name"))
}

impl Objects {
    /// Entries of what is taken, under a part of the prefix.
    pub(super) async fn allocated(&self) -> Result<Vec<KeyValue>, Status> {
        let request = RangeRequest { prefix: PREFIX.to_owned(), ..RangeRequest::default() };
        Ok(self.store.range(request).await.map_err(store_status)?.entries)
    }

    /// Makes the entries that stored objects lack, as those of an older release do, and removes
    /// those that no object holds.
    pub(super) async fn repair_allocations(&self) -> Result<(), Status> {
        let mut wanted = BTreeMap::new();
        let holders = registry::all().iter().filter(|row| row.strategy.holds != Holds::Nothing);
        for resource in holders {
            for object in self.list(resource, "", &ListOptions::default()).await?.items {
                let keys = held(resource, &object);
                wanted.extend(keys.into_iter().map(|key| (key, owner(&object))));
            }
        }
        let mut txn = Txn::default();
        for entry in self.allocated().await? {
            if wanted.remove(&*entry.key).is_none() {
                txn.ops.push(Op::Delete { key: entry.key.to_string() });
            }
        }
        txn.ops.extend(wanted.iter().map(|(key, owner)| put(key, owner)));
        if txn.ops.is_empty() {
            return Ok(());
        }
        // At the start nobody else writes.
        match self.store.txn(txn).await.map_err(store_status)? {
            TxnReply::Committed { .. } | TxnReply::Conflict { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use bramble_shared::link::Ipv4Range;
    use bramble_store::{MemoryStore, Store};
    use serde_json::json;

    use super::*;
    use crate::objects::{DeleteOptions, WriteOptions};

    async fn objects(store: &Arc<dyn Store>) -> Objects {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 24 };
        Objects::open(Arc::clone(store), range, (30_000, 32_767)).await.unwrap()
    }

    async fn store() -> Arc<dyn Store> {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
        let namespaces = Objects::resource("", "namespaces");
        let options = WriteOptions::default();
        objects(&store).await.create(namespaces, "", namespace, &options).await.unwrap();
        store
    }

    fn service(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "a"},
            "spec": {"type": "NodePort", "ports": [{"port": 80}]}})
    }

    async fn create(objects: &Objects, name: &str) -> Result<Value, Status> {
        let services = Objects::resource("", "services");
        objects.create(services, "a", service(name), &WriteOptions::default()).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn masters_that_know_nothing_of_each_other_deal_nothing_twice() {
        let store = store().await;
        let masters = [objects(&store).await, objects(&store).await];
        let created: Vec<_> = (0..100)
            .map(|n: usize| {
                let objects = masters[n % 2].clone();
                tokio::spawn(async move { create(&objects, &format!("s{n}")).await.unwrap() })
            })
            .collect();
        let mut keys = BTreeSet::new();
        for service in created {
            let service = service.await.unwrap();
            keys.extend(held(Objects::resource("", "services"), &service));
        }
        assert_eq!(keys.len(), 200, "an address and a port each");
        let kept: BTreeSet<String> = masters[0]
            .allocated()
            .await
            .unwrap()
            .iter()
            .map(|entry| entry.key.to_string())
            .collect();
        assert_eq!(kept, keys);
    }

    #[tokio::test]
    async fn write_whose_client_goes_away_is_finished() {
        let store = store().await;
        let objects = objects(&store).await;
        let mut gone = Box::pin(create(&objects, "gone"));
        let mut context = Context::from_waker(Waker::noop());
        assert!(gone.as_mut().poll(&mut context).is_pending());
        drop(gone);
        let services = Objects::resource("", "services");
        let stored = loop {
            match objects.get(services, "a", "gone").await {
                Ok(stored) => break stored,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        // What it has is its own.
        let ip = stored["spec"]["clusterIP"].clone();
        let mut second = service("second");
        second["spec"]["clusterIP"] = ip;
        let refused = objects.create(services, "a", second, &WriteOptions::default()).await;
        assert_eq!(refused.unwrap_err().code, 422);
        objects.delete(services, "a", "gone", &DeleteOptions::default()).await.unwrap();
        assert!(objects.allocated().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn entries_of_an_older_release_are_made_at_the_start() {
        let store = store().await;
        let before = objects(&store).await;
        let service = create(&before, "web").await.unwrap();
        let expected = before.allocated().await.unwrap();
        let key = |entry: &KeyValue| entry.key.to_string();
        let ops = expected.iter().map(|entry| Op::Delete { key: key(entry) });
        let stray = put(&ip_key("10.43.0.99"), "a/gone");
        let txn = Txn { compares: vec![], ops: ops.chain([stray]).collect() };
        store.txn(txn).await.unwrap();

        let after = objects(&store).await.allocated().await.unwrap();
        assert_eq!(
            after.iter().map(key).collect::<BTreeSet<_>>(),
            held(Objects::resource("", "services"), &service)
        );
    }

    #[test]
    fn write_takes_what_is_new_and_gives_back_what_is_gone() {
        let services = Objects::resource("", "services");
        let state = |ip: &str, port: u16| {
            json!({"metadata": {"name": "web", "namespace": "a"}, "spec": {"clusterIP": ip,
                "ports": [{"port": 1, "nodePort": port}, {"port": 2, "nodePort": 30_002}]}})
        };
        let (old, new) = (state("10.43.0.9", 30_001), state("10.43.0.9", 30_003));
        let Exchange { compares, ops } = exchange(services, Some(&old), Some(&new));
        let compares: Vec<_> =
            compares.iter().map(|compare| (compare.key.as_str(), compare.mod_revision)).collect();
        assert_eq!(compares, [(port_key("TCP", 30_003).as_str(), 0)]);
        let gone = Op::Delete { key: port_key("TCP", 30_001) };
        assert_eq!(ops, [put(&port_key("TCP", 30_003), "a/web"), gone]);
        let last = exchange(services, Some(&new), None);
        assert_eq!((last.compares.len(), last.ops.len()), (0, 3));
        assert_eq!(exchange(services, None, Some(&new)).compares.len(), 3);
    }

    #[test]
    fn node_holds_its_number_and_its_range() {
        let node = json!({"metadata": {"name": "n1", "annotations": {NODE_ID_ANNOTATION: "7"}},
            "spec": {"podCIDR": "10.42.7.0/24"}});
        let keys = held(Objects::resource("", "nodes"), &node);
        let expected = ["node-number/7", "pod-range/10.42.7.0/24"];
        assert_eq!(keys, expected.map(|key| format!("{PREFIX}{key}")).into());
        assert!(held(Objects::resource("", "pods"), &node).is_empty());
    }
}
