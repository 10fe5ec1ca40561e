//! A claim that names no storage class gets the default one, if there is one.

use async_trait::async_trait;
use bramble_api::Status;
use serde_json::Value;

use super::{Attempt, Operation, Plugin};
use crate::objects::{ListOptions, Objects, meta};

/// Says of a class that it is the default one.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
/// Names the class of a claim, as it was written of old.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        let claims = Objects::resource("", "persistentvolumeclaims");
        attempt.operation == Operation::Create && attempt.of(claims)
    }

    async fn mutate(
        &self,
        objects: &Objects,
        _: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        // An empty name says that there is to be none.
        let named = object.pointer("/spec/storageClassName").is_some_and(|it| !it.is_null());
        if named || annotation(object, CLASS_ANNOTATION).is_some() {
            return Ok(());
        }
        let classes = Objects::resource("storage.k8s.io", "storageclasses");
        let listed = objects.list(classes, "", &ListOptions::default()).await?;
        let default = |class: &&Value| annotation(class, DEFAULT) == Some("true");
        // Of more than one the newest, and of those of one second the first by name.
        let order = |a: &&Value, b: &&Value| {
            let made = |it| meta::text(it, "creationTimestamp");
            made(a).cmp(made(b)).then(meta::text(b, "name").cmp(meta::text(a, "name")))
        };
        let newest = listed.items.iter().filter(default).max_by(order);
        let spec = object.get_mut("spec").and_then(Value::as_object_mut);
        if let (Some(class), Some(spec)) = (newest, spec) {
            spec.insert("storageClassName".to_owned(), meta::text(class, "name").into());
        }
        Ok(())
    }
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}
