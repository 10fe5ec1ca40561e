//! How large and how deep what a client makes of an object may become.

use serde_json::Value;

pub use crate::decode::DEPTH_MAX;
use crate::status::Status;

/// Longest object in bytes of JSON: the longest body, as upstream.
pub const RESULT_LEN_MAX: usize = 3 * 1024 * 1024;
/// Longest piece of a client's text that a message repeats, in bytes.
const SHOWN_LEN_MAX: usize = 256;

/// Refuses a value that is too deep or too large to be an object.
///
/// # Errors
/// 413 beyond a bound.
pub fn check(value: &Value) -> Result<(), Status> {
    let mut steps = 0;
    if !fits_within(value, DEPTH_MAX, &mut steps) {
        let message = format!("the object is nested deeper than {DEPTH_MAX}");
        return Err(Status::too_large_message(&message));
    }
    match size_within(value, RESULT_LEN_MAX) {
        Some(_) => Ok(()),
        None => Err(Status::too_large(RESULT_LEN_MAX)),
    }
}

/// Whether a value has at most so many levels of lists and objects; counts what it looked at.
///
/// Recursion ends with the levels.
pub(super) fn fits_within(value: &Value, levels: usize, steps: &mut usize) -> bool {
    *steps += 1;
    match (value, levels.checked_sub(1)) {
        (Value::Array(items), Some(below)) => {
            items.iter().all(|item| fits_within(item, below, steps))
        }
        (Value::Object(fields), Some(below)) => {
            fields.values().all(|item| fits_within(item, below, steps))
        }
        (Value::Array(_) | Value::Object(_), None) => false,
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => true,
    }
}

/// Length of a value in bytes of JSON, escapes aside; none as soon as it is beyond the bound.
///
/// The value is no deeper than [`DEPTH_MAX`].
pub(super) fn size_within(value: &Value, bound: usize) -> Option<usize> {
    let mut left = bound;
    spend(value, &mut left)?;
    Some(bound - left)
}

fn spend(value: &Value, left: &mut usize) -> Option<()> {
    let mut take = |bytes: usize| left.checked_sub(bytes).map(|rest| *left = rest);
    match value {
        Value::Null | Value::Bool(true) => take(4),
        Value::Bool(false) => take(5),
        // The shortest number; exact lengths would cost a formatting each.
        Value::Number(_) => take(1),
        Value::String(text) => take(text.len() + 2),
        Value::Array(items) => {
            take(2 + items.len().saturating_sub(1))?;
            items.iter().try_for_each(|item| spend(item, left))
        }
        Value::Object(fields) => {
            take(2 + fields.len().saturating_sub(1))?;
            fields.iter().try_for_each(|(key, value)| {
                // Quotes and colon.
                *left = left.checked_sub(key.len() + 3)?;
                spend(value, left)
            })
        }
    }
}

/// The start of a text, with a mark where it was cut.
#[must_use]
pub fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_LEN_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(SHOWN_LEN_MAX);
    format!("{}...", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn depth_and_size_have_bounds() {
        let nested =
            |levels: usize| (0..levels).fold(json!(1), |inner, _| Value::from(vec![inner]));
        assert!(check(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(check(&nested(DEPTH_MAX + 1)).unwrap_err().code, 413);
        assert!(check(&json!({"a": "x".repeat(RESULT_LEN_MAX - 20)})).is_ok());
        assert_eq!(check(&json!({"a": "x".repeat(RESULT_LEN_MAX)})).unwrap_err().code, 413);
    }

    #[test]
    fn sizes_are_those_of_the_text() {
        for value in [json!({"a": [1, "b", null, true, false], "c": {}}), json!([]), json!("x")] {
            assert_eq!(size_within(&value, 1000), Some(value.to_string().len()), "{value}");
        }
    }
}
