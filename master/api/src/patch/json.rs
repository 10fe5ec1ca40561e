//! JSON patch, RFC 6902, within bounds.
//!
//! Operations are done on a copy, so a patch that fails leaves nothing behind and nothing has to
//! be undone. What a patch may cost is bounded while it runs: operations, bytes that copies add,
//! depth, and items that are moved about.

use serde_json::Value;

use super::bounds::{self, DEPTH_MAX};
use super::pointer::{ArrayIndex, Pointer};
use crate::status::Status;

/// Operations of one patch, as upstream limits them.
pub const OPERATIONS_MAX: usize = 10_000;
/// Bytes that all copies of one patch may add, as upstream's limit on accumulated copies: the
/// largest body.
const COPIED_MAX: usize = bounds::RESULT_LEN_MAX;
/// Steps that a patch may take beside its operations: items of lists that make room or close a
/// gap, and values whose depth is measured. A legal patch of 10,000 insertions at the front of a
/// list of 3,000 takes 30 million.
const STEPS_MAX: usize = 32 * 1024 * 1024;

/// Why an operation could not be done.
#[derive(Debug, thiserror::Error)]
enum OperationError {
    /// It does not fit the object.
    #[error("{operation} operation does not apply: {why}")]
    DoesNotApply {
        /// The operation.
        operation: &'static str,
        /// What is missing.
        why: String,
    },
    /// A value is another one than the patch expects.
    #[error("testing value {path} failed")]
    Test {
        /// Where.
        path: String,
    },
    /// The result would be larger or deeper than any object.
    #[error("{0}")]
    TooLarge(String),
}

/// One operation, read.
#[derive(Debug)]
enum Operation<'a> {
    Add { path: Pointer, value: &'a Value },
    Remove { path: Pointer },
    Replace { path: Pointer, value: &'a Value },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: &'a Value },
}

/// Applies a list of operations; all or none.
///
/// # Errors
/// The patch is malformed, does not fit the object, or costs more than a patch may.
pub fn apply(object: &Value, patch: &Value) -> Result<Value, Status> {
    let malformed =
        || Status::bad_request("error decoding patch: a list of operations is expected");
    let list = patch.as_array().ok_or_else(malformed)?;
    if list.len() > OPERATIONS_MAX {
        return Err(Status::too_large_message(&format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            list.len()
        )));
    }
    let operations = list.iter().map(read).collect::<Result<Vec<Operation<'_>>, Status>>()?;
    let mut run = Run { document: object.clone(), copied: 0, steps: 0 };
    for operation in &operations {
        run.step(operation).map_err(|error| match error {
            OperationError::TooLarge(message) => Status::too_large_message(&message),
            OperationError::DoesNotApply { .. } | OperationError::Test { .. } => {
                Status::unprocessable(format!(
                    "the server rejected our request due to an error in our request: {error}"
                ))
            }
        })?;
    }
    bounds::check(&run.document)?;
    Ok(run.document)
}

fn read(operation: &Value) -> Result<Operation<'_>, Status> {
    let refuse = |why: &str| Err(Status::bad_request(format!("error decoding patch: {why}")));
    let pointer = |field: &str| -> Result<Pointer, Status> {
        let text = operation.get(field).and_then(Value::as_str);
        let text = text.ok_or_else(|| {
            Status::bad_request(format!("error decoding patch: missing field `{field}`"))
        })?;
        Pointer::parse(text).ok_or_else(|| {
            let shown = bounds::shortened(text);
            Status::bad_request(format!("error decoding patch: `{shown}` is no JSON pointer"))
        })
    };
    let value = || {
        let value = operation.get("value");
        value.ok_or_else(|| Status::bad_request("error decoding patch: missing field `value`"))
    };
    Ok(match operation.get("op").and_then(Value::as_str) {
        Some("add") => Operation::Add { path: pointer("path")?, value: value()? },
        Some("remove") => Operation::Remove { path: pointer("path")? },
        Some("replace") => Operation::Replace { path: pointer("path")?, value: value()? },
        Some("move") => Operation::Move { from: pointer("from")?, path: pointer("path")? },
        Some("copy") => Operation::Copy { from: pointer("from")?, path: pointer("path")? },
        // A test without a value tests for null, as upstream.
        Some("test") => Operation::Test {
            path: pointer("path")?,
            value: operation.get("value").unwrap_or(&Value::Null),
        },
        Some(other) => return refuse(&format!("Unexpected kind: {}", bounds::shortened(other))),
        None => return refuse("missing field `op`"),
    })
}

struct Run {
    document: Value,
    copied: usize,
    steps: usize,
}

impl Run {
    fn step(&mut self, operation: &Operation<'_>) -> Result<(), OperationError> {
        match operation {
            Operation::Add { path, value } => {
                self.measure(value, path)?;
                self.add("add", path, (*value).clone())
            }
            Operation::Remove { path } => self.take("remove", path).map(drop),
            Operation::Replace { path, value } => {
                self.measure(value, path)?;
                let place =
                    path.find_mut(&mut self.document).ok_or_else(|| missing("replace", path))?;
                *place = (*value).clone();
                Ok(())
            }
            Operation::Move { from, path } => {
                if path.is_below(from) {
                    let why = format!("`{}` cannot be moved into itself", from.shown());
                    return Err(OperationError::DoesNotApply { operation: "move", why });
                }
                let value = self.take("move", from)?;
                // What does not sink cannot become too deep.
                if path.len() > from.len() {
                    self.measure(&value, path)?;
                }
                self.add("move", path, value)
            }
            Operation::Copy { from, path } => {
                let value = from.find(&self.document).ok_or_else(|| missing("copy", from))?;
                let left = COPIED_MAX.saturating_sub(self.copied);
                let Some(size) = bounds::size_within(value, left) else {
                    return Err(OperationError::TooLarge(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is \
                         more than the limit {COPIED_MAX}"
                    )));
                };
                let value = value.clone();
                self.copied += size;
                self.measure(&value, path)?;
                self.add("copy", path, value)
            }
            Operation::Test { path, value } => {
                let same = match path.find(&self.document) {
                    Some(found) => found == *value,
                    None => value.is_null(),
                };
                if same { Ok(()) } else { Err(OperationError::Test { path: path.shown() }) }
            }
        }
    }

    /// Refuses a value that would be too deep at its place.
    fn measure(&mut self, value: &Value, path: &Pointer) -> Result<(), OperationError> {
        let levels = DEPTH_MAX.saturating_sub(path.len());
        let mut steps = 0;
        let fits = bounds::fits_within(value, levels, &mut steps);
        self.spend(steps)?;
        if fits {
            return Ok(());
        }
        let message = format!("the result of the patch is nested deeper than {DEPTH_MAX}");
        Err(OperationError::TooLarge(message))
    }

    fn spend(&mut self, steps: usize) -> Result<(), OperationError> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > STEPS_MAX {
            let message = "the patch moves too much about".to_owned();
            return Err(OperationError::TooLarge(message));
        }
        Ok(())
    }

    fn add(
        &mut self,
        operation: &'static str,
        path: &Pointer,
        value: Value,
    ) -> Result<(), OperationError> {
        let Some((parents, last)) = path.split_last() else {
            self.document = value;
            return Ok(());
        };
        let moved = match parents.find_mut(&mut self.document) {
            Some(Value::Object(fields)) => {
                fields.insert(last.to_owned(), value);
                0
            }
            Some(Value::Array(items)) => {
                let place = match ArrayIndex::parse(last) {
                    Some(ArrayIndex::End) => Some(items.len()),
                    Some(ArrayIndex::At(index)) => Some(index),
                    // The last place of a list that has one more item is its end.
                    Some(ArrayIndex::FromEnd(back)) => (items.len() + 1).checked_sub(back),
                    None => None,
                };
                let Some(place) = place.filter(|place| *place <= items.len()) else {
                    return Err(missing(operation, path));
                };
                items.insert(place, value);
                items.len() - place
            }
            Some(_) | None => return Err(missing(operation, path)),
        };
        self.spend(moved)
    }

    fn take(&mut self, operation: &'static str, path: &Pointer) -> Result<Value, OperationError> {
        let Some((parents, last)) = path.split_last() else {
            if operation == "remove" {
                return Err(missing(operation, path));
            }
            return Ok(self.document.take());
        };
        let (value, moved) = match parents.find_mut(&mut self.document) {
            Some(Value::Object(fields)) => (fields.remove(last), 0),
            Some(Value::Array(items)) => {
                let place = ArrayIndex::parse(last).and_then(|index| index.of(items.len()));
                match place {
                    Some(place) => (Some(items.remove(place)), items.len() - place),
                    None => (None, 0),
                }
            }
            Some(_) | None => (None, 0),
        };
        self.spend(moved)?;
        value.ok_or_else(|| missing(operation, path))
    }
}

fn missing(operation: &'static str, path: &Pointer) -> OperationError {
    let why = format!("doc is missing path: \"{}\": missing value", path.shown());
    OperationError::DoesNotApply { operation, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: &Value, patch: &Value, expected: &Value) {
        assert_eq!(&apply(object, patch).unwrap(), expected);
    }

    fn refused(object: &Value, patch: &Value) -> u16 {
        apply(object, patch).unwrap_err().code
    }

    #[test]
    fn operations_are_applied_or_refused_together() {
        let object = json!({"a": [1], "b": 2});
        let patch = json!([{"op": "test", "path": "/b", "value": 2},
            {"op": "add", "path": "/a/-", "value": 3}, {"op": "remove", "path": "/b"}]);
        check(&object, &patch, &json!({"a": [1, 3]}));
        let failing = json!([{"op": "remove", "path": "/b"},
            {"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(refused(&object, &failing), 422);
        assert_eq!(refused(&object, &json!({"op": "x"})), 400);
    }

    #[test]
    fn every_operation_does_what_the_rfc_says() {
        let object = json!({"a": {"b": [1, 2, 3]}, "x/y": {"~": 1}});
        let one = |operation: Value| json!([operation]);
        let cases = [
            (json!({"op": "add", "path": "/a/b/1", "value": 9}), "/a/b", json!([1, 9, 2, 3])),
            (json!({"op": "add", "path": "/a/b/-1", "value": 9}), "/a/b", json!([1, 2, 3, 9])),
            (json!({"op": "remove", "path": "/a/b/-1"}), "/a/b", json!([1, 2])),
            (
                json!({"op": "replace", "path": "/a/b/0", "value": null}),
                "/a/b",
                json!([null, 2, 3]),
            ),
            (json!({"op": "move", "from": "/a/b/0", "path": "/a/b/2"}), "/a/b", json!([2, 3, 1])),
            (json!({"op": "copy", "from": "/a/b", "path": "/c"}), "/c", json!([1, 2, 3])),
            (json!({"op": "replace", "path": "/x~1y/~0", "value": 2}), "/x~1y/~0", json!(2)),
            (json!({"op": "move", "from": "/a/b", "path": ""}), "", json!([1, 2, 3])),
            (json!({"op": "add", "path": "", "value": {"z": 1}}), "/z", json!(1)),
            (json!({"op": "test", "path": "/none"}), "/a/b/0", json!(1)),
        ];
        for (operation, place, expected) in cases {
            let result = apply(&object, &one(operation.clone())).unwrap();
            assert_eq!(result.pointer(place), Some(&expected), "{operation}");
        }
        for operation in [
            json!({"op": "add", "path": "/a/b/4", "value": 1}),
            json!({"op": "add", "path": "/a/b/01", "value": 1}),
            json!({"op": "add", "path": "/none/b", "value": 1}),
            json!({"op": "add", "path": "/a/b/0/x", "value": 1}),
            json!({"op": "remove", "path": "/a/b/3"}),
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "remove", "path": ""}),
            json!({"op": "replace", "path": "/none", "value": 1}),
            json!({"op": "move", "from": "/a", "path": "/a/b/0"}),
            json!({"op": "copy", "from": "/none", "path": "/b"}),
            json!({"op": "test", "path": "/a/b/0", "value": "1"}),
        ] {
            assert_eq!(refused(&object, &one(operation.clone())), 422, "{operation}");
        }
        for operation in [
            json!({"path": "/a"}),
            json!({"op": "add", "path": "/a"}),
            json!({"op": "add", "path": "a", "value": 1}),
            json!({"op": "explode", "path": "/a"}),
            json!({"op": "move", "path": "/a"}),
            json!(1),
        ] {
            assert_eq!(refused(&object, &one(operation.clone())), 400, "{operation}");
        }
    }

    #[test]
    fn a_move_to_the_root_before_a_failing_operation_is_refused() {
        let object = json!({"metadata": {"labels": {"a": "b"}}});
        let patch = json!([{"op": "move", "from": "/metadata", "path": ""},
            {"op": "remove", "path": "/metadata"}]);
        assert_eq!(refused(&object, &patch), 422);
    }

    #[test]
    fn too_many_operations_are_refused() {
        let test = json!({"op": "test", "path": "/a", "value": 1});
        let many = |count: usize| Value::Array(vec![test.clone(); count]);
        assert!(apply(&json!({"a": 1}), &many(OPERATIONS_MAX)).is_ok());
        let status = apply(&json!({"a": 1}), &many(OPERATIONS_MAX + 1)).unwrap_err();
        assert_eq!(
            status.message,
            "Request entity is too large: The allowed maximum operations in a JSON patch is 10000, \
             got 10001"
        );
    }

    #[test]
    fn copies_that_double_the_depth_or_the_size_are_refused() {
        let deeper = |count: usize| {
            let double = json!({"op": "copy", "from": "/a", "path": "/a/x"});
            Value::Array(vec![double; count])
        };
        let object = json!({"a": {}});
        assert!(apply(&object, &deeper(3)).is_ok());
        assert_eq!(refused(&object, &deeper(9000)), 413);

        let larger = json!({"op": "copy", "from": "/list", "path": "/list/-"});
        let list = json!({"list": [vec![0; 64]]});
        assert_eq!(refused(&list, &Value::Array(vec![larger; 50])), 413);
        let wide = json!({"list": ["x".repeat(1 << 20)]});
        let copies: Vec<Value> = (0..4)
            .map(|index| json!({"op": "copy", "from": "/list/0", "path": format!("/c{index}")}))
            .collect();
        assert_eq!(refused(&wide, &Value::Array(copies)), 413);
    }

    #[test]
    fn moving_a_large_list_about_has_an_end() {
        let object = json!({"list": vec![0; 200_000]});
        let front = json!({"op": "add", "path": "/list/0", "value": 1});
        assert_eq!(refused(&object, &Value::Array(vec![front; 1_000])), 413);
    }
}
