//! Rules of a schema in the Common Expression Language: `x-kubernetes-validations`.

use std::sync::OnceLock;

use serde_json::Value;

use super::structural::{Kind, List, Path, Structural};
use crate::cel::check::{Checked, Names};
use crate::cel::eval::{Eval, EvalError, Scope};
use crate::cel::parse::Expr;
use crate::cel::value::Val;
use crate::cel::{COST_MAX, COST_OF_OBJECT_MAX, check as cel};
use crate::object::{text, truth};
use crate::status::{Cause, FieldError};
use crate::validate::ERRORS_MAX;

/// Longest message that an expression may make, in bytes.
const MESSAGE_MAX: usize = 5 << 10;

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// What has to hold.
    pub(crate) rule: Box<str>,
    /// What is said if it does not.
    message: Box<str>,
    /// What makes the message.
    pub(crate) message_expression: Box<str>,
    reason: Box<str>,
    field_path: Box<str>,
    /// Whether it is judged without an old state, too.
    pub(crate) optional_old: bool,
    programs: OnceLock<Programs>,
}

/// Expressions of a rule as they were read when it was first needed; none that cannot be read.
#[derive(Debug)]
struct Programs {
    rule: Option<(Expr, Checked)>,
    message: Option<Expr>,
}

impl Rule {
    /// Reads a rule.
    pub(crate) fn of(rule: &Value) -> Self {
        let own = |key: &str| text(rule, &format!("/{key}")).trim().into();
        Self {
            rule: own("rule"),
            message: own("message"),
            message_expression: own("messageExpression"),
            reason: own("reason"),
            field_path: own("fieldPath"),
            optional_old: truth(rule, "/optionalOldSelf"),
            programs: OnceLock::new(),
        }
    }

    fn programs(&self, schema: &Structural, whole: bool) -> &Programs {
        self.programs.get_or_init(|| {
            let names = Names { schema, whole, optional_old: self.optional_old };
            let message = &self.message_expression;
            let message = Some(message).filter(|text| !text.is_empty());
            Programs {
                rule: cel::check(&self.rule, names, true).ok(),
                message: message.and_then(|text| Some(cel::check(text, names, false).ok()?.0)),
            }
        })
    }

    /// How messages name it.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.rule } else { &self.message }
    }
}

/// Judges an object by its schema's rules; `old` is what an update replaces.
pub(crate) fn check(
    schema: &Structural,
    object: &Value,
    old: Option<&Value>,
    errors: &mut Vec<FieldError>,
) {
    if !schema.ruled {
        return;
    }
    // Rules may rely on what the schema says.
    let blocking = errors.iter().any(|error| match error.cause {
        Cause::Required
        | Cause::NotSupported
        | Cause::TooLong
        | Cause::TooMany
        | Cause::TypeInvalid => true,
        Cause::Invalid | Cause::Duplicate | Cause::NotFound | Cause::Forbidden => false,
    });
    if blocking {
        let detail = "some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation";
        errors.push(FieldError::invalid("<nil>", "null", detail));
        return;
    }
    let mut walk = Walk { errors, left: COST_OF_OBJECT_MAX, stopped: false };
    walk.value(schema, object, old, &Path::Root);
}

struct Walk<'e> {
    errors: &'e mut Vec<FieldError>,
    /// What may still be spent.
    left: u64,
    stopped: bool,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, path: &Path<'_>) {
        if !schema.ruled || (value.is_null() && schema.nullable) {
            return;
        }
        let whole = matches!(path, Path::Root) || schema.embedded;
        for rule in &schema.rules {
            if self.stopped || self.errors.len() >= ERRORS_MAX {
                return;
            }
            self.rule(rule, schema, whole, (value, old), path);
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(below) = schema.below(name) {
                        let old = old.and_then(|old| old.get(name));
                        self.value(below, value, old, &Path::Field(path, name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(below) = &schema.items else { return };
                for (place, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| same_item(&schema.list, old, item));
                    self.value(below, item, old, &Path::Item(path, place));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        schema: &Structural,
        whole: bool,
        (value, old): (&Value, Option<&Value>),
        path: &Path<'_>,
    ) {
        let programs = rule.programs(schema, whole);
        let Some((expr, checked)) = &programs.rule else { return };
        // A change is judged where there was something, all else where something changed.
        let skipped =
            if checked.old { old.is_none() && !rule.optional_old } else { old == Some(value) };
        if skipped {
            return;
        }
        let of_old = match old.map(|old| Val::of(old, Some(schema))) {
            known if rule.optional_old => Val::Optional(known.map(std::rc::Rc::new)),
            known => known.unwrap_or(Val::Null),
        };
        let own = Val::of(value, Some(schema));
        let own = Scope { before: None, name: "self", value: own };
        let scope = Scope { before: Some(&own), name: "oldSelf", value: of_old };
        let eval = Eval::new(self.left.min(COST_MAX));
        let outcome = eval.eval(expr, &scope);
        let last = self.left <= COST_MAX;
        self.left = self.left.saturating_sub(self.left.min(COST_MAX) - eval.left());
        let at = match (path.text().as_str(), rule.field_path.trim_start_matches('.')) {
            ("", "") => "<nil>".to_owned(),
            ("", below) => below.to_owned(),
            (at, "") => at.to_owned(),
            (at, below) => format!("{at}.{below}"),
        };
        let why = match outcome {
            Ok(Val::Bool(true)) => return,
            Ok(_) => {
                let detail = self.message(rule, programs, &scope);
                self.errors.push(error(at, value, &rule.reason, &detail));
                return;
            }
            Err(EvalError::Cost) => {
                self.stopped = true;
                if last {
                    "validation failed due to running out of cost budget, no further validation \
                     rules will be run"
                        .to_owned()
                } else {
                    format!(
                        "'{}': no further validation rules will be run due to call cost exceeds \
                         limit for rule: {}",
                        EvalError::Cost,
                        rule.shown()
                    )
                }
            }
            Err(EvalError::Overload) => format!(
                "'{}': call arguments did not match a supported operator, function or macro \
                 signature for rule: {}",
                EvalError::Overload,
                rule.shown()
            ),
            Err(EvalError::Other(why)) => format!("{why} evaluating rule: {}", rule.shown()),
        };
        let kind = match schema.kind {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Any | Kind::IntOrString => "",
        };
        self.errors.push(FieldError::invalid(at, kind, &why));
    }

    /// What is said of a rule that does not hold.
    fn message<'a>(
        &mut self,
        rule: &Rule,
        programs: &'a Programs,
        scope: &Scope<'_, 'a>,
    ) -> String {
        if let Some(expr) = &programs.message {
            let eval = Eval::new(self.left.min(COST_MAX));
            let made = eval.eval(expr, scope);
            self.left = self.left.saturating_sub(self.left.min(COST_MAX) - eval.left());
            if let Ok(Val::Text(text)) = made {
                let text = text.trim();
                if !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains(['\n', '\r']) {
                    return text.to_owned();
                }
            }
        }
        if rule.message.is_empty() {
            format!("failed rule: {}", rule.rule)
        } else {
            rule.message.to_string()
        }
    }
}

fn error(at: String, value: &Value, reason: &str, detail: &str) -> FieldError {
    match reason {
        "FieldValueForbidden" => FieldError::forbidden(at, detail),
        "FieldValueRequired" => FieldError::required(at, detail),
        "FieldValueDuplicate" => FieldError::duplicate(at, value.clone()),
        // What is large says nothing of itself.
        _ if value.is_object() || value.is_array() => {
            FieldError { cause: Cause::Invalid, field: at, detail: detail.to_owned() }
        }
        _ => FieldError::invalid(at, value.clone(), detail),
    }
}

/// The item of an older list that an item is a newer state of.
pub(super) fn same_item<'a>(list: &List, old: &'a Value, item: &Value) -> Option<&'a Value> {
    let List::Map(keys) = list else { return None };
    let same = |other: &&Value| keys.iter().all(|key| other.get(&**key) == item.get(&**key));
    old.as_array()?.iter().find(same)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(spec: Value, object: Value, old: Option<Value>) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let object = json!({"metadata": {"name": "a"}, "spec": object});
        let old = old.map(|old| json!({"metadata": {"name": "a"}, "spec": old}));
        let mut errors = Vec::new();
        check(&Structural::of(&schema), &object, old.as_ref(), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    fn ruled(rules: Value) -> Value {
        json!({"type": "object", "x-kubernetes-validations": rules, "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "list": {"type": "array", "items": {"type": "integer"}}}})
    }

    #[test]
    fn rules_that_do_not_hold_say_so() {
        let spec = || ruled(json!([{"rule": "self.min <= self.max"}]));
        assert_eq!(found(spec(), json!({"min": 1, "max": 2}), None), [""; 0]);
        let bad = || json!({"min": 3, "max": 2});
        let told = "spec: Invalid value: failed rule: self.min <= self.max";
        assert_eq!(found(spec(), bad(), None), [told]);
        assert_eq!(found(spec(), bad(), Some(bad())), [""; 0], "what stays is not judged again");
        assert_eq!(
            found(spec(), json!({"min": 3}), None),
            [
                "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max"
            ]
        );
        let message = json!([{"rule": "self.min <= self.max", "message": "too small",
            "messageExpression": "'%d is above %d'.format([self.min, self.max])",
            "reason": "FieldValueForbidden", "fieldPath": ".min"}]);
        assert_eq!(found(ruled(message), bad(), None), ["spec.min: Forbidden: 3 is above 2"]);
    }

    #[test]
    fn changes_are_judged_by_what_was() {
        let spec = |optional: bool| {
            json!({"type": "integer", "x-kubernetes-validations": [{"rule": if optional {
                "!oldSelf.hasValue() || self > oldSelf.value()"
            } else {
                "self > oldSelf"
            }, "optionalOldSelf": optional}]})
        };
        for optional in [false, true] {
            assert_eq!(found(spec(optional), json!(1), None), [""; 0]);
            assert_eq!(found(spec(optional), json!(2), Some(json!(1))), [""; 0]);
            assert_eq!(found(spec(optional), json!(1), Some(json!(2))).len(), 1);
        }
    }

    #[test]
    fn no_object_costs_more_than_it_may() {
        let spec = || ruled(json!([{"rule": "self.list.all(x, self.list.all(y, x == y))"}]));
        assert_eq!(found(spec(), json!({"list": [2, 2]}), None), [""; 0]);
        let told = found(spec(), json!({"list": vec![20; 725]}), None);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("call cost exceeds limit"), "{told:?}");
        let item = json!({"type": "array", "items": {"type": "array", "items": {"type": "integer"},
            "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}]}});
        let told = found(item, json!(vec![vec![1; 380]; 100]), None);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("running out of cost budget"), "{told:?}");
    }
}
