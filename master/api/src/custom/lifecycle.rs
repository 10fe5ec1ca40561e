//! What the status of a definition says: whose names are taken, and whether it is served.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::object::{items, text};
use crate::registry::Registry;

/// The status that a definition has beside others, which may have names of its group already;
/// none if it says so already. `now` is RFC 3339.
#[must_use]
pub fn status(
    definition: &Value,
    others: &[&Value],
    built_in: &Registry,
    now: &str,
) -> Option<Value> {
    let group = text(definition, "/spec/group");
    let mut taken = Names::default();
    for resource in built_in.all().iter().filter(|resource| resource.group == group) {
        taken.resources.extend([&*resource.plural, &*resource.singular]);
        taken.resources.extend(resource.short_names.iter().map(|name| &**name));
        taken.kinds.insert(&resource.kind);
    }
    let own = text(definition, "/metadata/name");
    for other in others {
        if text(other, "/spec/group") == group && text(other, "/metadata/name") != own {
            taken.add(other);
        }
    }
    let (accepted, conflict) = accept(definition, &taken);
    let mut status = definition.get("status").cloned().unwrap_or_else(|| json!({}));
    let names = match &conflict {
        Some((reason, message)) => condition("NamesAccepted", false, reason, message),
        None => condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
    };
    set_condition(&mut status, names, now);
    // Once it is served it stays so, whatever names it asks for later.
    let served = established(definition);
    if !served && conflict.is_none() {
        let message = "the initial names have been accepted";
        let reason = "InitialNamesAccepted";
        set_condition(&mut status, condition("Established", true, reason, message), now);
    } else if !served {
        let message = "not all names are accepted";
        set_condition(&mut status, condition("Established", false, "NotAccepted", message), now);
    }
    status.as_object_mut()?.insert("acceptedNames".to_owned(), accepted);
    (definition.get("status") != Some(&status)).then_some(status)
}

/// Whether a definition's objects are served.
#[must_use]
pub fn established(definition: &Value) -> bool {
    is_true(definition, "Established")
}

/// Whether the definition is to go with its objects.
#[must_use]
pub fn ending(definition: &Value) -> bool {
    !text(definition, "/metadata/deletionTimestamp").is_empty()
}

/// The condition of a definition whose objects are being deleted.
pub fn set_ending(status: &mut Value, reason: &str, message: &str, now: &str) {
    set_condition(status, condition("Terminating", true, reason, message), now);
}

fn is_true(definition: &Value, kind: &str) -> bool {
    items(definition, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

/// Names that a group has.
#[derive(Default)]
struct Names<'a> {
    resources: BTreeSet<&'a str>,
    kinds: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn add(&mut self, definition: &'a Value) {
        let name = |key: &str| text(definition, &format!("/status/acceptedNames/{key}"));
        self.resources.extend([name("plural"), name("singular")]);
        let short = items(definition, "/status/acceptedNames/shortNames").iter();
        self.resources.extend(short.filter_map(Value::as_str));
        self.kinds.extend([name("kind"), name("listKind")]);
    }
}

/// Names that the definition has from now on, and the last conflict if there is one: its reason
/// and what it says.
fn accept(definition: &Value, taken: &Names<'_>) -> (Value, Option<(&'static str, String)>) {
    let wanted = |key: &str| text(definition, &format!("/spec/names/{key}"));
    let present = definition.pointer("/status/acceptedNames");
    let mut accepted: Map<String, Value> =
        present.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut conflict = None;
    let in_use = |name: &str| format!("\"{name}\" is already in use");
    for (key, reason, names) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let name = wanted(key);
        if accepted.get(key).and_then(Value::as_str) != Some(name) && names.contains(name) {
            conflict = Some((reason, in_use(name)));
        } else if !name.is_empty() {
            accepted.insert(key.to_owned(), name.into());
        }
    }
    let short = items(definition, "/spec/names/shortNames");
    let has: Vec<Value> =
        accepted.get("shortNames").and_then(Value::as_array).cloned().unwrap_or_default();
    let clashing: Vec<String> = short
        .iter()
        .filter(|name| !has.contains(name))
        .filter_map(Value::as_str)
        .filter(|name| taken.resources.contains(name))
        .map(in_use)
        .collect();
    match clashing.as_slice() {
        [] => put(&mut accepted, "shortNames", short),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    put(&mut accepted, "categories", items(definition, "/spec/names/categories"));
    (Value::Object(accepted), conflict)
}

fn put(names: &mut Map<String, Value>, key: &str, list: &[Value]) {
    if list.is_empty() {
        names.remove(key);
    } else {
        names.insert(key.to_owned(), Value::Array(list.to_vec()));
    }
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

/// Puts a condition in the place of the one of its type; the time stays if the status does.
fn set_condition(status: &mut Value, mut condition: Value, now: &str) {
    let Some(fields) = status.as_object_mut() else { return };
    let list = fields.entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let place = list.iter().position(|known| known.get("type") == condition.get("type"));
    let known = place.and_then(|place| list.get(place));
    let same = known.is_some_and(|known| known.get("status") == condition.get("status"));
    let since = known.filter(|_| same).and_then(|known| known.get("lastTransitionTime")).cloned();
    if let Some(fields) = condition.as_object_mut() {
        fields.insert("lastTransitionTime".to_owned(), since.unwrap_or_else(|| now.into()));
    }
    match place.and_then(|place| list.get_mut(place)) {
        Some(known) => *known = condition,
        None => list.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::built_in;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        let list = format!("{kind}List");
        json!({"metadata": {"name": format!("{plural}.example.com")},
            "spec": {"group": "example.com", "names": {"plural": plural, "kind": kind,
                "singular": kind.to_lowercase(), "listKind": list, "shortNames": short}},
            "status": {"acceptedNames": {"kind": "", "plural": ""}, "storedVersions": ["v1"]}})
    }

    fn accepted(mut definition: Value) -> Value {
        definition["status"] = status(&definition, &[], built_in(), NOW).unwrap();
        definition
    }

    #[test]
    fn a_definition_alone_is_served_and_stays_as_it_is() {
        let made = accepted(definition("foos", "Foo", &["fo"]));
        assert!(established(&made));
        assert_eq!(made["status"]["acceptedNames"], made["spec"]["names"]);
        let reasons: Vec<_> = items(&made, "/status/conditions")
            .iter()
            .map(|condition| text(condition, "/reason"))
            .collect();
        assert_eq!(reasons, ["NoConflicts", "InitialNamesAccepted"]);
        assert_eq!(status(&made, &[&made], built_in(), "2026-02-02T00:00:00Z"), None);
    }

    #[test]
    fn names_that_another_has_are_refused_until_it_goes() {
        let first = accepted(definition("foos", "Foo", &["fo"]));
        let mut second = definition("bars", "Foo", &[]);
        second["status"] = status(&second, &[&first], built_in(), NOW).unwrap();
        assert!(!established(&second));
        let told = &second["status"]["conditions"][0];
        assert_eq!(told["reason"], "ListKindConflict");
        assert_eq!(told["message"], "\"FooList\" is already in use");
        assert_eq!(second["status"]["acceptedNames"]["plural"], "bars");
        let later = status(&second, &[], built_in(), NOW).unwrap();
        assert_eq!(later["conditions"][1]["status"], "True");

        let mut third = definition("thirds", "Third", &["fo", "th"]);
        third["status"] = status(&third, &[&first], built_in(), NOW).unwrap();
        assert_eq!(third["status"]["conditions"][0]["reason"], "ShortNamesConflict");
    }

    #[test]
    fn what_is_built_in_cannot_be_taken() {
        let mut ingresses = definition("ingresses", "Ingress", &[]);
        ingresses["spec"]["group"] = json!("networking.k8s.io");
        let told = status(&ingresses, &[], built_in(), NOW).unwrap();
        assert_eq!(told["conditions"][0]["status"], "False");
        assert_eq!(told["conditions"][1]["reason"], "NotAccepted");
    }
}
