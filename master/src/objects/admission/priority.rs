//! Pods get the priority of their class, and one class at most is the default.
//!
//! The rules are `bramble_master_core::admission::priority`.

use async_trait::async_trait;
use bramble_api::Status;
use bramble_master_core::admission::priority;
use serde_json::Value;

use super::{Attempt, Operation, Plugin, is_pod};
use crate::objects::{ListOptions, Objects, meta};

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        let classes = Objects::resource("scheduling.k8s.io", "priorityclasses");
        let about = is_pod(attempt.resource) || attempt.of(classes);
        attempt.operation != Operation::Delete && attempt.subresource.is_none() && about
    }

    async fn mutate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        if let (true, Some(old)) = (is_pod(attempt.resource), attempt.old) {
            priority::keep(old, object);
            return Ok(());
        }
        let classes = Objects::resource("scheduling.k8s.io", "priorityclasses");
        let classes = objects.list(classes, "", &ListOptions::default()).await?.items;
        let admitted = if is_pod(attempt.resource) {
            priority::admit(object, &classes)
        } else {
            priority::check_class(object, &classes)
        };
        let name = meta::text(object, "name");
        admitted.map_err(|why| Status::forbidden(attempt.resource, name, &why))
    }
}
