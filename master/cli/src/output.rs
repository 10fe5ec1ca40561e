//! Objects as YAML, JSON or names.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::yaml::render;

/// What `-o` takes where rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Rows with more columns.
    Wide,
    /// Whole objects.
    Yaml,
    /// Whole objects.
    Json,
    /// One TYPE/NAME per line.
    Name,
}

/// What `-o` takes where objects are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectFormat {
    /// Whole objects.
    Yaml,
    /// Whole objects.
    Json,
    /// One TYPE/NAME per line.
    Name,
}

/// Writes one object as YAML.
pub(crate) fn yaml(object: &Value, out: &mut dyn Write) -> Result<(), CliError> {
    Ok(out.write_all(render(object).as_bytes())?)
}

/// Writes one object as JSON, indented as by kubectl.
pub(crate) fn json(object: &Value, out: &mut dyn Write) -> Result<(), CliError> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    object
        .serialize(&mut serializer)
        .map_err(|error| CliError::Usage(format!("the object cannot be shown as JSON: {error}")))?;
    text.push(b'\n');
    Ok(out.write_all(&text)?)
}

/// The object alone, or a list if there are several or `list` asks for one.
pub(crate) fn joined(mut objects: Vec<Value>, list: bool) -> Value {
    match objects.pop() {
        Some(only) if objects.is_empty() && !list => only,
        last => {
            objects.extend(last);
            json!({
                "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""},
                "items": objects,
            })
        }
    }
}

/// Takes out the book-keeping of who set which field, which is long and rarely asked for.
pub(crate) fn hide_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_shown_as_kubectl_shows_them() {
        let mut out = Vec::new();
        json(&json!({"a": [1]}), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\n    \"a\": [\n        1\n    ]\n}\n");
    }

    #[test]
    fn several_objects_become_a_list() {
        assert_eq!(joined(vec![json!(1)], false), json!(1));
        assert_eq!(joined(vec![json!(1)], true)["items"], json!([1]));
        assert_eq!(joined(vec![json!(1), json!(2)], false)["items"], json!([1, 2]));
        assert_eq!(joined(vec![], true)["items"], json!([]));
    }
}
