//! Claims and volumes stay for as long as they are used: what a controller takes away when they are
//! not is put there from the first moment.

use async_trait::async_trait;
use bramble_api::Status;
use bramble_master_core::controllers::persistent_volume::{CLAIM_PROTECTION, VOLUME_PROTECTION};
use serde_json::{Value, json};

use super::{Attempt, Operation, Plugin};
use crate::objects::{Objects, meta};

/// As upstream's plug-in `StorageObjectInUseProtection`.
#[derive(Debug)]
pub(super) struct StorageProtection;

fn finalizer(attempt: &Attempt<'_>) -> Option<&'static str> {
    let is = |plural: &str| attempt.of(Objects::resource("", plural));
    if is("persistentvolumeclaims") {
        Some(CLAIM_PROTECTION)
    } else {
        is("persistentvolumes").then_some(VOLUME_PROTECTION)
    }
}

#[async_trait]
impl Plugin for StorageProtection {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        attempt.operation == Operation::Create && finalizer(attempt).is_some()
    }

    async fn mutate(
        &self,
        _: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let (Some(finalizer), Some(metadata)) =
            (finalizer(attempt), meta::child(object, "metadata"))
        else {
            return Ok(());
        };
        let all = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if all.is_null() {
            *all = json!([]);
        }
        if let Some(all) = all.as_array_mut().filter(|all| !all.contains(&json!(finalizer))) {
            all.push(json!(finalizer));
        }
        Ok(())
    }
}
