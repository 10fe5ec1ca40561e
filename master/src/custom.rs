//! Custom resources: follows their definitions, and has what they define served.
//!
//! A definition's status says that it is served only once it is: whoever reads it there can use it
//! at once. What a status says is decided by `bramble_api::custom::lifecycle`. A definition that is
//! to go takes its objects with it; they are deleted as anybody deletes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bramble_api::custom::{self, CLEANUP, GROUP, PLURAL, lifecycle};
use bramble_api::{Registry, Resource, Status, registry};
use bramble_process::panics;
use bramble_store::{RangeRequest, StoreError, Watch, WatchEvent};
use embassy_time::Timer;
use serde_json::Value;

use crate::clock;
use crate::objects::{DeleteOptions, ListOptions, Objects, Part, Propagation, WriteOptions};
use crate::telemetry::Chain;

/// Pause before the definitions are read again after their watch failed.
const RETRY: embassy_time::Duration = embassy_time::Duration::from_millis(200);
/// Pause before it is looked again whether a definition's objects are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The definitions that there are, and what is made of them.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    known: BTreeMap<String, Definition>,
    /// Those whose objects are being deleted.
    ending: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Debug)]
struct Definition {
    object: Value,
    resources: Vec<Arc<Resource>>,
}

impl Definitions {
    /// Reads all definitions and has them served; returns a watch for what follows.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn load(&mut self, objects: &Objects) -> Result<Box<dyn Watch>, StoreError> {
        let prefix = definitions().prefix();
        let request = RangeRequest { prefix: prefix.clone(), ..RangeRequest::default() };
        let page = objects.store().range(request).await?;
        self.known.clear();
        for entry in &page.entries {
            self.put(&entry.key, Some(&entry.value));
        }
        self.serve(objects);
        objects.store().watch(&prefix, page.revision).await
    }

    /// Follows the definitions for ever; `watch` is that of [`Definitions::load`].
    pub(crate) async fn follow(mut self, objects: Objects, mut watch: Box<dyn Watch>) {
        loop {
            let error = match self.follow_watch(&objects, watch.as_mut()).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            loop {
                if let StoreError::Stopped { .. } = error {
                    return;
                }
                tracing::warn!(error = %Chain(&error), "custom resource definitions are read anew");
                Timer::after(RETRY).await;
                if let Ok(anew) = self.load(&objects).await {
                    watch = anew;
                    break;
                }
            }
        }
    }

    async fn follow_watch(
        &mut self,
        objects: &Objects,
        watch: &mut dyn Watch,
    ) -> Result<std::convert::Infallible, StoreError> {
        loop {
            self.settle(objects).await;
            let batch: Arc<[WatchEvent]> = watch.next().await?;
            for event in batch.iter() {
                self.put(&event.key, event.current.as_ref().map(|entry| &*entry.value));
            }
            self.serve(objects);
        }
    }

    /// Takes in one definition, or that it is gone.
    fn put(&mut self, key: &str, value: Option<&[u8]>) {
        let object = value.and_then(|value| serde_json::from_slice::<Value>(value).ok());
        let Some(object) = object else {
            self.known.remove(key);
            return;
        };
        if self.known.get(key).is_some_and(|known| known.object == object) {
            return;
        }
        let resources =
            if lifecycle::established(&object) { custom::resources(&object) } else { Vec::new() };
        self.known.insert(key.to_owned(), Definition { object, resources });
    }

    /// Has everything served that is to be.
    fn serve(&self, objects: &Objects) {
        let all = self.known.values().flat_map(|definition| &definition.resources);
        let all: Vec<Arc<Resource>> = all.cloned().collect();
        let same = |now: &Registry| {
            let custom = now.all().iter().skip(registry::all().len());
            custom.len() == all.len()
                && custom.zip(&all).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        if !same(&objects.registry()) {
            objects.serve(Registry::with(all));
        }
    }

    /// Gives each definition the status that it is to have, and lets go of those that are to go.
    async fn settle(&mut self, objects: &Objects) {
        let names: Vec<String> = self.known.keys().cloned().collect();
        for key in names {
            let status = {
                let others: Vec<&Value> = self
                    .known
                    .iter()
                    .filter(|(other, _)| **other != key)
                    .map(|(_, definition)| &definition.object)
                    .collect();
                let Some(definition) = self.known.get(&key) else { continue };
                if lifecycle::ending(&definition.object) {
                    self.end(objects, definition);
                    continue;
                }
                let now = clock::timestamp();
                lifecycle::status(&definition.object, &others, registry::built_in(), &now)
            };
            let Some((status, definition)) = status.zip(self.known.get_mut(&key)) else { continue };
            if let Some(fields) = definition.object.as_object_mut() {
                fields.insert("status".to_owned(), status.clone());
            }
            if lifecycle::established(&definition.object) {
                definition.resources = custom::resources(&definition.object);
                self.serve(objects);
            }
            self.write_status(objects, &key, status).await;
        }
    }

    /// Writes a status, if the definition still is what it was decided on.
    async fn write_status(&self, objects: &Objects, key: &str, status: Value) {
        let Some(definition) = self.known.get(key) else { return };
        let spec = definition.object.get("spec").cloned();
        let name = name_of(&definition.object).to_owned();
        let change = move |object: &mut Value| {
            if object.get("spec") != spec.as_ref() {
                return Err(Status::conflict_modified(definitions(), name_of(object)));
            }
            if let Some(fields) = object.as_object_mut() {
                fields.insert("status".to_owned(), status.clone());
            }
            Ok(())
        };
        let options = WriteOptions::default();
        let written =
            objects.modify(definitions(), "", &name, Part::Status, &options, &change).await;
        match written {
            Ok(_) => {}
            // It is gone or another one by now, and seen again.
            Err(status) if matches!(status.code, 404 | 409) => {}
            Err(status) => tracing::warn!(name, %status, "a definition's status is not right"),
        }
    }

    /// Begins to delete a definition's objects, if nobody does so already.
    fn end(&self, objects: &Objects, definition: &Definition) {
        let finalizers = definition.object.pointer("/metadata/finalizers");
        let held = finalizers
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|finalizer| finalizer == CLEANUP));
        let name = name_of(&definition.object).to_owned();
        let lock = |ending: &Mutex<BTreeSet<String>>| {
            let mut ending = ending.lock().unwrap_or_else(|_| panics::torn("definitions that go"));
            ending.insert(name.clone())
        };
        if !held || !lock(&self.ending) {
            return;
        }
        let (objects, ending) = (objects.clone(), Arc::clone(&self.ending));
        let kept = custom::kept(&definition.object);
        tokio::spawn(async move {
            while let Err(status) = clean_up(&objects, &name, kept.as_ref()).await {
                if objects.store().running().is_err() {
                    return;
                }
                tracing::debug!(name, %status, "objects of a definition are not gone yet");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            ending.lock().unwrap_or_else(|_| panics::torn("definitions that go")).remove(&name);
        });
    }
}

/// Deletes the objects of a definition and lets it go; fails as long as some are there.
async fn clean_up(
    objects: &Objects,
    name: &str,
    kept: Option<&Arc<Resource>>,
) -> Result<(), Status> {
    if let Some(resource) = kept {
        let list = objects.list(resource, "", &ListOptions::default()).await?;
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        let mut left = 0;
        for object in &list.items {
            let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or("");
            let deleting = !text("/metadata/deletionTimestamp").is_empty();
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            let gone = match objects.delete(resource, namespace, name, &options).await {
                Ok((_, gone)) => gone,
                Err(status) if status.code == 404 => true,
                Err(status) => return Err(status),
            };
            left += usize::from(!gone || deleting);
        }
        if left > 0 {
            return Err(Status::conflict(resource, name, &format!("{left} objects are left")));
        }
    }
    let options = WriteOptions::default();
    let change = |definition: &mut Value| {
        let finalizers = definition.pointer_mut("/metadata/finalizers");
        if let Some(finalizers) = finalizers.and_then(Value::as_array_mut) {
            finalizers.retain(|finalizer| finalizer != CLEANUP);
        }
        Ok(())
    };
    match objects.modify(definitions(), "", name, Part::Main, &options, &change).await {
        Err(status) if status.code == 404 => Ok(()),
        changed => changed.map(|_| ()),
    }
}

fn definitions() -> &'static Arc<Resource> {
    Objects::resource(GROUP, PLURAL)
}

fn name_of(definition: &Value) -> &str {
    definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bramble_shared::link::Ipv4Range;
    use bramble_store::MemoryStore;
    use serde_json::json;

    use super::*;

    async fn following() -> Objects {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 24 };
        let store = Arc::new(MemoryStore::new());
        let objects = Objects::open(store, range, (30_000, 32_767)).await.unwrap();
        let mut definitions = Definitions::default();
        let watch = definitions.load(&objects).await.unwrap();
        tokio::spawn(definitions.follow(objects.clone(), watch));
        objects
    }

    fn definition(plural: &str) -> Value {
        let names = json!({"plural": plural, "singular": "foo", "kind": "Foo",
            "listKind": "FooList"});
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {"group": "example.com", "scope": "Cluster", "names": names,
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "a": {"type": "string", "default": "A"}}}}}}}]}})
    }

    async fn define(objects: &Objects, definition: Value) {
        let options = WriteOptions::default();
        objects.create(definitions(), "", definition, &options).await.unwrap();
    }

    /// Waits for a condition's reason, and returns the definition.
    async fn reason(objects: &Objects, name: &str, wanted: &str) -> Value {
        let revision = objects.revision();
        let mut watch = objects.store().watch(&definitions().prefix(), revision).await.unwrap();
        loop {
            let found = objects.get(definitions(), "", name).await.unwrap();
            let conditions = found["status"]["conditions"].as_array();
            if conditions.into_iter().flatten().any(|condition| condition["reason"] == wanted) {
                return found;
            }
            watch.next().await.unwrap();
        }
    }

    fn foo(name: &str) -> Value {
        json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": name},
            "spec": {}})
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_defined_is_served_once_its_status_says_so_and_goes_with_its_objects() {
        let objects = following().await;
        define(&objects, definition("foos")).await;
        let told = reason(&objects, "foos.example.com", "InitialNamesAccepted").await;
        assert_eq!(told["status"]["acceptedNames"], told["spec"]["names"]);
        assert_eq!(told["status"]["storedVersions"], json!(["v1"]));
        let foos = objects.registry().find("example.com", "v1", "foos").unwrap().clone();
        let options = WriteOptions::default();
        let made = objects.create(&foos, "", foo("one"), &options).await.unwrap();
        assert_eq!(made["spec"], json!({"a": "A"}));
        let mut held = foo("held");
        held["metadata"]["finalizers"] = json!(["example.com/mine"]);
        objects.create(&foos, "", held, &options).await.unwrap();

        let gone = DeleteOptions::default();
        let (last, removed) =
            objects.delete(definitions(), "", "foos.example.com", &gone).await.unwrap();
        assert!(!removed, "{last}");
        let mut watch = objects.store().watch("/", objects.revision()).await.unwrap();
        while objects.get(&foos, "", "one").await.is_ok() {
            watch.next().await.unwrap();
        }
        let ending = objects.registry().find("example.com", "v1", "foos").unwrap().clone();
        assert!(!ending.verbs.contains(&"create"));
        assert!(objects.get(definitions(), "", "foos.example.com").await.is_ok());
        let release = |object: &mut Value| {
            object["metadata"]["finalizers"] = json!([]);
            Ok(())
        };
        objects.modify(&ending, "", "held", Part::Main, &options, &release).await.unwrap();
        while objects.get(definitions(), "", "foos.example.com").await.is_ok() {
            watch.next().await.unwrap();
        }
        while objects.registry().find("example.com", "v1", "foos").is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn names_are_had_by_one_definition_and_then_by_the_next() {
        let objects = following().await;
        define(&objects, definition("foos")).await;
        reason(&objects, "foos.example.com", "InitialNamesAccepted").await;
        define(&objects, definition("bars")).await;
        reason(&objects, "bars.example.com", "NotAccepted").await;
        assert!(objects.registry().find("example.com", "v1", "bars").is_none());
        let gone = DeleteOptions::default();
        objects.delete(definitions(), "", "foos.example.com", &gone).await.unwrap();
        reason(&objects, "bars.example.com", "InitialNamesAccepted").await;
        assert!(objects.registry().find("example.com", "v1", "bars").is_some());
    }
}
