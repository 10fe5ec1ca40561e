//! The conditions of an object, as every kind but Node shows them.

use serde_json::Value;

use super::text::Text;
use crate::object::{items, text};

/// Writes the table of conditions; nothing if there are none.
pub(super) fn write(object: &Value, out: &mut Text) {
    let rows: Vec<_> = items(object, "/status/conditions")
        .iter()
        .map(|condition| {
            let cell = |pointer| text(condition, pointer).to_owned();
            vec![cell("/type"), cell("/status"), cell("/reason"), cell("/message")]
        })
        .collect();
    if !rows.is_empty() {
        out.heading(0, "Conditions");
        out.table(1, &["Type", "Status", "Reason", "Message"], rows);
    }
}
