//! Rules for the schema of a custom resource: it has to be structural, so that what is pruned and
//! filled in is told by types and fields alone.

use serde_json::{Map, Value, json};

use super::errors::Errors;
use crate::cel::check::{self as cel, Names};
use crate::custom::structural::{self, List, META_FIELDS, Structural};
use crate::custom::values;
use crate::object::{items, text, truth};
use crate::status::FieldError;

/// Deepest nesting of schemas, which walks of them and of objects have to stand.
const DEPTH_MAX: usize = 64;
/// What may stand at the root of a schema whose status is written apart, in upstream's spelling.
const AT_ROOT: [&str; 22] = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// Finds what is wrong with a schema at a path; `status` is written apart from the rest.
pub(super) fn check(schema: &Value, at: &str, status: bool, errors: &mut Errors) {
    if deeper_than(schema, DEPTH_MAX) {
        let detail = format!("schemas may not be nested deeper than {DEPTH_MAX}");
        errors.push(FieldError::invalid(at, "", &detail));
        return;
    }
    if status {
        at_root(schema, at, errors);
    }
    if truth(schema, "/nullable") {
        let detail = "nullable cannot be true at the root";
        errors.push(FieldError::forbidden(format!("{at}.nullable"), detail));
    }
    let mut shape = Errors::default();
    invariants(schema, Level::Root, at, &mut shape);
    let mut shape = shape.list();
    shape.sort_by_cached_key(ToString::to_string);
    let whole = shape.is_empty();
    errors.extend(shape);
    if whole {
        defaults(schema, at, true, errors);
    }
    keywords(schema, at, Within::Object, true, errors);
    if errors.is_empty() {
        expressions(&Structural::of(schema), at, errors);
    }
}

/// What all rules of a schema may cost at most, and what one may, as upstream.
const COST_OF_SCHEMA_MAX: u64 = 100_000_000;
const COST_OF_RULE_MAX: u64 = 10_000_000;

/// Rules have to be expressions that make sense and cannot cost too much.
fn expressions(schema: &Structural, at: &str, errors: &mut Errors) {
    let mut walk = Expressions { errors, total: 0 };
    walk.schema(schema, at, true, 1, None);
    if walk.total > COST_OF_SCHEMA_MAX {
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = exceeds(what, walk.total, COST_OF_SCHEMA_MAX);
        errors.push(FieldError::forbidden(at, detail));
    }
}

/// Upstream's words for what costs too much.
fn exceeds(what: &str, cost: u64, most: u64) -> String {
    let tenths = cost.saturating_mul(10) / most;
    let factor = match tenths {
        1_001.. => "more than 100x".to_owned(),
        _ => format!("{}.{}x", tenths / 10, tenths % 10),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, \
         maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

struct Expressions<'e> {
    errors: &'e mut Errors,
    total: u64,
}

impl Expressions<'_> {
    /// `times` is how often a value of the schema is in an object; `apart` is the schema above whose
    /// values have no old state of their own.
    fn schema(
        &mut self,
        schema: &Structural,
        at: &str,
        root: bool,
        times: u64,
        apart: Option<&str>,
    ) {
        if !schema.ruled {
            return;
        }
        let whole = root || schema.embedded;
        for (place, rule) in schema.rules.iter().enumerate() {
            let at = format!("{at}.x-kubernetes-validations[{place}]");
            let names = Names { schema, whole, optional_old: rule.optional_old };
            match cel::check(&rule.rule, names, true) {
                Ok((_, checked)) => {
                    self.cost(
                        &at,
                        "rule",
                        "estimated rule cost",
                        checked.cost.saturating_mul(times),
                    );
                    let field = format!("{at}.rule");
                    match apart {
                        Some(above) if checked.old => {
                            let detail = format!(
                                "oldSelf cannot be used on the uncorrelatable portion of the schema \
                                 within {above}"
                            );
                            self.errors.push(FieldError::invalid(field, &*rule.rule, &detail));
                        }
                        _ if !checked.old && rule.optional_old => {
                            let detail = "may not be set if oldSelf is not used in rule";
                            let field = format!("{at}.optionalOldSelf");
                            self.errors.push(FieldError::invalid(field, true, detail));
                        }
                        Some(_) | None => {}
                    }
                }
                Err(why) => {
                    let rule = json!({"rule": &*rule.rule});
                    self.errors.push(FieldError::invalid(format!("{at}.rule"), rule, &why));
                }
            }
            if rule.message_expression.is_empty() {
                continue;
            }
            match cel::check(&rule.message_expression, names, false) {
                Ok((_, checked)) => {
                    let what = "estimated messageExpression cost";
                    let cost = checked.cost.saturating_mul(times);
                    self.cost(&at, "messageExpression", what, cost);
                }
                Err(why) => {
                    let field = format!("{at}.messageExpression");
                    let rule = json!({"messageExpression": &*rule.message_expression});
                    self.errors.push(FieldError::invalid(field, rule, &why));
                }
            }
        }
        let apart = if schema.atomic { apart.or(Some(at)) } else { apart };
        for (name, below) in &schema.properties {
            self.schema(below, &format!("{at}.properties[{name}]"), false, times, apart);
        }
        let many = times.saturating_mul(cel::most(schema));
        if let Some(below) = &schema.additional {
            self.schema(below, &format!("{at}.additionalProperties"), false, many, apart);
        }
        if let Some(below) = &schema.items {
            let listed = matches!(schema.list, List::Map(_));
            let apart = if listed { apart } else { apart.or(Some(at)) };
            self.schema(below, &format!("{at}.items"), false, many, apart);
        }
    }

    fn cost(&mut self, at: &str, key: &str, what: &str, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost > COST_OF_RULE_MAX {
            let detail = exceeds(what, cost, COST_OF_RULE_MAX);
            self.errors.push(FieldError::forbidden(format!("{at}.{key}"), detail));
        }
    }
}

fn deeper_than(schema: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return true };
    children(schema).any(|(_, schema)| deeper_than(schema, below))
}

/// The schemas in a schema, with their paths.
fn children(schema: &Value) -> impl Iterator<Item = (String, &Value)> {
    let named = |key: &'static str| {
        let all = schema.get(key).and_then(Value::as_object);
        all.into_iter().flatten().map(move |(name, it)| (format!("{key}[{name}]"), it))
    };
    let listed = |key: &'static str| {
        let all = schema.get(key).and_then(Value::as_array);
        all.into_iter().flatten().enumerate().map(move |(at, it)| (format!("{key}[{at}]"), it))
    };
    let single = |key: &'static str| {
        schema.get(key).filter(|it| it.is_object()).map(|it| (key.to_owned(), it)).into_iter()
    };
    single("additionalProperties")
        .chain(named("properties"))
        .chain(single("not"))
        .chain(listed("allOf"))
        .chain(listed("oneOf"))
        .chain(listed("anyOf"))
        .chain(single("items"))
}

fn at_root(schema: &Value, at: &str, errors: &mut Errors) {
    if text(schema, "/type") != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the \
                      status subresource is enabled";
        errors.push(FieldError::invalid(format!("{at}.type"), text(schema, "/type"), detail));
    }
    let spelled = |key: &str| match key.strip_prefix("x-kubernetes-") {
        Some(rest) => std::iter::once("X".to_owned()).chain(rest.split('-').map(capital)).collect(),
        None => capital(key),
    };
    let fields = schema.as_object().into_iter().flatten();
    let foreign = fields.filter(|(_, value)| !empty(value)).map(|(key, _)| spelled(key));
    if foreign.into_iter().any(|key: String| !AT_ROOT.contains(&key.as_str())) {
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is \
             enabled",
            AT_ROOT.join(" ")
        );
        errors.push(FieldError::invalid(at, schema.clone(), &detail));
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Whether a value is what upstream has for one that is left out.
fn empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn invariants(schema: &Value, level: Level, at: &str, errors: &mut Errors) {
    let kind = text(schema, "/type");
    let flag = |key: &str| truth(schema, &format!("/{key}"));
    let (either, open, embedded) = (
        flag("x-kubernetes-int-or-string"),
        flag("x-kubernetes-preserve-unknown-fields"),
        flag("x-kubernetes-embedded-resource"),
    );
    let at_type = format!("{at}.type");
    if kind == "array" && schema.get("items").is_none() {
        errors.push(FieldError::required(format!("{at}.items"), "must be specified"));
    }
    if let Some(below) = schema.get("items").filter(|it| it.is_object()) {
        invariants(below, Level::Item, &format!("{at}.items"), errors);
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, below) in properties.into_iter().flatten() {
        invariants(below, Level::Field, &format!("{at}.properties[{name}]"), errors);
    }
    let additional = schema.get("additionalProperties").filter(|it| !it.is_null());
    if let Some(below) = additional {
        let at = format!("{at}.additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if embedded {
            let detail = "must not be used if x-kubernetes-embedded-resource is set";
            errors.push(FieldError::forbidden(&at, detail));
        }
        if below.is_object() {
            invariants(below, Level::Field, &at, errors);
        }
    }
    for (key, set) in [
        ("x-kubernetes-preserve-unknown-fields", open),
        ("x-kubernetes-embedded-resource", embedded),
    ] {
        if either && set {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(format!("{at}.{key}"), true, detail));
        }
    }
    let detail = "must be object if x-kubernetes-embedded-resource is true";
    match (embedded, kind, level) {
        (true, "object", _) => {}
        (true, "", _) => errors.push(FieldError::required(&at_type, detail)),
        (true, kind, _) => errors.push(FieldError::invalid(&at_type, kind, detail)),
        (false, "", _) if either || open => {}
        (false, "", Level::Root) => {
            errors.push(FieldError::required(&at_type, "must not be empty at the root"));
        }
        (false, "", Level::Item) => {
            let detail = "must not be empty for specified array items";
            errors.push(FieldError::required(&at_type, detail));
        }
        (false, "", Level::Field) => {
            let detail = "must not be empty for specified object fields";
            errors.push(FieldError::required(&at_type, detail));
        }
        (false, ..) => {}
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        errors.push(FieldError::invalid(&at_type, kind, "must be object at the root"));
    }
    let whole = level == Level::Root || embedded;
    if whole {
        metadata(schema, at, level, errors);
    }
    if embedded && !open && properties.is_none_or(Map::is_empty) {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(format!("{at}.properties"), detail));
    }
    junctors(schema, at, errors);
}

fn metadata(schema: &Value, at: &str, level: Level, errors: &mut Errors) {
    let property = |name: &str| schema.get("properties").and_then(|all| all.get(name));
    for name in ["kind", "apiVersion"] {
        let Some(found) = property(name) else { continue };
        let kind = text(found, "/type");
        if kind != "string" {
            let field = format!("{at}.properties[{name}].type");
            errors.push(FieldError::invalid(field, kind, "must be string"));
        }
    }
    let Some(found) = property("metadata") else { return };
    let at = format!("{at}.properties[metadata]");
    if text(found, "/type") != "object" {
        let kind = text(found, "/type");
        errors.push(FieldError::invalid(format!("{at}.type"), kind, "must be object"));
    }
    if level != Level::Root {
        return;
    }
    let names = found.get("properties").and_then(Value::as_object);
    let only_names =
        names.is_none_or(|all| all.keys().all(|name| name == "name" || name == "generateName"));
    let rest = found.as_object().into_iter().flatten().any(|(key, value)| {
        !empty(value) && !matches!(key.as_str(), "type" | "properties" | "description" | "default")
    });
    if !only_names || rest {
        let detail = "must not specify anything other than name and generateName, but metadata is \
                      implicitly specified";
        errors.push(FieldError::forbidden(at, detail));
    }
}

/// Within `allOf`, `anyOf`, `oneOf` and `not` only values are judged, of fields that are there.
fn junctors(schema: &Value, at: &str, errors: &mut Errors) {
    let pattern = text(schema, "/pattern");
    if let Err(error) = structural::compile(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(format!("{at}.pattern"), pattern, &detail));
    }
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    for key in ["anyOf", "allOf", "oneOf"] {
        let list = items(schema, &format!("/{key}"));
        // Two ways in which an integer or a text may be written.
        if key == "anyOf" && schema.get(key) == Some(&either) {
            continue;
        }
        for (place, nested) in list.iter().enumerate() {
            let exception = key == "allOf" && place == 0 && nested.get("anyOf") == Some(&either);
            let own = format!("{at}.{key}[{place}]");
            value_only(nested, schema, exception, &own, at, errors);
        }
    }
    if let Some(nested) = schema.get("not").filter(|it| it.is_object()) {
        value_only(nested, schema, false, &format!("{at}.not"), at, errors);
    }
}

fn value_only(
    nested: &Value,
    beside: &Value,
    exception: bool,
    at: &str,
    beside_at: &str,
    errors: &mut Errors,
) {
    let bad = [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ];
    for (key, detail) in bad {
        if nested.get(key).is_some_and(|value| !empty(value)) {
            errors.push(FieldError::forbidden(format!("{at}.{key}"), detail));
        }
    }
    if let Some(below) = nested.get("items").filter(|it| it.is_object()) {
        let (own, beside_at) = (format!("{at}.items"), format!("{beside_at}.items"));
        match beside.get("items").filter(|it| it.is_object()) {
            Some(beside) => value_only(below, beside, false, &own, &beside_at, errors),
            None => {
                let detail = format!("because it is defined in {own}");
                errors.push(FieldError::required(beside_at, detail));
            }
        }
    }
    let fields = nested.get("properties").and_then(Value::as_object);
    for (name, below) in fields.into_iter().flatten() {
        let own = format!("{at}.properties[{name}]");
        if name == "metadata" {
            let detail = "must not be specified in a nested context";
            errors.push(FieldError::forbidden(&own, detail));
        }
        let beside_at = format!("{beside_at}.properties[{name}]");
        let known = beside.get("properties").and_then(|all| all.get(name));
        let known =
            known.or_else(|| beside.get("additionalProperties").filter(|it| it.is_object()));
        match known {
            Some(beside) => value_only(below, beside, false, &own, &beside_at, errors),
            None => {
                let detail = format!("because it is defined in {own}");
                errors.push(FieldError::required(beside_at, detail));
            }
        }
    }
    for key in ["anyOf", "allOf", "oneOf"] {
        if exception && key == "anyOf" {
            continue;
        }
        for (place, deeper) in items(nested, &format!("/{key}")).iter().enumerate() {
            value_only(deeper, beside, false, &format!("{at}.{key}[{place}]"), beside_at, errors);
        }
    }
    if let Some(deeper) = nested.get("not").filter(|it| it.is_object()) {
        value_only(deeper, beside, false, &format!("{at}.not"), beside_at, errors);
    }
    let pattern = text(nested, "/pattern");
    if let Err(error) = structural::compile(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(format!("{at}.pattern"), pattern, &detail));
    }
}

/// Defaults have to be what the schema itself would take as it is.
fn defaults(schema: &Value, at: &str, root: bool, errors: &mut Errors) {
    if let Some(default) = schema.get("default").filter(|it| !it.is_null() && !root) {
        let (own, field) = (Structural::of(schema), format!("{at}.default"));
        let (mut pruned, mut unknown) = (default.clone(), Vec::new());
        structural::prune_part(&own, &mut pruned, &mut unknown);
        if !unknown.is_empty() {
            let detail = "must not have unknown fields";
            errors.push(FieldError::invalid(&field, default.clone(), detail));
        }
        let mut filled = pruned;
        structural::fill_in_part(&own, &mut filled);
        let mut wrong = Errors::default();
        values::check(&own, &filled, None, &mut wrong);
        errors.extend(wrong.list().into_iter().map(|mut error| {
            error.field = match error.field.as_str() {
                "" => field.clone(),
                "<nil>" => "<nil>".to_owned(),
                below => format!("{field}.{below}"),
            };
            error
        }));
    }
    let parts = ["properties", "additionalProperties", "items"];
    for (path, below) in children(schema) {
        if parts.iter().any(|part| path.starts_with(part)) {
            defaults(below, &format!("{at}.{path}"), false, errors);
        }
    }
}

/// Whether a schema is of a part of an object that every object has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// It is not.
    Object,
    /// It is, in a whole object within another one.
    Metadata,
    /// It is, at the top; with its name.
    Top(&'static str),
}

fn keywords(schema: &Value, at: &str, within: Within, root: bool, errors: &mut Errors) {
    if errors.full() {
        return;
    }
    let kind = text(schema, "/type");
    let field = |key: &str| format!("{at}.{key}");
    let set = |key: &str| schema.get(key).is_some_and(|value| !empty(value));
    let known = ["array", "boolean", "integer", "number", "object", "string"];
    if !kind.is_empty() && !known.contains(&kind) {
        errors.push(FieldError::unsupported(field("type"), kind, &known));
    }
    if let (Within::Top(name), Some(_)) = (within, schema.get("default")) {
        let detail = format!("must not be set in top-level {name}");
        errors.push(FieldError::forbidden(field("default"), detail));
    }
    for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"]
    {
        if set(key) {
            errors.push(FieldError::forbidden(field(key), format!("{key} is not supported")));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(field("type"), detail));
    }
    if schema.get("items").is_some_and(Value::is_array) {
        let detail = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(field("items"), detail));
    }
    if within != Within::Object && set("x-kubernetes-embedded-resource") {
        let detail = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(field("x-kubernetes-embedded-resource"), detail));
    }
    if set("uniqueItems") {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(field("uniqueItems"), detail));
    }
    let additional = schema.get("additionalProperties").filter(|it| !it.is_null());
    if set("properties") && additional.is_some_and(|it| *it != Value::Bool(true)) {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(field("additionalProperties"), detail));
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = field("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(at, false, "must be true or undefined"));
    }
    lists_and_maps(schema, at, errors);
    rules(schema, at, errors);
    let whole = root || truth(schema, "/x-kubernetes-embedded-resource");
    for (path, below) in children(schema) {
        let name = path.strip_prefix("properties[").and_then(|name| name.strip_suffix(']'));
        let meta = name.and_then(|name| META_FIELDS.iter().find(|known| **known == name));
        let within = match meta.filter(|_| whole) {
            Some(name) if root => Within::Top(name),
            Some(_) => Within::Metadata,
            None => within,
        };
        keywords(below, &format!("{at}.{path}"), within, false, errors);
    }
}

fn lists_and_maps(schema: &Value, at: &str, errors: &mut Errors) {
    let kind = text(schema, "/type");
    let field = |key: &str| format!("{at}.{key}");
    let (map, list) =
        (text(schema, "/x-kubernetes-map-type"), text(schema, "/x-kubernetes-list-type"));
    for (key, value, wanted, known) in [
        ("x-kubernetes-map-type", map, "object", &["atomic", "granular"][..]),
        ("x-kubernetes-list-type", list, "array", &["atomic", "set", "map"]),
    ] {
        if value.is_empty() {
            continue;
        }
        let detail = format!("must be {wanted} if {key} is specified");
        if kind.is_empty() {
            errors.push(FieldError::required(field("type"), detail));
        } else if kind != wanted {
            errors.push(FieldError::invalid(field("type"), kind, &detail));
        }
        if !known.contains(&value) {
            errors.push(FieldError::unsupported(field(key), value, known));
        }
    }
    let below = schema.get("items").filter(|it| it.is_object());
    let keys = items(schema, "/x-kubernetes-list-map-keys");
    if !keys.is_empty() && list != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        let at = field("x-kubernetes-list-type");
        errors.push(match list {
            "" => FieldError::required(at, detail),
            list => FieldError::invalid(at, list, detail),
        });
    }
    if let (Some(below), "set" | "map") = (below, list) {
        if truth(below, "/nullable") {
            let detail = format!("cannot be nullable when x-kubernetes-list-type is {list}");
            errors.push(FieldError::forbidden(field("items.nullable"), detail));
        }
        if list == "set" {
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let (lists, maps) = ("x-kubernetes-list-type", "x-kubernetes-map-type");
            let (key, wrong) = match text(below, "/type") {
                "array" => (lists, !matches!(text(below, &format!("/{lists}")), "" | "atomic")),
                "object" => (maps, text(below, &format!("/{maps}")) != "atomic"),
                _ => ("", false),
            };
            if wrong {
                let found = below.get(key).cloned().unwrap_or_default();
                errors.push(FieldError::invalid(field(&format!("items.{key}")), found, detail));
            }
        }
    }
    if list == "map" {
        map_keys(schema, below, keys, at, errors);
    }
}

fn map_keys(schema: &Value, below: Option<&Value>, keys: &[Value], at: &str, errors: &mut Errors) {
    let field = |key: &str| format!("{at}.{key}");
    let at_keys = field("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&at_keys, detail));
    }
    let Some(below) = below else {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(field("items"), detail));
        return;
    };
    if text(below, "/type") != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(field("items.type"), text(below, "/type"), detail));
        return;
    }
    let whole = || schema.get("x-kubernetes-list-map-keys").cloned().unwrap_or_default();
    for (place, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let at = field(&format!("items.properties[{name}]"));
        let Some(property) = below.get("properties").and_then(|all| all.get(name)) else {
            let detail = "entries must all be names of item properties";
            errors.push(FieldError::invalid(&at_keys, whole(), detail));
            continue;
        };
        if matches!(text(property, "/type"), "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            let kind = text(below, "/type");
            errors.push(FieldError::invalid(format!("{at}.type"), kind, detail));
        }
        if keys.iter().take(place).any(|before| before == key) {
            let detail = "must not contain duplicate entries";
            errors.push(FieldError::invalid(&at_keys, whole(), detail));
        }
        let required = items(below, "/required").contains(key);
        if !required && property.get("default").is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a \
                          default or be a required property";
            errors.push(FieldError::required(format!("{at}.default"), detail));
        }
        if truth(property, "/nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(format!("{at}.nullable"), detail));
        }
    }
}

/// The form of rules in CEL.
fn rules(schema: &Value, at: &str, errors: &mut Errors) {
    for (place, rule) in items(schema, "/x-kubernetes-validations").iter().enumerate() {
        let field = |key: &str| format!("{at}.x-kubernetes-validations[{place}].{key}");
        let (code, message) = (text(rule, "/rule").trim(), text(rule, "/message"));
        let lines = |text: &str| text.contains(['\n', '\r']);
        if code.is_empty() {
            errors.push(FieldError::required(field("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let detail = "must be non-empty if specified";
            errors.push(FieldError::invalid(field("message"), message, detail));
        } else if lines(message.trim()) {
            let detail = "must not contain line breaks";
            errors.push(FieldError::invalid(field("message"), message, detail));
        } else if lines(code) && message.trim().is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(field("message"), detail));
        }
        let reasons = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        if let Some(reason) = rule.get("reason").and_then(Value::as_str)
            && !reasons.contains(&reason)
        {
            errors.push(FieldError::unsupported(field("reason"), reason, &reasons));
        }
    }
}
