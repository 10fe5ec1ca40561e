//! Containers get the defaults of their namespace's limit ranges, and nothing goes beyond those.
//!
//! The rules are `bramble_master_core::admission::limit_range`.

use async_trait::async_trait;
use bramble_api::Status;
use bramble_master_core::admission::limit_range;
use serde_json::Value;

use super::{Attempt, Operation, Plugin, Verdict, is_pod};
use crate::objects::{ListOptions, Objects, meta};

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct LimitRanger;

async fn ranges(objects: &Objects, namespace: &str) -> Result<Vec<Value>, Status> {
    let ranges = Objects::resource("", "limitranges");
    Ok(objects.list(ranges, namespace, &ListOptions::default()).await?.items)
}

#[async_trait]
impl Plugin for LimitRanger {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        let claims = Objects::resource("", "persistentvolumeclaims");
        let pod = is_pod(attempt.resource) && attempt.operation == Operation::Create;
        let claim = attempt.of(claims);
        attempt.operation != Operation::Delete && attempt.subresource.is_none() && (pod || claim)
    }

    async fn mutate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        if is_pod(attempt.resource) {
            let ranges = ranges(objects, attempt.namespace).await?;
            if !ranges.is_empty() {
                limit_range::set_defaults(object, &ranges);
                // What a pod asks for says how well it is treated.
                let status = (attempt.resource.strategy.initial_status)(object);
                if let Some(pod) = object.as_object_mut() {
                    pod.insert("status".to_owned(), status);
                }
            }
        }
        Ok(())
    }

    async fn validate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &Value,
        _: &mut Verdict,
    ) -> Result<(), Status> {
        let ranges = ranges(objects, attempt.namespace).await?;
        let checked = if is_pod(attempt.resource) {
            limit_range::check_pod(object, &ranges)
        } else {
            limit_range::check_claim(object, &ranges)
        };
        let name = meta::text(object, "name");
        checked.map_err(|why| Status::forbidden(attempt.resource, name, &why))
    }
}
