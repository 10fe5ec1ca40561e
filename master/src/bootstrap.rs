//! The objects that every cluster has from its first moment.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bramble_api::Status;
use bramble_master_core::admission::priority::{SYSTEM_CLASSES, system_class};
use bramble_master_core::controllers::persistent_volume;
use bramble_shared::link::Ipv4Range;
use embassy_time::{Duration, Timer};
use serde_json::{Value, json};

use crate::clock;
use crate::objects::{DeleteOptions, Objects, Part, WriteOptions};

/// Time between two looks at what every cluster has, as upstream.
const REPAIR_INTERVAL: Duration = Duration::from_secs(60);

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Where the API itself is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiAddress {
    /// First address of the Service range.
    pub(crate) service: Ipv4Addr,
    /// The Service range.
    pub(crate) service_range: Ipv4Range,
    /// Address of cluster DNS.
    pub(crate) dns: Ipv4Addr,
    /// Address of this master.
    pub(crate) address: Ipv4Addr,
    /// Port of this master.
    pub(crate) port: u16,
}

/// Something that every cluster has and that could not be made or put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What it is, such as `services/kubernetes`.
    pub(crate) object: String,
    /// Why not.
    pub(crate) why: String,
}

/// Makes what is missing, and corrects where the API is reached; returns what could not be done.
///
/// Clients can delete and change all of these objects, so nothing that is found here keeps the
/// master from starting: it goes on, and tries again later.
pub(crate) async fn bootstrap(objects: &Objects, api: ApiAddress) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in NAMESPACES {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
        });
        note(&mut problems, "namespaces", name, ensure(objects, "namespaces", namespace).await);
    }
    for (name, value, description) in SYSTEM_CLASSES {
        let class = system_class(name, value, description);
        note(
            &mut problems,
            "priorityclasses",
            name,
            ensure(objects, "priorityclasses", class).await,
        );
    }
    let class = ensure(objects, "storageclasses", local_storage()).await;
    note(&mut problems, "storageclasses", "local-path", class);
    let range = service_cidr(objects, api.service_range).await;
    note(&mut problems, "servicecidrs", "kubernetes", range.map(|()| Value::Null));
    let found = ensure(objects, "services", service(api)).await;
    let found = match found {
        Ok(found) if serves_api(&found, api) => Ok(()),
        Ok(_) => correct_service(objects, api).await,
        Err(status) => Err(status),
    };
    note(&mut problems, "services", "kubernetes", found.map(|()| Value::Null));
    // No pod could reach a loopback address, and an endpoint may not be one.
    if !api.address.is_loopback() {
        let fields = ["addressType", "endpoints", "ports"];
        let found = correct(objects, "endpointslices", endpoint_slice(api), &fields).await;
        note(&mut problems, "endpointslices", "kubernetes", found.map(|()| Value::Null));
        let found = correct(objects, "endpoints", endpoints(api), &["subsets"]).await;
        note(&mut problems, "endpoints", "kubernetes", found.map(|()| Value::Null));
    }
    let found = ensure(objects, "services", dns_service(api)).await;
    let found = match found {
        Ok(found) if same_spec(&found, &dns_service(api)) => Ok(()),
        Ok(_) => correct_dns(objects, api).await,
        Err(status) => Err(status),
    };
    note(&mut problems, "services", "kube-dns", found.map(|()| Value::Null));
    problems
}

/// Looks every minute after what every cluster has, as upstream; ends with the process.
pub(crate) async fn keep(objects: Objects, api: ApiAddress) {
    let mut told = Vec::new();
    loop {
        let problems = bootstrap(&objects, api).await;
        if problems != told {
            for Problem { object, why } in &problems {
                tracing::warn!(object, why, "what every cluster has could not be put right");
            }
            told = problems;
        }
        Timer::after(REPAIR_INTERVAL).await;
    }
}

fn note(problems: &mut Vec<Problem>, plural: &str, name: &str, done: Result<Value, Status>) {
    if let Err(status) = done {
        let object = format!("{plural}/{name}");
        problems.push(Problem { object, why: status.message });
    }
}

/// What the master's own objects are in, by plural name.
fn group_of(plural: &str) -> &'static str {
    match plural {
        "endpointslices" => "discovery.k8s.io",
        "priorityclasses" => "scheduling.k8s.io",
        "servicecidrs" => "networking.k8s.io",
        "storageclasses" => "storage.k8s.io",
        _ => "",
    }
}

/// The class of volumes that are folders on the node of their first pod, for claims that name none.
/// What is in them is kept when a claim goes: nobody here could know that it may be lost.
fn local_storage() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": "local-path",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": persistent_volume::LOCAL_PATH,
        "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// Finds an object, or makes it.
async fn ensure(objects: &Objects, plural: &str, object: Value) -> Result<Value, Status> {
    let resource = Objects::resource(group_of(plural), plural);
    let text = |field: &str| {
        let text = object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
        text.unwrap_or("").to_owned()
    };
    let (namespace, name) = (text("namespace"), text("name"));
    // Looked for first: a Service that is there holds the address that it would be given.
    match objects.get(resource, &namespace, &name).await {
        Err(status) if status.code == 404 => {}
        found => return found,
    }
    match objects.create(resource, &namespace, object, &WriteOptions::default()).await {
        Err(status) if status.reason == "AlreadyExists" => {
            objects.get(resource, &namespace, &name).await
        }
        made => made,
    }
}

/// Shows the Service range, as upstream does, to who wants to know it. Changing the object changes
/// nothing: the range is the master's setting.
async fn service_cidr(objects: &Objects, range: Ipv4Range) -> Result<(), Status> {
    let wanted = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": { "name": "kubernetes" },
        "spec": { "cidrs": [format!("{}/{}", range.network, range.prefix_len)] },
    });
    let found = ensure(objects, "servicecidrs", wanted).await?;
    if found.pointer("/status/conditions/0").is_some() {
        return Ok(());
    }
    let change = |found: &mut Value| {
        if let Some(found) = found.as_object_mut() {
            let ready = json!({
                "type": "Ready", "status": "True", "reason": "",
                "message": "Kubernetes Service CIDR is ready",
                "lastTransitionTime": clock::timestamp(),
            });
            found.insert("status".to_owned(), json!({ "conditions": [ready] }));
        }
        Ok(())
    };
    let resource = Objects::resource(group_of("servicecidrs"), "servicecidrs");
    let (options, part) = (WriteOptions::default(), Part::Status);
    objects.modify(resource, "", "kubernetes", part, &options, &change).await.map(|_| ())
}

/// Whether a Service has the type, the address and at least the ports that it should have. A selector
/// that leads to DNS servers of somebody's own does no harm.
fn same_spec(found: &Value, wanted: &Value) -> bool {
    let same = |pointer: &str| found.pointer(pointer) == wanted.pointer(pointer);
    let ports = |object: &Value| -> BTreeSet<(String, u64)> {
        let ports = object.pointer("/spec/ports").and_then(Value::as_array);
        let port = |port: &Value| {
            let protocol = port.get("protocol").and_then(Value::as_str)?;
            Some((protocol.to_owned(), port.get("port")?.as_u64()?))
        };
        ports.into_iter().flatten().filter_map(port).collect()
    };
    same("/spec/type") && same("/spec/clusterIP") && ports(found).is_superset(&ports(wanted))
}

async fn correct_dns(objects: &Objects, api: ApiAddress) -> Result<(), Status> {
    let services = Objects::resource("", "services");
    let change = move |found: &mut Value| {
        if let Some(found) = found.as_object_mut() {
            let wanted = dns_service(api);
            found.insert("spec".to_owned(), wanted.get("spec").cloned().unwrap_or_default());
        }
        Ok(())
    };
    let (options, part) = (WriteOptions::default(), Part::Main);
    match objects.modify(services, "kube-system", "kube-dns", part, &options, &change).await {
        Err(status) if status.code == 422 => remake(objects, "services", dns_service(api)).await,
        changed => changed.map(|_| ()),
    }
}

/// Cluster DNS: without a selector, since every node answers it itself. Labels as CoreDNS'.
fn dns_service(api: ApiAddress) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": api.dns.to_string(),
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
            ],
        },
    })
}

/// Whether a Service leads to the API.
fn serves_api(found: &Value, api: ApiAddress) -> bool {
    let wanted = service(api);
    let same = |pointer: &str| found.pointer(pointer) == wanted.pointer(pointer);
    // What was dealt besides, such as a node port, does no harm.
    same("/spec/type") && same("/spec/clusterIP") && {
        let ports = found.pointer("/spec/ports").and_then(Value::as_array);
        ports.is_some_and(|ports| {
            ports.iter().any(|port| {
                port.get("port") == Some(&json!(443))
                    && port.get("targetPort") == Some(&json!(api.port))
            })
        })
    }
}

async fn correct_service(objects: &Objects, api: ApiAddress) -> Result<(), Status> {
    let services = Objects::resource("", "services");
    let change = move |found: &mut Value| {
        if let Some(found) = found.as_object_mut() {
            let wanted = service(api);
            found.insert("spec".to_owned(), wanted.get("spec").cloned().unwrap_or_default());
        }
        Ok(())
    };
    let (options, part) = (WriteOptions::default(), Part::Main);
    let changed = objects.modify(services, "default", "kubernetes", part, &options, &change).await;
    match changed {
        // Something of it cannot be changed, such as its address: it is made anew.
        Err(status) if status.code == 422 => remake(objects, "services", service(api)).await,
        changed => changed.map(|_| ()),
    }
}

/// Makes sure of an object of the API's Service, of which these fields have to be as they are wanted.
async fn correct(
    objects: &Objects,
    plural: &str,
    wanted: Value,
    fields: &[&str],
) -> Result<(), Status> {
    let resource = Objects::resource(group_of(plural), plural);
    ensure(objects, plural, wanted.clone()).await?;
    let change = |found: &mut Value| {
        for field in fields {
            if let (Some(found), Some(value)) = (found.as_object_mut(), wanted.get(field)) {
                found.insert((*field).to_owned(), value.clone());
            }
        }
        Ok(())
    };
    let (options, part) = (WriteOptions::default(), Part::Main);
    match objects.modify(resource, "default", "kubernetes", part, &options, &change).await {
        Err(status) if status.code == 422 => remake(objects, plural, wanted.clone()).await,
        changed => changed.map(|_| ()),
    }
}

/// Deletes an object that cannot be changed into what it has to be, and makes it anew.
async fn remake(objects: &Objects, plural: &str, object: Value) -> Result<(), Status> {
    let group = if plural == "endpointslices" { "discovery.k8s.io" } else { "" };
    let resource = Objects::resource(group, plural);
    let options = DeleteOptions::default();
    let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let (_, gone) = objects.delete(resource, &namespace, &name, &options).await?;
    if !gone {
        return Err(Status::conflict(resource, &name, "finalizers hold the one that is there"));
    }
    objects.create(resource, &namespace, object, &WriteOptions::default()).await.map(|_| ())
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

/// As the slice, which is not made from it.
fn endpoints(api: ApiAddress) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": [{ "ip": api.address.to_string() }],
            "ports": [{ "name": "https", "port": api.port, "protocol": "TCP" }],
        }],
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bramble_store::MemoryStore;

    use super::*;

    const RANGE: Ipv4Range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 16 };
    const API: ApiAddress = ApiAddress {
        service: Ipv4Addr::new(10, 43, 0, 1),
        service_range: RANGE,
        dns: Ipv4Addr::new(10, 43, 0, 10),
        address: Ipv4Addr::new(192, 168, 1, 2),
        port: 6443,
    };

    async fn objects() -> Objects {
        Objects::open(Arc::new(MemoryStore::new()), RANGE, (30_000, 32_767)).await.unwrap()
    }

    fn delete() -> DeleteOptions {
        DeleteOptions::default()
    }

    async fn change(objects: &Objects, plural: &str, patch: Value) {
        let group = if plural == "endpointslices" { "discovery.k8s.io" } else { "" };
        let change = move |object: &mut Value| {
            bramble_api::patch::merge::apply(object, &patch);
            Ok(())
        };
        let (resource, options) = (Objects::resource(group, plural), WriteOptions::default());
        objects
            .modify(resource, "default", "kubernetes", Part::Main, &options, &change)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_new_cluster_gets_everything_and_keeps_it() {
        let objects = objects().await;
        assert_eq!(bootstrap(&objects, API).await, []);
        let revision = objects.revision();
        assert_eq!(bootstrap(&objects, API).await, []);
        assert_eq!(objects.revision(), revision);
        let services = Objects::resource("", "services");
        let service = objects.get(services, "default", "kubernetes").await.unwrap();
        assert_eq!(service["spec"]["clusterIP"], json!("10.43.0.1"));
        let ranges = Objects::resource("networking.k8s.io", "servicecidrs");
        let range = objects.get(ranges, "", "kubernetes").await.unwrap();
        assert_eq!(range["spec"]["cidrs"], json!(["10.43.0.0/16"]));
        assert_eq!(range["status"]["conditions"][0]["status"], json!("True"));
    }

    #[tokio::test]
    async fn namespaces_that_nothing_works_without_are_not_deleted() {
        let objects = objects().await;
        bootstrap(&objects, API).await;
        let namespaces = Objects::resource("", "namespaces");
        for name in ["default", "kube-system", "kube-public"] {
            let status = objects.delete(namespaces, "", name, &delete()).await.unwrap_err();
            assert_eq!(
                (status.code, status.message),
                (
                    403,
                    format!(
                        "namespaces \"{name}\" is forbidden: this namespace may not be deleted"
                    )
                )
            );
        }
        objects.delete(namespaces, "", "kube-node-lease", &delete()).await.unwrap();
    }

    #[tokio::test]
    async fn what_clients_did_to_the_api_s_own_objects_is_put_right() {
        let objects = objects().await;
        bootstrap(&objects, API).await;
        let services = Objects::resource("", "services");
        let slices = Objects::resource("discovery.k8s.io", "endpointslices");
        let endpoints = Objects::resource("", "endpoints");
        let check = async |what: &str| {
            assert_eq!(bootstrap(&objects, API).await, [], "{what}");
            let service = objects.get(services, "default", "kubernetes").await.unwrap();
            assert!(serves_api(&service, API), "{what}: {service}");
            let slice = objects.get(slices, "default", "kubernetes").await.unwrap();
            assert_eq!(slice["addressType"], json!("IPv4"), "{what}");
            assert_eq!(slice["endpoints"][0]["addresses"], json!(["192.168.1.2"]), "{what}");
            let endpoints = objects.get(endpoints, "default", "kubernetes").await.unwrap();
            let first = &endpoints["subsets"][0];
            assert_eq!(first["addresses"][0]["ip"], json!("192.168.1.2"), "{what}");
            assert_eq!(first["ports"][0]["port"], json!(6443), "{what}");
        };
        objects.delete(services, "default", "kubernetes", &delete()).await.unwrap();
        objects.delete(slices, "default", "kubernetes", &delete()).await.unwrap();
        check("both are deleted").await;
        change(
            &objects,
            "services",
            json!({"spec": {"type": "ExternalName", "externalName": "evil.example"}}),
        )
        .await;
        check("the Service leads elsewhere").await;
        change(&objects, "services", json!({"spec": {"ports": [{"port": 80}]}})).await;
        check("the Service has another port").await;
        change(
            &objects,
            "endpointslices",
            json!({"endpoints": [{"addresses": ["10.0.0.9"]}], "ports": null}),
        )
        .await;
        check("the slice leads elsewhere").await;
        change(&objects, "endpoints", json!({"subsets": [{"addresses": [{"ip": "10.0.0.9"}]}]}))
            .await;
        check("the endpoints lead elsewhere").await;
        objects.delete(slices, "default", "kubernetes", &delete()).await.unwrap();
        let other = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default"}, "addressType": "FQDN",
            "endpoints": [{"addresses": ["evil.example"]}]});
        objects.create(slices, "default", other, &WriteOptions::default()).await.unwrap();
        check("the slice is of another type").await;
    }

    #[tokio::test]
    async fn cluster_dns_keeps_its_address_and_may_get_other_servers() {
        let objects = objects().await;
        bootstrap(&objects, API).await;
        let services = Objects::resource("", "services");
        let get = async || objects.get(services, "kube-system", "kube-dns").await.unwrap();
        assert_eq!(get().await["spec"]["clusterIP"], json!("10.43.0.10"));
        let change = async |patch: Value| {
            let change = move |object: &mut Value| {
                bramble_api::patch::merge::apply(object, &patch);
                Ok(())
            };
            let (options, part) = (WriteOptions::default(), Part::Main);
            objects
                .modify(services, "kube-system", "kube-dns", part, &options, &change)
                .await
                .unwrap();
            assert_eq!(bootstrap(&objects, API).await, []);
        };
        change(json!({"spec": {"selector": {"k8s-app": "kube-dns"}}})).await;
        assert_eq!(get().await["spec"]["selector"], json!({"k8s-app": "kube-dns"}));
        change(json!({"spec": {"ports": [{"port": 80}]}})).await;
        assert!(same_spec(&get().await, &dns_service(API)));
        change(json!({"spec": {"type": "ExternalName", "externalName": "evil.example"}})).await;
        assert!(same_spec(&get().await, &dns_service(API)));
        objects.delete(services, "kube-system", "kube-dns", &delete()).await.unwrap();
        assert_eq!(bootstrap(&objects, API).await, []);
        assert!(same_spec(&get().await, &dns_service(API)));
    }

    #[tokio::test]
    async fn a_store_whose_default_namespace_is_going_starts() {
        let objects = objects().await;
        // As an older release let clients do it.
        let namespaces = Objects::resource("", "namespaces");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "default"}});
        let made = objects.create(namespaces, "", namespace, &WriteOptions::default()).await;
        let mut going = made.unwrap();
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        going["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let put = bramble_store::Op::Put {
            key: namespaces.key("", "default"),
            value: serde_json::to_vec(&going).unwrap().into(),
            class: bramble_store::Class::Intent,
        };
        let txn = bramble_store::Txn { compares: vec![], ops: vec![put] };
        objects.store().txn(txn).await.unwrap();

        let problems = bootstrap(&objects, API).await;
        let named: Vec<&str> = problems.iter().map(|problem| problem.object.as_str()).collect();
        assert_eq!(
            named,
            ["services/kubernetes", "endpointslices/kubernetes", "endpoints/kubernetes"]
        );
        assert!(problems[0].why.contains("because it is being terminated"), "{problems:?}");
        // Once the controller has emptied it, it comes back with all that belongs to it.
        let none = json!([]);
        objects.finalize_namespace("default", &none, &WriteOptions::default()).await.unwrap();
        assert_eq!(bootstrap(&objects, API).await, []);
    }
}
