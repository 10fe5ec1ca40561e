//! JSON patch, RFC 6902.

use serde_json::Value;

use crate::status::Status;

/// Operations of one patch, as upstream limits them.
const OPERATIONS_MAX: usize = 10_000;

/// Applies a list of operations; all or none.
///
/// # Errors
/// The patch is malformed, or does not fit the object.
pub fn apply(object: &Value, patch: &Value) -> Result<Value, Status> {
    let operations = patch.as_array().map_or(0, Vec::len);
    if operations > OPERATIONS_MAX {
        return Err(Status::too_large(OPERATIONS_MAX));
    }
    let patch: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).map_err(|error| {
        Status::unprocessable(format!(
            "the server rejected our request due to an error in our request: {error}"
        ))
    })?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_are_applied_or_refused_together() {
        let object = json!({"a": [1], "b": 2});
        let patch = json!([{"op": "test", "path": "/b", "value": 2},
            {"op": "add", "path": "/a/-", "value": 3}, {"op": "remove", "path": "/b"}]);
        assert_eq!(apply(&object, &patch).unwrap(), json!({"a": [1, 3]}));
        let failing = json!([{"op": "remove", "path": "/b"},
            {"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(apply(&object, &failing).unwrap_err().code, 422);
        assert_eq!(apply(&object, &json!({"op": "x"})).unwrap_err().code, 400);
    }
}
