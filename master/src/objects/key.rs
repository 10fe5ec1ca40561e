//! Objects as they lie in the store, and the store's errors as clients see them.

use bramble_api::patch::bounds;
use bramble_api::{Resource, Status, registry};
use bramble_store::{KeyValue, StoreError};
use serde_json::Value;

use super::meta;

/// Returns the row of a built-in resource.
///
/// # Panics
///
/// When there is none.
pub(super) fn built_in(group: &str, plural: &str) -> &'static Resource {
    registry::all()
        .iter()
        .copied()
        .find(|row| row.group == group && row.plural == plural)
        .unwrap_or_else(|| panic!("no built-in resource `{plural}` in group `{group}`"))
}

/// Reads an entry: the object with its resource version.
///
/// # Errors
///
/// 500 when the entry is no JSON object, which only a damaged store can cause.
pub(crate) fn decode(entry: &KeyValue) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(&entry.value)
        .map_err(|_| Status::internal(format!("the stored object `{}` is damaged", entry.key)))?;
    meta::set(&mut object, "resourceVersion", Value::from(entry.mod_revision.to_string()));
    Ok(object)
}

/// Writes an object without its resource version, which is the entry's revision.
///
/// # Errors
///
/// 413 when it has become too large or too deep to be read again, whatever it was made of.
pub(super) fn encode(object: &Value) -> Result<Vec<u8>, Status> {
    bounds::check(object)?;
    let mut stored = object.clone();
    meta::remove(&mut stored, "resourceVersion");
    let bytes = serde_json::to_vec(&stored)
        .map_err(|error| Status::internal(format!("could not encode the object: {error}")))?;
    if bytes.len() > bounds::RESULT_LEN_MAX {
        return Err(Status::too_large(bounds::RESULT_LEN_MAX));
    }
    Ok(bytes)
}

/// Says in a client's words why the store did not do it.
pub(crate) fn store_status(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { requested, oldest } => {
            Status::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        StoreError::Future { requested, newest } => {
            Status::timeout(format!("Too large resource version: {requested}, current: {newest}"))
        }
        StoreError::Stopped { reason } => {
            Status::unavailable(format!("the store has stopped: {reason}"), 1)
        }
    }
}
