//! Renews the Lease objects of nodes in contact, for whoever looks at `kube-node-lease`.
//!
//! In memory only, and nothing here decides by them: membership does.

use bramble_api::{Status, timestamp};
use bramble_store::Class;
use embassy_time::{Duration, Timer};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::clock;
use crate::heartbeat::Heartbeats;
use crate::objects::{Objects, Part, WriteOptions};

/// Upstream's interval and duration.
const RENEW: Duration = Duration::from_secs(10);
const DURATION_S: u32 = 40;
const NAMESPACE: &str = "kube-node-lease";

/// Renews for ever.
pub(super) async fn run(objects: Objects, heartbeats: Arc<Heartbeats>) {
    loop {
        Timer::after(RENEW).await;
        for (node, contact) in heartbeats.contacts().nodes {
            if contact.reachable != Some(true) {
                continue;
            }
            if let Err(status) = renew(&objects, &node).await {
                tracing::debug!(%node, %status, "node lease not renewed");
            }
        }
    }
}

async fn renew(objects: &Objects, node: &str) -> Result<(), Status> {
    let leases = Objects::resource("coordination.k8s.io", "leases");
    let options = WriteOptions { class: Some(Class::Volatile), ..WriteOptions::default() };
    let micros = i64::try_from(clock::time_of_day_ms().saturating_mul(1_000)).unwrap_or(i64::MAX);
    let now = timestamp::format_micro(micros);
    let spec = json!({
        "holderIdentity": node,
        "leaseDurationSeconds": DURATION_S,
        "renewTime": now,
    });
    let renewed = spec.clone();
    let change = move |lease: &mut Value| {
        if let Some(lease) = lease.as_object_mut() {
            lease.insert("spec".to_owned(), renewed.clone());
        }
        Ok(())
    };
    match objects.modify(leases, NAMESPACE, node, Part::Main, &options, &change).await {
        Err(status) if status.code == 404 => {}
        other => return other.map(|_| ()),
    }
    let owner = objects.get(Objects::resource("", "nodes"), "", node).await?;
    let uid = owner.pointer("/metadata/uid").cloned().unwrap_or_default();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": node,
            "namespace": NAMESPACE,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}],
        },
        "spec": spec,
    });
    objects.create(leases, NAMESPACE, lease, &options).await.map(|_| ())
}
