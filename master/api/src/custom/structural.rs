//! The schema of a custom resource's version, in a form that is small and quick to walk.
//!
//! Made of what a custom resource definition says, which was found valid; what was not is taken
//! for a schema that allows anything there. Descriptions are not kept.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::rules::Rule;
use crate::object::{self, items};

/// Largest program that a pattern may become, in bytes.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// A schema, and the schemas in it.
#[derive(Debug, Default)]
pub(crate) struct Structural {
    /// Which JSON values fit.
    pub(crate) kind: Kind,
    /// Whether null fits, too.
    pub(crate) nullable: bool,
    /// Whether fields that it does not name are kept.
    pub(crate) open: bool,
    /// Whether its values are whole objects with `apiVersion`, `kind` and `metadata`.
    pub(crate) embedded: bool,
    /// Whether apply owns it as a whole.
    pub(crate) atomic: bool,
    /// How apply merges it, if it is a list.
    pub(crate) list: List,
    /// Its fields, ordered by name.
    pub(crate) properties: Box<[(Box<str>, Structural)]>,
    /// What all other fields hold, if there may be any.
    pub(crate) additional: Option<Box<Structural>>,
    /// What its items are.
    pub(crate) items: Option<Box<Structural>>,
    /// What stands for it when it is left out.
    pub(crate) default: Option<Box<Value>>,
    /// What else has to hold.
    pub(crate) checks: Option<Box<Checks>>,
    /// What has to hold in words of the expression language.
    pub(crate) rules: Box<[Rule]>,
    /// Whether there are such rules here or further below.
    pub(crate) ruled: bool,
}

/// Which JSON values fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All.
    #[default]
    Any,
    /// Objects.
    Object,
    /// Lists.
    Array,
    /// Texts.
    String,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Truth values.
    Boolean,
    /// Whole numbers and texts.
    IntOrString,
}

/// How apply merges a list.
#[derive(Debug, Default)]
pub(crate) enum List {
    /// As a whole.
    #[default]
    Atomic,
    /// Values are unique.
    Set,
    /// Items are objects told apart by these fields.
    Map(Box<[Box<str>]>),
}

/// Rules for values.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Fields that have to be there.
    pub(crate) required: Vec<Box<str>>,
    /// The only values, if there are any.
    pub(crate) values: Vec<Value>,
    /// What a text or number is.
    pub(crate) format: Box<str>,
    /// Least number, and whether it is excluded.
    pub(crate) minimum: Option<(f64, bool)>,
    /// Largest number, and whether it is excluded.
    pub(crate) maximum: Option<(f64, bool)>,
    /// What a number is a multiple of.
    pub(crate) multiple_of: Option<f64>,
    /// Bounds of the length of a text.
    pub(crate) length: Bounds,
    /// Bounds of the number of items.
    pub(crate) count: Bounds,
    /// Bounds of the number of fields.
    pub(crate) fields: Bounds,
    /// What a text has to match.
    pub(crate) pattern: Option<Pattern>,
    /// All of them hold.
    pub(crate) all_of: Vec<Structural>,
    /// One of them holds, or more.
    pub(crate) any_of: Vec<Structural>,
    /// One of them holds and no other.
    pub(crate) one_of: Vec<Structural>,
    /// It does not hold.
    pub(crate) not: Option<Structural>,
}

/// Least and most of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
}

/// A regular expression, made into a program when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: Box<str>,
    program: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Whether it is found in a text.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let program = self.program.get_or_init(|| compile(&self.text).ok());
        program.as_ref().is_none_or(|program| program.is_match(text))
    }
}

/// Makes a pattern into a program that takes linear time.
///
/// # Errors
/// It is no regular expression, or becomes too large.
pub(crate) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_SIZE_MAX).build()
}

impl Structural {
    /// Reads `openAPIV3Schema`.
    pub(crate) fn of(schema: &Value) -> Self {
        let text = |key: &str| object::text(schema, &format!("/{key}"));
        let flag = |key: &str| object::truth(schema, &format!("/{key}"));
        let kind = match text("type") {
            _ if flag("x-kubernetes-int-or-string") => Kind::IntOrString,
            "object" => Kind::Object,
            "array" => Kind::Array,
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            _ => Kind::Any,
        };
        let list = match text("x-kubernetes-list-type") {
            "set" => List::Set,
            "map" => List::Map(texts(schema, "x-kubernetes-list-map-keys").collect()),
            _ => List::Atomic,
        };
        let fields = schema.get("properties").and_then(Value::as_object);
        let mut properties: Vec<(Box<str>, Self)> = fields
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.as_str().into(), Self::of(schema)))
            .collect();
        properties.sort_by(|(a, _), (b, _)| a.cmp(b));
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Bool(false) | Value::Null) => None,
            Some(Value::Bool(true)) => Some(Box::new(Self { open: true, ..Self::default() })),
            Some(schema) => Some(Box::new(Self::of(schema))),
        };
        Self {
            kind,
            nullable: flag("nullable"),
            open: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            atomic: text("x-kubernetes-map-type") == "atomic",
            list,
            properties: properties.into(),
            additional,
            items: schema.get("items").filter(|it| it.is_object()).map(|it| Box::new(Self::of(it))),
            default: schema.get("default").filter(|it| !it.is_null()).cloned().map(Box::new),
            checks: Checks::of(schema),
            rules: items(schema, "/x-kubernetes-validations").iter().map(Rule::of).collect(),
            ruled: false,
        }
        .noted()
    }

    /// Notes whether there are rules.
    fn noted(mut self) -> Self {
        let parts = [&self.additional, &self.items];
        self.ruled = !self.rules.is_empty()
            || self.properties.iter().any(|(_, schema)| schema.ruled)
            || parts.into_iter().flatten().any(|schema| schema.ruled);
        self
    }

    /// The schema of a field; none if it has none of its own.
    pub(crate) fn property(&self, name: &str) -> Option<&Self> {
        let place = self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.properties.get(place).map(|(_, schema)| schema)
    }

    /// The schema of a field, of whatever is in a map, too.
    pub(crate) fn below(&self, name: &str) -> Option<&Self> {
        self.property(name).or(self.additional.as_deref())
    }
}

impl Checks {
    fn of(schema: &Value) -> Option<Box<Self>> {
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let flag = |key: &str| object::truth(schema, &format!("/{key}"));
        let all = |key: &str| {
            let schemas = schema.get(key).and_then(Value::as_array);
            schemas.into_iter().flatten().map(Structural::of).collect::<Vec<_>>()
        };
        let pattern = object::text(schema, "/pattern");
        let checks = Self {
            required: texts(schema, "required").collect(),
            values: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            format: object::text(schema, "/format").into(),
            minimum: number("minimum").map(|bound| (bound, flag("exclusiveMinimum"))),
            maximum: number("maximum").map(|bound| (bound, flag("exclusiveMaximum"))),
            multiple_of: number("multipleOf"),
            length: Bounds::of(schema, "minLength", "maxLength"),
            count: Bounds::of(schema, "minItems", "maxItems"),
            fields: Bounds::of(schema, "minProperties", "maxProperties"),
            pattern: (!pattern.is_empty())
                .then(|| Pattern { text: pattern.into(), program: OnceLock::new() }),
            all_of: all("allOf"),
            any_of: all("anyOf"),
            one_of: all("oneOf"),
            not: schema.get("not").filter(|it| it.is_object()).map(Structural::of),
        };
        (!checks.is_empty()).then(|| Box::new(checks))
    }

    fn is_empty(&self) -> bool {
        let Self { required, values, format, minimum, maximum, multiple_of, .. } = self;
        let bounds = [self.length, self.count, self.fields];
        let schemas = [&self.all_of, &self.any_of, &self.one_of];
        required.is_empty()
            && values.is_empty()
            && format.is_empty()
            && minimum.is_none()
            && maximum.is_none()
            && multiple_of.is_none()
            && bounds.iter().all(|bounds| *bounds == Bounds::default())
            && self.pattern.is_none()
            && schemas.iter().all(|schemas| schemas.is_empty())
            && self.not.is_none()
    }
}

impl Bounds {
    fn of(schema: &Value, min: &str, max: &str) -> Self {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        Self { min: bound(min), max: bound(max) }
    }
}

fn texts<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = Box<str>> + use<'a> {
    let list = schema.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(Into::into)
}

/// Fields that every object has.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// What is not in a schema is dropped; names it, as paths, unless enough are named.
pub(crate) fn prune(schema: &Structural, object: &mut Value, unknown: &mut Vec<String>) {
    let mut walk = Prune { unknown };
    walk.value(Some(schema), object, true, &Path::Root);
}

/// As [`prune`], of a part of an object.
pub(crate) fn prune_part(schema: &Structural, value: &mut Value, unknown: &mut Vec<String>) {
    Prune { unknown }.value(Some(schema), value, false, &Path::Root);
}

/// Where in an object a walk is: text only when it is told.
pub(crate) enum Path<'a> {
    /// The object itself.
    Root,
    /// A field.
    Field(&'a Path<'a>, &'a str),
    /// An item.
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// As messages show it: `spec.list[0].name`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(Self::Root, name) => (*name).to_owned(),
            Self::Field(above, name) => format!("{}.{name}", above.text()),
            Self::Item(above, place) => format!("{}[{place}]", above.text()),
        }
    }
}

/// Most fields that are named.
const UNKNOWN_MAX: usize = 100;

struct Prune<'a> {
    unknown: &'a mut Vec<String>,
}

impl Prune<'_> {
    fn value(
        &mut self,
        schema: Option<&Structural>,
        value: &mut Value,
        whole: bool,
        path: &Path<'_>,
    ) {
        match value {
            Value::Object(fields) => {
                let whole = whole || schema.is_some_and(|schema| schema.embedded);
                let open = schema.is_some_and(|schema| schema.open);
                let known = |name: &str| {
                    open || (whole && META_FIELDS.contains(&name))
                        || schema.is_some_and(|schema| schema.below(name).is_some())
                };
                fields.retain(|name, _| {
                    let known = known(name);
                    if !known && self.unknown.len() < UNKNOWN_MAX {
                        self.unknown.push(Path::Field(path, name).text());
                    }
                    known
                });
                for (name, value) in fields.iter_mut() {
                    let meta = whole && META_FIELDS.contains(&name.as_str());
                    let below = schema.and_then(|schema| schema.below(name));
                    // Where unknown fields are kept, only known ones are looked into.
                    if !meta && (below.is_some() || !open) {
                        self.value(below, value, false, &Path::Field(path, name));
                    }
                }
            }
            Value::Array(items) => {
                let open = schema.is_some_and(|schema| schema.open);
                let below = schema.and_then(|schema| schema.items.as_deref());
                if open && below.is_none() {
                    return;
                }
                for (place, item) in items.iter_mut().enumerate() {
                    self.value(below, item, false, &Path::Item(path, place));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Drops nulls that may not be null, and puts defaults in the places of what is left out.
pub(crate) fn fill_in(schema: &Structural, fields: &mut Map<String, Value>) {
    fields.retain(|name, value| {
        let below = schema.below(name);
        !value.is_null() || below.is_none_or(|schema| schema.nullable || schema.default.is_some())
    });
    for (name, below) in &schema.properties {
        let Some(default) = &below.default else { continue };
        let there = fields.get(&**name);
        if there.is_none_or(|value| value.is_null() && !below.nullable) {
            fields.insert(name.to_string(), (**default).clone());
        }
    }
    for (name, value) in fields.iter_mut() {
        if let Some(below) = schema.below(name) {
            fill_in_part(below, value);
        }
    }
}

/// As [`fill_in`], of a part of an object.
pub(crate) fn fill_in_part(schema: &Structural, value: &mut Value) {
    if let (true, false, Some(default)) = (value.is_null(), schema.nullable, &schema.default) {
        *value = (**default).clone();
    }
    match value {
        Value::Object(fields) => fill_in(schema, fields),
        Value::Array(items) => {
            let Some(below) = &schema.items else { return };
            items.iter_mut().for_each(|item| fill_in_part(below, item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_prune(schema: Value, mut object: Value, kept: Value, unknown: &[&str]) {
        let mut found = Vec::new();
        prune(&Structural::of(&schema), &mut object, &mut found);
        assert_eq!(object, kept);
        assert_eq!(found, unknown);
    }

    #[test]
    fn what_a_schema_does_not_name_is_dropped() {
        let plain = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a": {"type": "string"}}},
            "list": {"type": "array", "items": {"type": "object",
                "properties": {"n": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object",
                "properties": {"x": {"type": "string"}}}}}});
        check_prune(
            plain,
            json!({"apiVersion": "v", "kind": "K", "metadata": {"name": "m"},
                "spec": {"a": "1", "b": {"c": 1}}, "list": [{"n": 1, "o": 2}],
                "map": {"k": {"x": "y", "z": 1}}, "more": 1}),
            json!({"apiVersion": "v", "kind": "K", "metadata": {"name": "m"},
                "spec": {"a": "1"}, "list": [{"n": 1}], "map": {"k": {"x": "y"}}}),
            &["more", "list[0].o", "map.k.z", "spec.b"],
        );
    }

    #[test]
    fn unknown_fields_are_kept_where_they_are_wanted_and_known_ones_looked_into() {
        let schema = json!({"type": "object", "properties": {
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object",
                    "properties": {"a": {"type": "string"}}}}},
            "whole": {"type": "object", "x-kubernetes-embedded-resource": true,
                "properties": {"spec": {"type": "object"}}}}});
        check_prune(
            schema,
            json!({"open": {"known": {"a": "1", "b": 2}, "other": {"deep": [{"x": 1}]}},
                "whole": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                    "spec": {"a": 1}, "x": 1}}),
            json!({"open": {"known": {"a": "1"}, "other": {"deep": [{"x": 1}]}},
                "whole": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                    "spec": {}}}),
            &["open.known.b", "whole.x", "whole.spec.a"],
        );
    }

    #[test]
    fn defaults_stand_for_what_is_left_out_and_for_nulls_that_may_not_be() {
        let schema = Structural::of(&json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "A"},
            "n": {"type": "string", "nullable": true, "default": "N"},
            "plain": {"type": "string"},
            "spec": {"type": "object", "default": {}, "properties": {
                "deep": {"type": "integer", "default": 7}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {
                "p": {"type": "string", "default": "TCP"}}}}}}));
        let mut object = json!({"n": null, "a": null, "plain": null, "list": [{}, {"p": "UDP"}]});
        fill_in(&schema, object.as_object_mut().unwrap());
        let filled = json!({"a": "A", "n": null, "spec": {"deep": 7},
            "list": [{"p": "TCP"}, {"p": "UDP"}]});
        assert_eq!(object, filled);
        fill_in(&schema, object.as_object_mut().unwrap());
        assert_eq!(object, filled, "a second time changes nothing");
    }
}
