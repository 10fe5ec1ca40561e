//! The built-in resources by name, and the store's errors as clients see them.

use std::sync::Arc;

use bramble_api::{Resource, Status, registry};
use bramble_store::StoreError;

/// Returns a built-in resource.
///
/// # Panics
///
/// When there is none.
pub(super) fn built_in(group: &str, plural: &str) -> &'static Arc<Resource> {
    registry::built_in()
        .kept(group, plural)
        .unwrap_or_else(|| panic!("no built-in resource `{plural}` in group `{group}`"))
}

/// Says in a client's words why the store did not do it.
pub(crate) fn store_status(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { requested, oldest } => {
            Status::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        StoreError::Future { requested, newest } => Status::revision_too_large(requested, newest),
        StoreError::Stopped { reason } => {
            Status::unavailable(format!("the store has stopped: {reason}"), 1)
        }
    }
}
