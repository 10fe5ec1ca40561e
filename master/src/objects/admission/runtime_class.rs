//! Pods get what their runtime class has for them.
//!
//! The rules are `bramble_master_core::admission::runtime_class`.

use async_trait::async_trait;
use bramble_api::Status;
use bramble_master_core::admission::runtime_class;
use serde_json::Value;

use super::{Attempt, Operation, Plugin, is_pod};
use crate::objects::{Objects, meta};

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        attempt.operation == Operation::Create && is_pod(attempt.resource)
    }

    async fn mutate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let class = match runtime_class::wanted(object) {
            Some(name) => {
                let classes = Objects::resource("node.k8s.io", "runtimeclasses");
                objects.find(classes, "", name).await?.map(|found| found.object)
            }
            None => None,
        };
        let name = meta::text(object, "name").to_owned();
        runtime_class::admit(object, class.as_ref())
            .map_err(|why| Status::forbidden(attempt.resource, &name, &why))
    }
}
