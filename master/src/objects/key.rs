//! The registry's rows by name, and the store's errors as clients see them.

use bramble_api::{Resource, Status, registry};
use bramble_store::StoreError;

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
