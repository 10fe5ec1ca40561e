//! The objects that every cluster has from its first moment.

use std::net::Ipv4Addr;

use bramble_api::Status;
use serde_json::{Value, json};

use crate::objects::{Objects, WriteOptions};

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Where the API itself is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiAddress {
    /// First address of the Service range.
    pub(crate) service: Ipv4Addr,
    /// Address of this master.
    pub(crate) address: Ipv4Addr,
    /// Port of this master.
    pub(crate) port: u16,
}

/// Makes what is missing, and corrects where the API is reached.
///
/// # Errors
///
/// When the store fails.
pub(crate) async fn bootstrap(objects: &Objects, api: ApiAddress) -> Result<(), Status> {
    for name in NAMESPACES {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
        });
        ensure(objects, "", "namespaces", "", namespace).await?;
    }
    ensure(objects, "", "services", "default", service(api)).await?;
    if api.address.is_loopback() {
        // No pod could reach it, and an endpoint may not be a loopback address.
        return Ok(());
    }
    let slices = Objects::resource("discovery.k8s.io", "endpointslices");
    ensure(objects, slices.group, slices.plural, "default", endpoint_slice(api)).await?;
    let wanted = endpoint_slice(api);
    let change = move |slice: &mut Value| {
        for field in ["endpoints", "ports"] {
            if let (Some(slice), Some(value)) = (slice.as_object_mut(), wanted.get(field)) {
                slice.insert(field.to_owned(), value.clone());
            }
        }
        Ok(())
    };
    let options = WriteOptions::default();
    let part = crate::objects::Part::Main;
    objects.modify(slices, "default", "kubernetes", part, &options, &change).await.map(|_| ())
}

async fn ensure(
    objects: &Objects,
    group: &str,
    plural: &str,
    namespace: &str,
    object: Value,
) -> Result<(), Status> {
    let resource = Objects::resource(group, plural);
    // Looked for first: a Service that is there holds the address that it would be given.
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    match objects.get(resource, namespace, name).await {
        Err(status) if status.code == 404 => {}
        Err(status) => return Err(status),
        Ok(_) => return Ok(()),
    }
    match objects.create(resource, namespace, object, &WriteOptions::default()).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "AlreadyExists" => Ok(()),
        Err(status) => Err(status),
    }
}

fn service(api: ApiAddress) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": api.service.to_string(),
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": api.port }],
        },
    })
}

fn endpoint_slice(api: ApiAddress) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": { "kubernetes.io/service-name": "kubernetes" },
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [api.address.to_string()],
            "conditions": { "ready": true, "serving": true, "terminating": false },
        }],
        "ports": [{ "name": "https", "port": api.port, "protocol": "TCP" }],
    })
}
