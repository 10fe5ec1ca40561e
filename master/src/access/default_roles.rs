//! Makes the roles and bindings that every cluster has, and puts them right at every start.

use std::sync::Arc;

use bramble_api::{Resource, Status, registry};
use bramble_master_core::access::default_roles::{self, Repair};
use bramble_master_core::access::rbac::GROUP;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::objects::{DeleteOptions, Objects, Part, WriteOptions};

/// Writes at a time, so that few commits hold them all.
const CONCURRENT_MAX: usize = 64;

/// Makes what is missing and puts right what is not as it was; what cannot be is logged.
pub(crate) async fn ensure(objects: Objects) {
    let all = stream::iter(default_roles::all());
    all.for_each_concurrent(CONCURRENT_MAX, |wanted| ensure_one(&objects, wanted)).await;
}

async fn ensure_one(objects: &Objects, wanted: Value) {
    let kind = wanted.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some(resource) = registry::by_kind(GROUP, kind) else { return };
    let text = |field: &str| {
        let value = wanted.get("metadata").and_then(|metadata| metadata.get(field));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (namespace, name) = (text("namespace"), text("name"));
    if let Err(status) = put_right(objects, resource, (&namespace, &name), wanted).await {
        tracing::warn!(%status, resource = %resource.plural, name, "a default role is not right");
    }
}

async fn put_right(
    objects: &Objects,
    resource: &Arc<Resource>,
    (namespace, name): (&str, &str),
    wanted: Value,
) -> Result<(), Status> {
    let options = WriteOptions::default();
    let present = match objects.get(resource, namespace, name).await {
        Ok(present) => present,
        Err(status) if status.code == 404 => {
            return objects.create(resource, namespace, wanted, &options).await.map(|_| ());
        }
        Err(status) => return Err(status),
    };
    match default_roles::repair(&present, &wanted) {
        Repair::None => Ok(()),
        Repair::Update(new) => {
            objects.update(resource, namespace, Part::Main, new, &options).await.map(|_| ())
        }
        Repair::Remake => {
            objects.delete(resource, namespace, name, &DeleteOptions::default()).await?;
            objects.create(resource, namespace, wanted, &options).await.map(|_| ())
        }
    }
}
