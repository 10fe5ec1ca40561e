//! Whether the values of an object fit its schema, in the words of upstream's validator.
//!
//! What an update leaves as it was is not looked at again: a schema that has become stricter does
//! not keep others from being changed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::formats;
use super::rules::same_item;
use super::structural::{Bounds, Checks, Kind, List, META_FIELDS, Path, Structural};
use crate::schema;
use crate::status::FieldError;
use crate::validate::Errors;

/// Finds what does not fit; `old` is what an update replaces.
pub(crate) fn check(schema: &Structural, object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let mut walk = Walk { errors };
    walk.value(schema, object, old, &Path::Root);
    walk.lists(schema, object, &Path::Root);
}

struct Walk<'a> {
    errors: &'a mut Errors,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, path: &Path<'_>) {
        if self.errors.full() || old == Some(value) {
            return;
        }
        if value.is_null() && schema.nullable {
            return;
        }
        if !fits(schema.kind, value) {
            let (wanted, found) = (wanted(schema.kind), type_of(value));
            let detail = format!("{} in body must be of type {wanted}: \"{found}\"", path.text());
            self.errors.push(FieldError::type_invalid(path.text(), found, &detail));
        }
        if let Some(checks) = &schema.checks {
            self.checks(checks, value, path);
        }
        match value {
            Value::Object(fields) => {
                let whole = matches!(path, Path::Root) || schema.embedded;
                for (name, value) in fields {
                    if whole && META_FIELDS.contains(&name.as_str()) && name != "metadata" {
                        continue;
                    }
                    let below = schema.below(name);
                    let Some(below) = below else { continue };
                    let before = old.and_then(|old| old.get(name));
                    self.value(below, value, before, &Path::Field(path, name));
                }
            }
            Value::Array(items) => {
                let Some(below) = &schema.items else { return };
                for (place, item) in items.iter().enumerate() {
                    let before = old.and_then(|old| same_item(&schema.list, old, item));
                    self.value(below, item, before, &Path::Item(path, place));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn checks(&mut self, checks: &Checks, value: &Value, path: &Path<'_>) {
        self.junctors(checks, value, path);
        match value {
            Value::String(text) => self.text(checks, text, path),
            Value::Number(number) => {
                self.number(checks, number.as_f64().unwrap_or(0.0), value, path)
            }
            Value::Array(items) => {
                let found = u64::try_from(items.len()).unwrap_or(u64::MAX);
                if let Some(min) = checks.count.min.filter(|min| found < *min) {
                    let detail =
                        format!("{} in body should have at least {min} items", path.text());
                    self.errors.push(FieldError::invalid(path.text(), found, &detail));
                }
                self.too_many(checks.count, items.len(), path);
            }
            Value::Object(fields) => {
                for name in &checks.required {
                    if !fields.contains_key(&**name) {
                        self.errors.push(FieldError::required(Path::Field(path, name).text(), ""));
                    }
                }
                let found = u64::try_from(fields.len()).unwrap_or(u64::MAX);
                if let Some(min) = checks.fields.min.filter(|min| found < *min) {
                    let detail =
                        format!("{} in body should have at least {min} properties", path.text());
                    self.errors.push(FieldError::invalid(path.text(), found, &detail));
                }
                self.too_many(checks.fields, fields.len(), path);
            }
            Value::Null | Value::Bool(_) => {}
        }
        if !checks.values.is_empty() && !checks.values.iter().any(|known| same(known, value)) {
            let known: Vec<String> = checks
                .values
                .iter()
                .map(|known| known.as_str().map_or_else(|| known.to_string(), str::to_owned))
                .collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.errors.push(FieldError::unsupported(path.text(), value.clone(), &known));
        }
    }

    fn too_many(&mut self, bounds: Bounds, found: usize, path: &Path<'_>) {
        let Some(max) = bounds.max.and_then(|max| usize::try_from(max).ok()) else { return };
        if found > max {
            self.errors.push(FieldError::too_many(path.text(), found, max));
        }
    }

    fn text(&mut self, checks: &Checks, text: &str, path: &Path<'_>) {
        let letters = || u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        if let Some(max) = checks.length.max.filter(|max| letters() > *max) {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            self.errors.push(FieldError::too_long(path.text(), max));
        }
        if let Some(min) = checks.length.min.filter(|min| letters() < *min) {
            let detail = format!("{} in body should be at least {min} chars long", path.text());
            self.errors.push(FieldError::invalid(path.text(), text, &detail));
        }
        if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            let detail = format!("{} in body should match '{}'", path.text(), pattern.text);
            self.errors.push(FieldError::invalid(path.text(), text, &detail));
        }
        if !formats::holds(&checks.format, text) {
            let (at, format) = (path.text(), &checks.format);
            let detail = format!("{at} in body must be of type {format}: {text:?}");
            self.errors.push(FieldError::type_invalid(at, text, &detail));
        }
    }

    fn number(&mut self, checks: &Checks, number: f64, value: &Value, path: &Path<'_>) {
        let mut wrong = |what: String| {
            let detail = format!("{} in body should be {what}", path.text());
            self.errors.push(FieldError::invalid(path.text(), value.clone(), &detail));
        };
        if let Some(of) = checks.multiple_of.filter(|of| *of > 0.0) {
            let parts = number / of;
            if (parts - parts.round()).abs() > f64::EPSILON * parts.abs().max(1.0) {
                wrong(format!("a multiple of {of}"));
            }
        }
        match checks.maximum {
            Some((max, true)) if number >= max => wrong(format!("less than {max}")),
            Some((max, false)) if number > max => wrong(format!("less than or equal to {max}")),
            Some(_) | None => {}
        }
        match checks.minimum {
            Some((min, true)) if number <= min => wrong(format!("greater than {min}")),
            Some((min, false)) if number < min => wrong(format!("greater than or equal to {min}")),
            Some(_) | None => {}
        }
        let range = match &*checks.format {
            "int32" => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
            _ => None,
        };
        if range.is_some_and(|(min, max)| number < min || number > max) {
            let (at, format) = (path.text(), &checks.format);
            let detail = format!("Checked value must be of type integer with format {format}");
            self.errors.push(FieldError::invalid(at, value.clone(), &detail));
        }
    }

    /// Schemas of which all, some, one or none have to hold.
    fn junctors(&mut self, checks: &Checks, value: &Value, path: &Path<'_>) {
        let failures = |schema: &Structural| {
            let mut errors = Errors::default();
            Walk { errors: &mut errors }.value(schema, value, None, path);
            errors.list()
        };
        if !checks.any_of.is_empty() {
            let all: Vec<_> = checks.any_of.iter().map(failures).collect();
            if all.iter().all(|failures| !failures.is_empty()) {
                self.whole(path, "validate at least one schema (anyOf)");
                let nearest = all.into_iter().min_by_key(Vec::len);
                self.errors.extend(nearest.into_iter().flatten());
            }
        }
        if !checks.one_of.is_empty() {
            let all: Vec<_> = checks.one_of.iter().map(failures).collect();
            match all.iter().filter(|failures| failures.is_empty()).count() {
                0 => {
                    self.whole(path, "validate one and only one schema (oneOf). Found none valid");
                    let nearest = all.into_iter().min_by_key(Vec::len);
                    self.errors.extend(nearest.into_iter().flatten());
                }
                1 => {}
                many => {
                    let found = format!("Found {many} valid alternatives");
                    self.whole(path, &format!("validate one and only one schema (oneOf). {found}"));
                }
            }
        }
        let all: Vec<_> = checks.all_of.iter().map(failures).collect();
        if all.iter().any(|failures| !failures.is_empty()) {
            let none = all.iter().all(|failures| !failures.is_empty());
            let found = if none { ". None validated" } else { "" };
            self.whole(path, &format!("validate all the schemas (allOf){found}"));
            self.errors.extend(all.into_iter().flatten());
        }
        if checks.not.as_ref().is_some_and(|schema| failures(schema).is_empty()) {
            self.whole(path, "not validate the schema (not)");
        }
    }

    /// What is wrong with a value as a whole; upstream names no field here.
    fn whole(&mut self, path: &Path<'_>, what: &str) {
        let detail = format!("{:?} must {what}", path.text());
        self.errors.push(FieldError::invalid("<nil>", "", &detail));
    }

    /// Items that have to be unique, and the metadata of whole objects within.
    fn lists(&mut self, schema: &Structural, value: &Value, path: &Path<'_>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let at = Path::Field(path, name);
                    if schema.embedded && name == "metadata" {
                        self.metadata(value, &at);
                    } else if let Some(below) = schema.below(name) {
                        self.lists(below, value, &at);
                    }
                }
            }
            Value::Array(items) => {
                let mut seen = BTreeSet::new();
                for (place, item) in items.iter().enumerate() {
                    let at = Path::Item(path, place);
                    let key = match &schema.list {
                        List::Atomic => None,
                        List::Set => Some(item.clone()),
                        List::Map(keys) => Some(
                            keys.iter()
                                .filter_map(|key| {
                                    Some((key.to_string(), item.get(&**key)?.clone()))
                                })
                                .collect(),
                        ),
                    };
                    if let Some(key) = key.filter(|key| !seen.insert(key.to_string())) {
                        self.errors.push(FieldError::duplicate(at.text(), key));
                    }
                    if let Some(below) = &schema.items {
                        self.lists(below, item, &at);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn metadata(&mut self, metadata: &Value, path: &Path<'_>) {
        let (Some(message), mut copy) = (schema::object_meta(), metadata.clone()) else { return };
        if let Err(error) = crate::decode::prune(message, &mut copy) {
            let at = path.text();
            self.errors.push(FieldError::invalid(at, metadata.clone(), &error.to_string()));
        }
    }
}

/// Whether two values are the same, however their numbers are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn fits(kind: Kind, value: &Value) -> bool {
    let whole = |value: &Value| {
        value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
    };
    match kind {
        Kind::Any => true,
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Boolean => value.is_boolean(),
        Kind::Number => value.is_number(),
        Kind::Integer => whole(value),
        Kind::IntOrString => value.is_string() || whole(value),
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Any => "any",
        Kind::Object => "object",
        Kind::Array => "array",
        Kind::String => "string",
        Kind::Boolean => "boolean",
        Kind::Number => "number",
        Kind::Integer => "integer",
        Kind::IntOrString => "integer,string",
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut errors = Errors::default();
        check(&Structural::of(schema), object, old, &mut errors);
        errors.list().iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn check_spec(spec: Value, value: Value, expected: &[&str]) {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let object = json!({"apiVersion": "v", "kind": "K", "metadata": {}, "spec": value});
        assert_eq!(found(&schema, &object, None), expected);
    }

    #[test]
    fn values_are_judged_in_upstreams_words() {
        check_spec(
            json!({"type": "integer"}),
            json!("x"),
            &["spec: Invalid value: \"string\": spec in body must be of type integer: \"string\""],
        );
        check_spec(json!({"type": "integer"}), json!(1.0), &[]);
        check_spec(
            json!({"type": "integer"}),
            json!(1.5),
            &["spec: Invalid value: \"number\": spec in body must be of type integer: \"number\""],
        );
        check_spec(
            json!({"type": "string"}),
            Value::Null,
            &["spec: Invalid value: \"null\": spec in body must be of type string: \"null\""],
        );
        check_spec(json!({"type": "string", "nullable": true}), Value::Null, &[]);
        check_spec(
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            &["spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \
             \"boolean\""],
        );
        check_spec(
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            &["spec: Unsupported value: \"c\": supported values: \"a\", \"b\""],
        );
        check_spec(
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            &["spec: Invalid value: \"b\": spec in body should match '^a+$'"],
        );
        check_spec(
            json!({"type": "string", "maxLength": 1}),
            json!("abc"),
            &["spec: Too long: may not be more than 1 bytes"],
        );
        check_spec(
            json!({"type": "string", "minLength": 4}),
            json!("abc"),
            &["spec: Invalid value: \"abc\": spec in body should be at least 4 chars long"],
        );
        check_spec(
            json!({"type": "integer", "minimum": 1, "maximum": 5}),
            json!(0),
            &["spec: Invalid value: 0: spec in body should be greater than or equal to 1"],
        );
        check_spec(
            json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true}),
            json!(5),
            &["spec: Invalid value: 5: spec in body should be less than 5"],
        );
        check_spec(
            json!({"type": "integer", "multipleOf": 3}),
            json!(7),
            &["spec: Invalid value: 7: spec in body should be a multiple of 3"],
        );
        let list = json!({"type": "array", "maxItems": 1, "items": {"type": "string"}});
        check_spec(
            list,
            json!(["a", 1]),
            &[
                "spec: Too many: 2: must have at most 1 items",
                "spec[1]: Invalid value: \"integer\": spec[1] in body must be of type string: \
             \"integer\"",
            ],
        );
        let required = json!({"type": "object", "required": ["a"],
            "properties": {"a": {"type": "string"}}});
        check_spec(required, json!({}), &["spec.a: Required value"]);
        check_spec(
            json!({"type": "string", "format": "date-time"}),
            json!("x"),
            &["spec: Invalid value: \"x\": spec in body must be of type date-time: \"x\""],
        );
    }

    #[test]
    fn junctors_say_what_none_of_them_took() {
        let one = json!({"type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        check_spec(one.clone(), json!({"a": ""}), &[]);
        check_spec(
            one.clone(),
            json!({}),
            &[
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). \
             Found none valid",
                "spec.a: Required value",
            ],
        );
        check_spec(
            one,
            json!({"a": "", "b": ""}),
            &[
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). \
             Found 2 valid alternatives",
            ],
        );
        let not = json!({"type": "string", "not": {"enum": ["x"]}});
        check_spec(
            not,
            json!("x"),
            &["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"],
        );
    }

    #[test]
    fn items_of_sets_and_maps_are_unique() {
        let set = json!({"type": "array", "x-kubernetes-list-type": "set",
            "items": {"type": "string"}});
        check_spec(set, json!(["a", "b", "a"]), &["spec[2]: Duplicate value: \"a\""]);
        let map = json!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}});
        check_spec(
            map,
            json!([{"name": "a"}, {"name": "a"}]),
            &["spec[1]: Duplicate value: {\"name\":\"a\"}"],
        );
    }

    #[test]
    fn what_an_update_leaves_alone_is_not_judged_again() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"a": {"type": "string", "maxLength": 1}, "b": {"type": "string"}}}}});
        let old = json!({"spec": {"a": "long", "b": "x"}});
        assert_eq!(found(&schema, &json!({"spec": {"a": "long", "b": "y"}}), Some(&old)), [""; 0]);
        assert_eq!(found(&schema, &json!({"spec": {"a": "longer"}}), Some(&old)).len(), 1);
    }
}
