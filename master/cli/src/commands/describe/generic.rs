//! Any object, also of kinds that this build has never heard of; and what all objects share.

use serde_json::Value;

use super::text::Text;
use crate::discovery::Resource;
use crate::object::{controller, name, namespace, pairs, plain, text};

/// Annotations that repeat the whole object.
const LONG_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Name, labels and annotations.
pub(super) fn metadata(resource_namespaced: bool, object: &Value, out: &mut Text) {
    out.field(0, "Name", name(object));
    if resource_namespaced {
        out.field(0, "Namespace", namespace(object));
    }
}

/// Labels and annotations, one per line.
pub(super) fn labels(object: &Value, out: &mut Text) {
    let labels = pairs(object, "/metadata/labels");
    out.list(0, "Labels", labels.into_iter().map(|(name, value)| format!("{name}={value}")));
    let mut annotations = pairs(object, "/metadata/annotations");
    annotations.remove(LONG_ANNOTATION);
    let shown = annotations.into_iter().map(|(name, value)| format!("{name}: {}", value.trim()));
    out.list(0, "Annotations", shown.map(|line| line.replace('\n', " ")));
}

/// `ReplicaSet/web-6d5f`, or nothing.
pub(super) fn controlled_by(object: &Value) -> String {
    controller(object).map_or_else(String::new, |owner| {
        format!("{}/{}", text(owner, "/kind"), text(owner, "/name"))
    })
}

/// Everything that an object says.
pub(super) fn describe(resource: &Resource, object: &Value, out: &mut Text) {
    metadata(resource.namespaced, object, out);
    labels(object, out);
    out.field(0, "API Version", text(object, "/apiVersion"));
    out.field(0, "Kind", text(object, "/kind"));
    out.field(0, "Creation Timestamp", text(object, "/metadata/creationTimestamp"));
    out.field_if(0, "Deletion Timestamp", text(object, "/metadata/deletionTimestamp"));
    out.field_if(0, "Controlled By", &controlled_by(object));
    let secret = resource.group.is_empty() && resource.plural == "secrets";
    for (field, value) in object.as_object().into_iter().flatten() {
        match field.as_str() {
            "metadata" | "apiVersion" | "kind" => {}
            // Whoever looks over the shoulder shall not read it.
            "data" | "stringData" if secret => sizes(value, out),
            _ => nested(0, &title(field), value, out),
        }
    }
}

fn sizes(data: &Value, out: &mut Text) {
    out.heading(0, "Data");
    for (field, value) in data.as_object().into_iter().flatten() {
        // Base64 keeps three bytes in four characters.
        let text = plain(value);
        let bytes = text.trim_end_matches('=').len() * 3 / 4;
        out.field(1, field, format!("{bytes} bytes"));
    }
}

fn nested(indent: usize, name: &str, value: &Value, out: &mut Text) {
    match value {
        Value::Object(fields) if fields.is_empty() => {}
        Value::Array(elements) if elements.is_empty() => {}
        Value::Null => {}
        Value::Object(fields) => {
            out.heading(indent, name);
            for (field, value) in fields {
                nested(indent + 1, &title(field), value, out);
            }
        }
        Value::Array(elements) if elements.iter().all(|element| !element.is_object()) => {
            out.list(indent, name, elements.iter().map(plain));
        }
        Value::Array(elements) => {
            out.heading(indent, name);
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.row(indent + 1, vec!["-".to_owned()]);
                }
                for (field, value) in element.as_object().into_iter().flatten() {
                    nested(indent + 1, &title(field), value, out);
                }
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            let text = plain(value);
            if text.contains('\n') {
                out.heading(indent, name);
                for line in text.lines() {
                    out.row(indent + 1, vec![line.to_owned()]);
                }
            } else {
                out.field(indent, name, text);
            }
        }
    }
}

/// `clusterIP` becomes `Cluster IP`. Keys of users, such as `app.conf`, stay as they are.
fn title(field: &str) -> String {
    if !field.chars().all(|c| c.is_ascii_alphanumeric()) {
        return field.to_owned();
    }
    let mut out = String::new();
    let mut previous_lower = false;
    for (index, c) in field.chars().enumerate() {
        if index == 0 {
            out.push(c.to_ascii_uppercase());
        } else {
            if c.is_ascii_uppercase() && previous_lower {
                out.push(' ');
            }
            out.push(c);
        }
        previous_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::discovery::tests::discovery;

    #[test]
    fn field_names_become_words() {
        assert_eq!(title("clusterIP"), "Cluster IP");
        assert_eq!(title("replicas"), "Replicas");
        assert_eq!(title("app.conf"), "app.conf");
    }

    #[test]
    fn unknown_kinds_are_shown_whole() {
        let discovery = discovery();
        let resource = discovery.find("deploy").unwrap()[0];
        let object = json!({
            "apiVersion": "example/v1", "kind": "Thing",
            "metadata": {"name": "a", "namespace": "n", "creationTimestamp": "t"},
            "spec": {"size": 3, "hosts": ["x", "y"], "rules": [{"path": "/"}], "none": {}},
        });
        let mut text = Text::default();
        describe(resource, &object, &mut text);
        let rendered = text.render();
        assert!(
            rendered
                .ends_with("Spec:\n  Hosts:  x\n          y\n  Rules:\n    Path:  /\n  Size:  3\n"),
            "{rendered}"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut resource = discovery().find("po").unwrap()[0].clone();
        resource.plural = "secrets".to_owned();
        let mut text = Text::default();
        describe(&resource, &json!({"data": {"password": "aHVudGVyMg=="}}), &mut text);
        let rendered = text.render();
        assert!(
            rendered.contains("password:  7 bytes") && !rendered.contains("aHVu"),
            "{rendered}"
        );
    }
}
