//! How messages name the containers and values that go too far.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::object;

/// All containers of a pod, init containers first, as upstream visits them.
pub(super) fn all(spec: &Value) -> impl Iterator<Item = &Value> {
    ["/initContainers", "/containers", "/ephemeralContainers"]
        .into_iter()
        .flat_map(move |list| object::items(spec, list))
}

/// Names of the containers for which something holds.
pub(super) fn names(spec: &Value, holds: impl Fn(&Value) -> bool) -> Vec<&str> {
    all(spec)
        .filter(|container| holds(container))
        .map(|container| object::text(container, "/name"))
        .collect()
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn listed(names: &[&str]) -> String {
    format!("container{} {}", plural(names.len()), quoted(names))
}

/// `pod`, `container "a"`, `pod and containers "a", "b"`.
pub(super) fn setters(pod: bool, names: &[&str]) -> String {
    match (pod, names) {
        (true, []) => "pod".to_owned(),
        (true, names) => format!("pod and {}", listed(names)),
        (false, names) => listed(names),
    }
}

/// The values of a field that are not allowed: of the pod, of its containers, and both sorted.
pub(super) struct Bad<'a> {
    /// Whether the pod itself has one.
    pub(super) pod: bool,
    /// Containers that have one.
    pub(super) containers: Vec<&'a str>,
    /// The values.
    pub(super) values: BTreeSet<&'a str>,
}

/// Looks for values that are not allowed at a pointer in the security contexts of a pod.
pub(super) fn bad_values<'a>(
    spec: &'a Value,
    pointer: &str,
    allowed: impl Fn(&str) -> bool,
) -> Bad<'a> {
    let found = |value: &'a Value| {
        let text = value.pointer(&format!("/securityContext{pointer}")).and_then(Value::as_str);
        text.filter(|text| !allowed(text))
    };
    let of_pod = found(spec);
    let mut bad =
        Bad { pod: of_pod.is_some(), containers: Vec::new(), values: of_pod.into_iter().collect() };
    for container in all(spec) {
        if let Some(value) = found(container) {
            bad.containers.push(object::text(container, "/name"));
            bad.values.insert(value);
        }
    }
    bad
}

impl Bad<'_> {
    /// Whether none was found.
    pub(super) fn none(&self) -> bool {
        self.values.is_empty()
    }

    /// Who has one.
    pub(super) fn setters(&self) -> String {
        setters(self.pod, &self.containers)
    }

    /// The values, quoted.
    pub(super) fn quoted(&self) -> String {
        quoted(self.values.iter())
    }
}

/// `"a", "b"`.
pub(super) fn quoted<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> =
        texts.into_iter().map(|text| format!("\"{}\"", text.as_ref())).collect();
    texts.join(", ")
}

/// The ending of a word that there are so many of.
pub(super) const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The ending of a verb for so many subjects.
pub(super) const fn verb(count: usize) -> &'static str {
    if count == 1 { "s" } else { "" }
}
