//! Counts what a namespace uses for a quota's status.
//!
//! The rules are `bramble_master_core::admission::resource_quota`.

use bramble_api::Status;
use bramble_master_core::action::Target;
use bramble_master_core::admission::resource_quota::{self as quota, Subject};
use serde_json::Value;

use super::{ListOptions, Objects, Part, WriteOptions, meta};

impl Objects {
    /// Counts anew what a quota's namespace uses, and stores it if the quota says something else.
    ///
    /// # Errors
    ///
    /// When the quota is another one than when this was asked for, or the store fails.
    pub(crate) async fn recount_quota(&self, target: &Target) -> Result<(), Status> {
        let quotas = Self::resource("", "resourcequotas");
        let (namespace, name) = (&*target.namespace, &*target.name);
        let before = self.get(quotas, namespace, name).await?;
        let registry = self.registry();
        let mut objects = Vec::new();
        for (group, plural) in quota::tracked(&before) {
            let kept = registry.kept(&group, &plural).filter(|resource| resource.namespaced);
            let Some(resource) = kept else { continue };
            let listed = self.list(resource, namespace, &ListOptions::default()).await?.items;
            objects.extend(listed.into_iter().map(|object| (resource, object)));
        }
        let subjects = objects.iter().map(|(resource, object)| Subject {
            group: &resource.group,
            plural: &resource.plural,
            object,
        });
        let status = quota::recount(&before, subjects);
        if before.get("status").is_some_and(|present| quota::same_status(present, &status)) {
            return Ok(());
        }
        // Whoever is admitted meanwhile changes the quota, and it is counted once more.
        let version = meta::text(&before, "resourceVersion").to_owned();
        let change = move |quota: &mut Value| {
            if meta::text(quota, "resourceVersion") != version {
                return Err(Status::conflict_modified(quotas, meta::text(quota, "name")));
            }
            if let Some(quota) = quota.as_object_mut() {
                quota.insert("status".to_owned(), status.clone());
            }
            Ok(())
        };
        let (options, part) = (WriteOptions::default(), Part::Status);
        self.modify(quotas, namespace, name, part, &options, &change).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use bramble_master_core::admission::priority::{SYSTEM_CLASSES, system_class};
    use bramble_master_core::view::resource;
    use bramble_shared::link::Ipv4Range;
    use bramble_store::MemoryStore;
    use serde_json::json;

    use super::*;
    use crate::objects::DeleteOptions;

    async fn objects() -> Objects {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 24 };
        let store = Arc::new(MemoryStore::new());
        let objects = Objects::open(store, range, (30_000, 32_767)).await.unwrap();
        create(&objects, "", "namespaces", "", json!({"metadata": {"name": "a"}})).await.unwrap();
        objects
    }

    async fn create(
        objects: &Objects,
        group: &str,
        plural: &str,
        namespace: &str,
        mut object: Value,
    ) -> Result<Value, Status> {
        let resource = Objects::resource(group, plural);
        let fields = object.as_object_mut().unwrap();
        fields.insert("apiVersion".to_owned(), resource.api_version().into());
        fields.insert("kind".to_owned(), resource.kind.to_string().into());
        objects.create(resource, namespace, object, &WriteOptions::default()).await
    }

    async fn pod(objects: &Objects, name: &str, spec: Value) -> Result<Value, Status> {
        let mut whole = json!({"containers": [{"name": "c", "image": "i"}]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        create(objects, "", "pods", "a", json!({"metadata": {"name": name}, "spec": whole})).await
    }

    async fn recount(objects: &Objects) -> Value {
        let quotas = Objects::resource("", "resourcequotas");
        let quota = objects.get(quotas, "a", "q").await.unwrap();
        let target = Target {
            resource: resource::Resource::RESOURCE_QUOTAS,
            namespace: "a".into(),
            name: "q".into(),
            uid: meta::text(&quota, "uid").into(),
            resource_version: 0,
        };
        objects.recount_quota(&target).await.unwrap();
        objects.get(quotas, "a", "q").await.unwrap()["status"]["used"].clone()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_is_admitted_than_the_quota_has_however_many_ask_at_once() {
        let objects = objects().await;
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "3"}}});
        create(&objects, "", "resourcequotas", "a", quota).await.unwrap();
        assert_eq!(recount(&objects).await, json!({"pods": "0"}));
        let asked: Vec<_> = (0..8)
            .map(|number| {
                let objects = objects.clone();
                tokio::spawn(async move { pod(&objects, &format!("p{number}"), json!({})).await })
            })
            .collect();
        let mut made = Vec::new();
        for answer in asked {
            match answer.await.unwrap() {
                Ok(pod) => made.push(meta::text(&pod, "name").to_owned()),
                Err(status) => assert_eq!(status.code, 403, "{status}"),
            }
        }
        assert_eq!(made.len(), 3, "{made:?}");
        let refused = pod(&objects, "late", json!({})).await.unwrap_err();
        assert_eq!(
            refused.message,
            "pods \"late\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, \
             limited: pods=3"
        );
        let pods = Objects::resource("", "pods");
        objects.delete(pods, "a", &made[0], &DeleteOptions::default()).await.unwrap();
        assert_eq!(recount(&objects).await, json!({"pods": "2"}));
        pod(&objects, "late", json!({})).await.unwrap();
    }

    #[tokio::test]
    async fn pods_get_defaults_of_limit_ranges_and_count_as_what_they_then_are() {
        let objects = objects().await;
        let limit = json!({"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
            "max": {"cpu": "2"}});
        let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [limit]}});
        create(&objects, "", "limitranges", "a", range).await.unwrap();
        let made = pod(&objects, "p", json!({})).await.unwrap();
        let limits = &made["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(limits, &json!({"cpu": "1", "memory": "1Gi"}));
        assert_eq!(made["status"]["qosClass"], "Guaranteed");
        let large = json!({"containers": [{"name": "c", "image": "i",
            "resources": {"limits": {"cpu": "3"}}}]});
        let refused = pod(&objects, "large", large).await.unwrap_err();
        assert_eq!(
            refused.message,
            "pods \"large\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
        );
    }

    #[tokio::test]
    async fn pods_get_the_priority_of_their_class_and_keep_it() {
        let objects = objects().await;
        let unknown =
            pod(&objects, "p", json!({"priorityClassName": "system-node-critical"})).await;
        let why =
            "pods \"p\" is forbidden: no PriorityClass with name system-node-critical was found";
        assert_eq!(unknown.unwrap_err().message, why);
        for (name, value, description) in SYSTEM_CLASSES {
            let class = system_class(name, value, description);
            create(&objects, "scheduling.k8s.io", "priorityclasses", "", class).await.unwrap();
        }
        let critical = json!({"priorityClassName": "system-node-critical"});
        let made = pod(&objects, "p", critical).await.unwrap();
        assert_eq!(made["spec"]["priority"], 2_000_001_000);
        let plain = pod(&objects, "plain", json!({})).await.unwrap();
        assert_eq!(plain["spec"]["priority"], 0);
        assert_eq!(plain["spec"]["preemptionPolicy"], "PreemptLowerPriority");
    }

    #[tokio::test]
    async fn claims_and_volumes_are_protected_from_their_first_moment() {
        let objects = objects().await;
        let spec = json!({"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}});
        let claim = json!({"metadata": {"name": "data"}, "spec": spec});
        let made = create(&objects, "", "persistentvolumeclaims", "a", claim).await.unwrap();
        assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    }
}
