//! Rules for custom resource definitions: names, versions, subresources, columns.
//!
//! What all versions say alike upstream has once, beside the versions, and names it there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::{names, structural};
use crate::custom::columns::JsonPath;
use crate::object::{items, text, truth};
use crate::status::FieldError;

const SPEC: &str = "spec";
/// Types of printed columns.
const COLUMN_TYPES: &str = "boolean,date,integer,number,string";
/// Formats of printed columns.
const COLUMN_FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
/// Most fields that objects can be selected by.
const SELECTABLE_MAX: usize = 8;
/// Who approved a definition in a group of Kubernetes itself.
const APPROVED: &str = "api-approved.kubernetes.io";

/// What is wrong with a definition.
pub(crate) fn definition(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec = object.get(SPEC).unwrap_or(&Value::Null);
    name(object, spec, &mut errors);
    group(spec, &mut errors);
    let scope = text(spec, "/scope");
    errors.extend(super::one_of("spec.scope".to_owned(), scope, &["Cluster", "Namespaced"]));
    versions(spec, &mut errors);
    all_names(spec, &mut errors);
    conversion(spec, &mut errors);
    stored_versions(object, spec, &mut errors);
    approval(object, spec, &mut errors);
    if truth(object, "/spec/preserveUnknownFields") {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", true, detail));
    }
    errors.list()
}

/// What an update may not change.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut fixed = vec!["spec.group", "spec.names.plural"];
    let established = items(old, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "Established" && text(condition, "/status") == "True"
    });
    if established {
        fixed.splice(..0, ["spec.scope", "spec.names.kind"]);
    }
    super::all_unchanged(old, new, &fixed)
}

fn name(object: &Value, spec: &Value, errors: &mut Errors) {
    let name = text(object, "/metadata/name");
    if name != format!("{}.{}", text(spec, "/names/plural"), text(spec, "/group")) {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", name, detail));
    }
}

fn group(spec: &Value, errors: &mut Errors) {
    let (field, group) = ("spec.group", text(spec, "/group"));
    let wrong = names::dns_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid(field, group, &wrong.join(",")));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid(field, group, detail));
    }
}

/// What of the versions is the same in all of them, and so is told beside them.
struct Shared {
    schema: bool,
    subresources: bool,
    columns: bool,
    selectable: bool,
}

impl Shared {
    fn of(versions: &[Value]) -> Self {
        let same = |key: &str| {
            let first = versions.first().and_then(|version| version.get(key));
            versions.iter().all(|version| version.get(key) == first)
        };
        Self {
            schema: same("schema"),
            subresources: same("subresources"),
            columns: same("additionalPrinterColumns"),
            selectable: same("selectableFields"),
        }
    }
}

fn versions(spec: &Value, errors: &mut Errors) {
    let versions = items(spec, "/versions");
    let shared = Shared::of(versions);
    let storing = versions.iter().filter(|version| truth(version, "/storage")).count();
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (place, version) in versions.iter().enumerate() {
        let (own, name) = (format!("spec.versions[{place}]"), text(version, "/name"));
        unique &= seen.insert(name);
        let wrong = names::dns_1035_label(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(format!("{own}.name"), name, &wrong.join(",")));
        }
        deprecation(version, &own, errors);
        // What is told beside the versions is told once.
        let at = |shared: bool, inside: &str, beside: &str| match (shared, place) {
            (false, _) => Some(format!("{own}.{inside}")),
            (true, 0) => Some(format!("{SPEC}.{beside}")),
            (true, _) => None,
        };
        let status = version.pointer("/subresources/status").is_some();
        let schema = version.pointer("/schema/openAPIV3Schema");
        match (schema, at(shared.schema, "schema", "validation")) {
            (None | Some(Value::Null), _) => {
                let field = format!("{own}.schema.openAPIV3Schema");
                errors.push(FieldError::required(field, ""));
            }
            (Some(_), None) => {}
            (Some(schema), Some(at)) => {
                structural::check(schema, &format!("{at}.openAPIV3Schema"), status, errors);
            }
        }
        if let Some(at) = at(shared.subresources, "subresources", "subresources") {
            scale(version, &at, errors);
        }
        let columns = "additionalPrinterColumns";
        if let Some(at) = at(shared.columns, columns, columns) {
            for (place, column) in items(version, "/additionalPrinterColumns").iter().enumerate() {
                printer_column(column, &format!("{at}[{place}]"), errors);
            }
        }
        if let Some(at) = at(shared.selectable, "selectableFields", "selectableFields") {
            selectable(version, schema.unwrap_or(&Value::Null), &at, errors);
        }
    }
    let mut whole = |detail: &str| {
        let list = Value::Array(versions.to_vec());
        errors.push(FieldError::invalid("spec.versions", list, detail));
    };
    if !unique {
        whole("must contain unique version names");
    }
    if storing != 1 {
        whole("must have exactly one version marked as storage version");
    }
}

fn deprecation(version: &Value, at: &str, errors: &mut Errors) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let field = format!("{at}.deprecationWarning");
    let mut wrong = |detail: &str| errors.push(FieldError::invalid(&field, warning, detail));
    if !truth(version, "/deprecated") {
        return wrong("can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        wrong("must be <= 256 characters long");
    }
    if warning.is_empty() {
        wrong("must not be an empty string");
    }
    if let Some(place) = warning.find(char::is_control) {
        wrong(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at \
             index {place}"
        ));
    }
}

fn scale(version: &Value, at: &str, errors: &mut Errors) {
    let Some(scale) = version.pointer("/subresources/scale").filter(|it| it.is_object()) else {
        return;
    };
    for (key, starts, required) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."], true),
        ("labelSelectorPath", &[".spec.", ".status."], false),
    ] {
        let (field, path) = (format!("{at}.scale.{key}"), text(scale, &format!("/{key}")));
        let words: Vec<&str> = starts.iter().map(|start| start.trim_end_matches('.')).collect();
        if path.is_empty() {
            if required {
                errors.push(FieldError::required(field, ""));
            }
        } else if !path.starts_with('.') {
            let detail = "must be a simple json path starting with .";
            errors.push(FieldError::invalid(field, path, detail));
        } else if !starts.iter().any(|start| path.starts_with(start)) {
            let either = if words.len() > 1 { "either " } else { "" };
            let detail = format!("should be a json path under {either}{}", words.join(" or "));
            errors.push(FieldError::invalid(field, path, &detail));
        }
    }
}

fn printer_column(column: &Value, at: &str, errors: &mut Errors) {
    let value = |key: &str| text(column, &format!("/{key}"));
    let must = |list: &str| format!("must be one of {list}");
    if value("name").is_empty() {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    }
    let (field, kind) = (format!("{at}.type"), value("type"));
    if kind.is_empty() {
        errors.push(FieldError::required(field, must(COLUMN_TYPES)));
    } else if !COLUMN_TYPES.split(',').any(|known| known == kind) {
        errors.push(FieldError::invalid(field, kind, &must(COLUMN_TYPES)));
    }
    let format = value("format");
    if !format.is_empty() && !COLUMN_FORMATS.split(',').any(|known| known == format) {
        let field = format!("{at}.format");
        errors.push(FieldError::invalid(field, format, &must(COLUMN_FORMATS)));
    }
    let (field, path) = (format!("{at}.JSONPath"), value("jsonPath"));
    if path.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !path.starts_with('.') {
        let detail = "must be a simple json path starting with .";
        errors.push(FieldError::invalid(field, path, detail));
    } else if JsonPath::parse(path).is_none() {
        errors.push(FieldError::invalid(field, path, "is not a json path that can be read"));
    }
}

fn selectable(version: &Value, schema: &Value, at: &str, errors: &mut Errors) {
    let fields = items(version, "/selectableFields");
    let mut seen = BTreeSet::new();
    for (place, field) in fields.iter().enumerate() {
        let (at, path) = (format!("{at}[{place}].jsonPath"), text(field, "/jsonPath"));
        if path.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let mut found = Some(schema);
        for part in path.trim_start_matches('.').split('.') {
            found = found.and_then(|schema| {
                let known = schema.get("properties").and_then(|all| all.get(part));
                known.or_else(|| schema.get("additionalProperties").filter(|it| it.is_object()))
            });
        }
        let Some(found) = found.filter(|_| path.starts_with('.')) else {
            let detail = "is an invalid path: does not refer to a valid field";
            errors.push(FieldError::invalid(at, path, detail));
            continue;
        };
        if path == ".metadata" || path.starts_with(".metadata.") {
            let detail = "must not point to fields in metadata";
            errors.push(FieldError::invalid(&at, path, detail));
        }
        if !matches!(text(found, "/type"), "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string \
                          fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(&at, path, detail));
        }
        if !seen.insert(path) {
            errors.push(FieldError::duplicate(at, path));
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(at, seen.len(), SELECTABLE_MAX));
    }
}

fn all_names(spec: &Value, errors: &mut Errors) {
    let value = |key: &str| text(spec, &format!("/names/{key}"));
    for key in ["plural", "singular", "kind", "listKind"] {
        let (field, name) = (format!("spec.names.{key}"), value(key));
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
            continue;
        }
        let mixed = matches!(key, "kind" | "listKind");
        let wrong = if mixed {
            names::dns_1035_label(&name.to_lowercase())
        } else {
            names::dns_1035_label(name)
        };
        if !wrong.is_empty() {
            let start =
                if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.push(FieldError::invalid(field, name, &format!("{start}{}", wrong.join(","))));
        }
    }
    if !value("kind").is_empty() && value("kind") == value("listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid("spec.names.listKind", value("listKind"), detail));
    }
    for key in ["shortNames", "categories"] {
        for (place, name) in items(spec, &format!("/names/{key}")).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let wrong = names::dns_1035_label(name);
            if !wrong.is_empty() {
                let field = format!("spec.names.{key}[{place}]");
                errors.push(FieldError::invalid(field, name, &wrong.join(",")));
            }
        }
    }
}

fn conversion(spec: &Value, errors: &mut Errors) {
    let Some(conversion) = spec.get("conversion").filter(|it| it.is_object()) else { return };
    let field = |name: &str| format!("spec.conversion.{name}");
    let strategy = text(conversion, "/strategy");
    errors.extend(super::one_of(field("strategy"), strategy, &["None", "Webhook"]));
    let client = conversion.pointer("/webhook/clientConfig").filter(|it| it.is_object());
    let reviews = items(conversion, "/webhook/conversionReviewVersions");
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.push(FieldError::forbidden(field("webhookClientConfig"), detail));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(field("conversionReviewVersions"), detail));
        }
        return;
    }
    let at = field("webhookClientConfig");
    match client {
        None => errors.push(FieldError::required(at, "required when strategy is set to Webhook")),
        Some(client) if client.get("url").is_some() == client.get("service").is_some() => {
            errors.push(FieldError::required(at, "exactly one of url or service is required"));
        }
        Some(_) => {}
    }
    let at = field("conversionReviewVersions");
    if reviews.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else if !reviews.iter().any(|version| *version == "v1" || *version == "v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(at, Value::Array(reviews.to_vec()), detail));
    }
}

fn stored_versions(object: &Value, spec: &Value, errors: &mut Errors) {
    let stored = items(object, "/status/storedVersions");
    let field = "status.storedVersions";
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        errors.push(FieldError::invalid(field, Value::Array(Vec::new()), detail));
        return;
    }
    let versions = items(spec, "/versions");
    for version in versions.iter().filter(|version| truth(version, "/storage")) {
        let name = text(version, "/name");
        if !stored.iter().any(|stored| *stored == name) {
            let detail = format!("must have the storage version {name}");
            errors.push(FieldError::invalid(field, Value::Array(stored.to_vec()), &detail));
        }
    }
    for (place, name) in stored.iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        if !versions.iter().any(|version| text(version, "/name") == name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(format!("{field}[{place}]"), name, &detail));
        }
    }
}

/// Groups of Kubernetes itself are for kinds that Kubernetes has agreed to.
fn approval(object: &Value, spec: &Value, errors: &mut Errors) {
    let group = text(spec, "/group");
    let own = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    if !own {
        return;
    }
    let annotations = object.pointer("/metadata/annotations");
    let approved = annotations.and_then(|all| all.get(APPROVED)).and_then(Value::as_str);
    let field = format!("metadata.annotations[{APPROVED}]");
    match approved.unwrap_or_default() {
        "" => {
            let detail = "protected groups must have approval annotation \
                          \"api-approved.kubernetes.io\", see \
                          https://github.com/kubernetes/enhancements/pull/1111";
            errors.push(FieldError::required(field, detail));
        }
        text if text.starts_with("unapproved") => {}
        text if text.starts_with("https://") || text.starts_with("http://") => {}
        text => {
            let detail = "protected groups must have approval annotation \
                          \"api-approved.kubernetes.io\" with either a URL or a reason starting \
                          with \"unapproved\", see \
                          https://github.com/kubernetes/enhancements/pull/1111";
            errors.push(FieldError::invalid(field, text, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn crontabs(schema: Value) -> Value {
        let names = json!({"plural": "crontabs", "singular": "crontab", "kind": "CronTab",
            "listKind": "CronTabList"});
        json!({"metadata": {"name": "crontabs.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names,
                "conversion": {"strategy": "None"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema}}]},
            "status": {"storedVersions": ["v1"]}})
    }

    fn found(object: &Value) -> Vec<String> {
        definition(object).iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn check_schema(schema: Value, expected: &[&str]) {
        let start = "spec.validation.openAPIV3Schema";
        let expected: Vec<String> = expected.iter().map(|rest| format!("{start}{rest}")).collect();
        assert_eq!(found(&crontabs(schema)), expected);
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Value), expected: &[&str]) {
        let mut object = crontabs(json!({"type": "object"}));
        change(&mut object);
        assert_eq!(found(&object), expected);
    }

    #[test]
    fn names_and_versions_are_checked() {
        check(|_| {}, &[]);
        check(
            |object| object["spec"]["scope"] = json!("Namespace"),
            &["spec.scope: Unsupported value: \"Namespace\": supported values: \"Cluster\", \
             \"Namespaced\""],
        );
        check(
            |object| object["metadata"]["name"] = json!("x"),
            &["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"],
        );
        check(
            |object| {
                object["spec"]["group"] = json!("core");
                object["metadata"]["name"] = json!("crontabs.core");
            },
            &["spec.group: Invalid value: \"core\": should be a domain with at least one dot"],
        );
        check(
            |object| object["spec"]["names"]["kind"] = json!("CronTabList"),
            &["spec.names.listKind: Invalid value: \"CronTabList\": kind and listKind may not be \
             the same"],
        );
        check(
            |object| {
                object["spec"]["group"] = json!("apps.k8s.io");
                object["metadata"]["name"] = json!("crontabs.apps.k8s.io");
            },
            &[
                "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups \
               must have approval annotation \"api-approved.kubernetes.io\", see \
               https://github.com/kubernetes/enhancements/pull/1111",
            ],
        );
        let mut none = crontabs(json!({"type": "object"}));
        none["spec"]["versions"][0]["storage"] = json!(false);
        let told = found(&none);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("must have exactly one version marked as storage version"));
        check(
            |object| object["status"]["storedVersions"] = json!(["v1", "v0"]),
            &[
                "status.storedVersions[1]: Invalid value: \"v0\": missing from spec.versions; v0 was \
             previously a storage version, and must remain in spec.versions until a storage \
             migration ensures no data remains persisted in v0 and removes v0 from \
             status.storedVersions",
            ],
        );
    }

    #[test]
    fn schemas_have_to_be_structural() {
        check_schema(json!({}), &[".type: Required value: must not be empty at the root"]);
        check_schema(
            json!({"type": "string"}),
            &[".type: Invalid value: \"string\": must be object at the root"],
        );
        let with = |property: Value| json!({"type": "object", "properties": {"a": property}});
        check_schema(
            with(json!({})),
            &[".properties[a].type: Required value: must not be empty for specified object fields"],
        );
        check_schema(
            with(json!({"type": "array"})),
            &[".properties[a].items: Required value: must be specified"],
        );
        check_schema(with(json!({"x-kubernetes-int-or-string": true})), &[]);
        check_schema(with(json!({"x-kubernetes-preserve-unknown-fields": true})), &[]);
        check_schema(
            with(json!({"type": "object", "properties": {"b": {"type": "string"}},
                "anyOf": [{"properties": {"c": {"minLength": 1}}}]})),
            &[".properties[a].properties[c]: Required value: because it is defined in \
               spec.validation.openAPIV3Schema.properties[a].anyOf[0].properties[c]"],
        );
        check_schema(
            with(json!({"type": "string", "anyOf": [{"type": "string"}]})),
            &[".properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
        );
        check_schema(
            with(json!({"type": "string", "default": 5})),
            &[
                ".properties[a].default: Invalid value: \"integer\":  in body must be of type string: \
             \"integer\"",
            ],
        );
        check_schema(
            with(json!({"type": "object", "default": {"x": 1}, "properties": {}})),
            &[".properties[a].default: Invalid value: {\"x\":1}: must not have unknown fields"],
        );
        check_schema(
            with(json!({"type": "strin"})),
            &[".properties[a].type: Unsupported value: \"strin\": supported values: \"array\", \
             \"boolean\", \"integer\", \"number\", \"object\", \"string\""],
        );
        check_schema(
            with(json!({"type": "string", "$ref": "#/x"})),
            &[".properties[a].$ref: Forbidden: $ref is not supported"],
        );
        check_schema(
            with(json!({"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}}})),
            &[".properties[a].items.properties[k].default: Required value: this property is in \
               x-kubernetes-list-map-keys, so it must have a default or be a required property"],
        );
        let metadata = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}});
        check_schema(
            metadata,
            &[".properties[metadata]: Forbidden: must not specify anything other than name and \
             generateName, but metadata is implicitly specified"],
        );
        let wrong = found(&crontabs(with(json!({"type": "string", "pattern": "("}))));
        assert!(wrong[0].contains("must be a valid regular expression"), "{wrong:?}");
        let deep = (0..100).fold(json!({"type": "string"}), |below, _| with(below));
        assert_eq!(found(&crontabs(deep)).len(), 1);
    }

    #[test]
    fn rules_have_to_make_sense_and_cannot_cost_too_much() {
        let with = |rule: Value, list: Value| {
            json!({"type": "object", "properties": {"spec": {"type": "object",
                "x-kubernetes-validations": [rule],
                "properties": {"x": {"type": "integer"}, "list": list}}}})
        };
        let integers = || json!({"type": "array", "items": {"type": "integer"}});
        let at = ".properties[spec].x-kubernetes-validations[0]";
        check_schema(with(json!({"rule": "self.x > 0"}), integers()), &[]);
        check_schema(
            with(json!({"rule": "self.z > 0"}), integers()),
            &[&format!(
                "{at}.rule: Invalid value: {{\"rule\":\"self.z > 0\"}}: compilation failed: ERROR: \
             <input>:1:5: undefined field 'z'"
            )],
        );
        check_schema(
            with(json!({"rule": "self = 42"}), integers()),
            &[&format!(
                "{at}.rule: Invalid value: {{\"rule\":\"self = 42\"}}: compilation failed: ERROR: \
             <input>:1:6: Syntax error: token recognition error at: '='"
            )],
        );
        let dear = json!({"rule": "self.list.all(a, self.list.all(b, a == b))"});
        let told = found(&crontabs(with(dear.clone(), integers())));
        assert!(
            told[0].contains("rule: Forbidden: estimated rule cost exceeds budget"),
            "{told:?}"
        );
        let few = json!({"type": "array", "maxItems": 725, "items": {"type": "integer"}});
        check_schema(with(dear, few), &[]);
        let nested = json!({"type": "array", "items": {"type": "integer",
            "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}});
        let told = found(&crontabs(with(json!({"rule": "self.x > 0"}), nested)));
        assert!(told[0].contains("oldSelf cannot be used on the uncorrelatable"), "{told:?}");
    }

    #[test]
    fn what_objects_are_kept_by_cannot_be_changed() {
        let mut old = crontabs(json!({"type": "object"}));
        old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        let mut new = old.clone();
        new["spec"]["scope"] = json!("Cluster");
        new["spec"]["names"]["plural"] = json!("others");
        let fields: Vec<String> = update(&old, &new).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["spec.scope", "spec.names.plural"]);
        assert!(update(&old, &old).is_empty());
    }

    #[test]
    fn columns_scales_and_fields_lead_somewhere() {
        let version = |key: &'static str, value: Value| {
            move |object: &mut Value| {
                object["spec"]["versions"][0][key] = value.clone();
                object["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {"a": {"type": "array",
                            "items": {"type": "string"}}, "b": {"type": "string"}}}}});
            }
        };
        check(
            version(
                "additionalPrinterColumns",
                json!([{"name": "A", "type": "text",
            "jsonPath": "spec"}]),
            ),
            &[
                "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of \
             boolean,date,integer,number,string",
                "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec\": must be a simple \
             json path starting with .",
            ],
        );
        check(
            version(
                "subresources",
                json!({"scale": {"specReplicasPath": ".status.x",
            "statusReplicasPath": ".status.y"}}),
            ),
            &[
                "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a \
             json path under .spec",
            ],
        );
        check(version("selectableFields", json!([{"jsonPath": ".spec.b"}])), &[]);
        check(
            version("selectableFields", json!([{"jsonPath": ".spec.a"}])),
            &[
                "spec.selectableFields[0].jsonPath: Invalid value: \".spec.a\": must point to a field \
             of type string, boolean or integer. Enum string fields and strings with formats are \
             allowed.",
            ],
        );
    }
}
