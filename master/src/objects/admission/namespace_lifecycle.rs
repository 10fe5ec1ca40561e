//! Nothing is made in namespaces that are not there or go, and what nothing works without stays.

use async_trait::async_trait;
use bramble_api::Status;
use serde_json::Value;

use super::{Attempt, Operation, Plugin};
use crate::objects::{Objects, meta};

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        match attempt.operation {
            Operation::Create => attempt.resource.namespaced,
            Operation::Update => false,
            Operation::Delete => !attempt.resource.strategy.immortal.is_empty(),
        }
    }

    async fn mutate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let (resource, name) = (attempt.resource, meta::text(object, "name"));
        if attempt.operation == Operation::Delete {
            if resource.strategy.immortal.contains(&name) {
                let why = format!("this {} may not be deleted", resource.singular);
                return Err(Status::forbidden(resource, name, &why));
            }
            return Ok(());
        }
        let Some(found) = objects.namespace(attempt.namespace).await? else {
            return Err(Status::not_found(Objects::resource("", "namespaces"), attempt.namespace));
        };
        if meta::deleting(&found) && !resource.strategy.outlives_namespace {
            return Err(Status::namespace_terminating(resource, name, attempt.namespace));
        }
        Ok(())
    }
}
