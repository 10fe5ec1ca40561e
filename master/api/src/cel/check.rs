//! What can be known of an expression before it is evaluated: names and fields that do not exist,
//! a result that is no truth value, and what it may cost at most.
//!
//! Only what a schema says is known for certain; all else is left to the evaluation.

use super::functions::NAMES;
use super::parse::{Each, Expr, ExprKind, How, Operator, Walk, parse, position};
use crate::custom::structural::{Kind, META_FIELDS, Structural};

/// Bytes that an object may have, by which what has no bound of its own is bounded.
const OBJECT_BYTES: u64 = 3 << 20;

/// A checked expression.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What it may cost at most.
    pub(crate) cost: u64,
    /// Whether it looks at the old state.
    pub(crate) old: bool,
}

/// What names stand for.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The schema of what is judged.
    pub(crate) schema: &'a Structural,
    /// Whether it is a whole object.
    pub(crate) whole: bool,
    /// Whether the old state may be absent, and so is optional.
    pub(crate) optional_old: bool,
}

/// What is known of a value.
#[derive(Clone, Copy)]
enum Known<'a> {
    Schema(&'a Structural, bool),
    Bool,
    Int,
    Double,
    Text,
    List,
    Anything,
}

struct Check<'a, 't> {
    text: &'t str,
    names: Names<'a>,
    old: bool,
}

/// A name that a walk gives, and those before it.
struct Bound<'b, 'a> {
    before: Option<&'b Bound<'b, 'a>>,
    name: &'b str,
    known: Known<'a>,
}

/// Reads and checks an expression; `truth` wants a truth value of it, else a text.
///
/// # Errors
/// It is none, names what is not there, or gives something else.
pub(crate) fn check(text: &str, names: Names<'_>, truth: bool) -> Result<(Expr, Checked), String> {
    let failed = |error: &dyn std::fmt::Display| format!("compilation failed: {error}");
    let expr = parse(text).map_err(|error| failed(&error))?;
    let mut check = Check { text, names, old: false };
    let (known, cost) = check.expr(&expr, None).map_err(|error| failed(&error))?;
    let fits = match (known, truth) {
        (Known::Anything, _) | (Known::Bool, true) | (Known::Text, false) => true,
        (Known::Schema(schema, _), truth) => match schema.kind {
            Kind::Any | Kind::IntOrString => true,
            Kind::Boolean => truth,
            Kind::String => !truth,
            Kind::Object | Kind::Array | Kind::Integer | Kind::Number => false,
        },
        (Known::Bool | Known::Int | Known::Double | Known::Text | Known::List, _) => false,
    };
    if !fits {
        let wanted = if truth { "bool" } else { "string" };
        return Err(format!("must evaluate to a {wanted}"));
    }
    Ok((expr, Checked { cost, old: check.old }))
}

/// Most items, entries or letters that a value of a schema has.
pub(crate) fn most(schema: &Structural) -> u64 {
    let checks = schema.checks.as_deref();
    let (bound, least) = match schema.kind {
        Kind::Array => {
            let item = schema.items.as_deref().map_or(2, |items| 1 + smallest(items));
            (checks.and_then(|checks| checks.count.max), item)
        }
        Kind::String => {
            // A text of a list of texts can be none of others.
            let listed = checks.map(|checks| &checks.values).filter(|values| !values.is_empty());
            let longest = listed.and_then(|values| {
                values.iter().filter_map(|value| u64::try_from(value.as_str()?.len()).ok()).max()
            });
            (longest.or_else(|| checks.and_then(|checks| checks.length.max)), 1)
        }
        Kind::Object => match &schema.additional {
            Some(values) => (checks.and_then(|checks| checks.fields.max), 4 + smallest(values)),
            None => (u64::try_from(schema.properties.len()).ok(), 1),
        },
        Kind::Any | Kind::Integer | Kind::Number | Kind::Boolean | Kind::IntOrString => {
            return 1;
        }
    };
    bound.unwrap_or(OBJECT_BYTES / least).min(OBJECT_BYTES)
}

/// Bytes of the smallest value of a schema, about.
fn smallest(schema: &Structural) -> u64 {
    match schema.kind {
        Kind::Object | Kind::Array | Kind::String => 2,
        Kind::Boolean => 4,
        Kind::Any | Kind::Integer | Kind::Number | Kind::IntOrString => 1,
    }
}

impl<'a> Check<'a, '_> {
    fn fail<T>(&self, expr: &Expr, why: &str) -> Result<T, String> {
        let (line, column) = position(self.text, expr.at);
        Err(format!("ERROR: <input>:{line}:{column}: {why}"))
    }

    fn expr(
        &mut self,
        expr: &Expr,
        bound: Option<&Bound<'_, 'a>>,
    ) -> Result<(Known<'a>, u64), String> {
        Ok(match &expr.kind {
            ExprKind::Null => (Known::Anything, 0),
            ExprKind::Bool(_) => (Known::Bool, 0),
            ExprKind::Int(_) | ExprKind::UInt(_) => (Known::Int, 0),
            ExprKind::Double(_) => (Known::Double, 0),
            ExprKind::Text(_) => (Known::Text, 0),
            ExprKind::Bytes(_) => (Known::Anything, 0),
            ExprKind::Name(name) => (self.name(expr, name, bound)?, 1),
            ExprKind::Select { of, field, how } => {
                let (known, cost) = self.expr(of, bound)?;
                let found = self.field(expr, known, field)?;
                let known = match how {
                    How::Presence => Known::Bool,
                    How::Optional => Known::Anything,
                    How::Value => found,
                };
                (known, cost.saturating_add(1))
            }
            ExprKind::Index { of, at, optional } => {
                let ((known, first), (_, second)) = (self.expr(of, bound)?, self.expr(at, bound)?);
                let below = if *optional { Known::Anything } else { items(known) };
                (below, first.saturating_add(second).saturating_add(1))
            }
            ExprKind::Call { of, name, args } => {
                self.call(expr, of.as_deref(), name, args, bound)?
            }
            ExprKind::List(all) => {
                let mut cost = 10;
                for item in all {
                    cost = self.expr(item, bound)?.1.saturating_add(cost);
                }
                (Known::List, cost)
            }
            ExprKind::Map(entries) => {
                let mut cost = 30;
                for (key, value) in entries {
                    cost = self.expr(key, bound)?.1.saturating_add(cost);
                    cost = self.expr(value, bound)?.1.saturating_add(cost);
                }
                (Known::Anything, cost)
            }
            ExprKind::Not(of) => (Known::Bool, self.expr(of, bound)?.1.saturating_add(1)),
            ExprKind::Negative(of) => {
                let (known, cost) = self.expr(of, bound)?;
                (known, cost.saturating_add(1))
            }
            ExprKind::Either { when, then, other } => {
                let first = self.expr(when, bound)?.1;
                let ((known, second), (_, third)) =
                    (self.expr(then, bound)?, self.expr(other, bound)?);
                (simple(known), first.saturating_add(second.max(third)))
            }
            ExprKind::Binary(operator, left, right) => {
                self.binary(expr, *operator, left, right, bound)?
            }
            ExprKind::Each(each) => self.each(each, bound)?,
        })
    }

    fn name(
        &mut self,
        expr: &Expr,
        name: &str,
        bound: Option<&Bound<'_, 'a>>,
    ) -> Result<Known<'a>, String> {
        let mut place = bound;
        while let Some(bound) = place {
            if bound.name == name {
                return Ok(bound.known);
            }
            place = bound.before;
        }
        match name {
            "self" => Ok(Known::Schema(self.names.schema, self.names.whole)),
            "oldSelf" => {
                self.old = true;
                Ok(if self.names.optional_old {
                    Known::Anything
                } else {
                    Known::Schema(self.names.schema, self.names.whole)
                })
            }
            _ if super::functions::type_named(name).is_some() => Ok(Known::Anything),
            _ => self.fail(expr, &format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    fn field(&self, expr: &Expr, of: Known<'a>, field: &str) -> Result<Known<'a>, String> {
        let Known::Schema(schema, whole) = of else {
            return match of {
                Known::Anything => Ok(Known::Anything),
                _ => self.fail(expr, "type does not support field selection"),
            };
        };
        let name = super::eval::unescaped(field);
        if (whole || schema.embedded) && META_FIELDS.contains(&name.as_str()) {
            return Ok(if name == "metadata" { Known::Anything } else { Known::Text });
        }
        match schema.kind {
            Kind::Object => match schema.below(&name) {
                Some(below) => Ok(Known::Schema(below, false)),
                None => self.fail(expr, &format!("undefined field '{field}'")),
            },
            Kind::Any if schema.properties.is_empty() => {
                self.fail(expr, &format!("undefined field '{field}'"))
            }
            Kind::Any | Kind::IntOrString => Ok(Known::Anything),
            Kind::Array | Kind::String | Kind::Integer | Kind::Number | Kind::Boolean => {
                self.fail(expr, "type does not support field selection")
            }
        }
    }

    fn call(
        &mut self,
        expr: &Expr,
        of: Option<&Expr>,
        name: &str,
        args: &[Expr],
        bound: Option<&Bound<'_, 'a>>,
    ) -> Result<(Known<'a>, u64), String> {
        if !NAMES.contains(&name) {
            let why = format!("undeclared reference to '{name}' (in container '')");
            return self.fail(expr, &why);
        }
        let (mut cost, mut size) = (1_u64, 1_u64);
        let (mut first, mut lists) = (None, 1_u64);
        for part in of.into_iter().chain(args) {
            let (known, own) = self.expr(part, bound)?;
            let len = length(part, known);
            cost = cost.saturating_add(own);
            size = size.saturating_add(len);
            lists = lists.saturating_mul(len.max(1));
            first = first.or(Some(known));
        }
        let (known, own) = match name {
            "size" | "indexOf" | "lastIndexOf" | "int" | "asInteger" | "compareTo" => {
                (Known::Int, size / 10)
            }
            "contains" => (Known::Bool, lists / 100),
            "matches" => (Known::Bool, lists / 40),
            "sets.contains" | "sets.intersects" | "sets.equivalent" => (Known::Bool, lists),
            "distinct" => (Known::List, lists.saturating_mul(lists)),
            "startsWith" | "endsWith" | "bool" | "isQuantity" | "isIP" | "isCIDR" | "hasValue" => {
                (Known::Bool, size / 10)
            }
            "isSorted" => (Known::Bool, size),
            "find" | "findAll" => (Known::Anything, lists / 40),
            "lowerAscii" | "upperAscii" | "trim" | "substring" | "replace" | "charAt"
            | "string" | "join" | "format" => (Known::Text, size / 10),
            _ if name.starts_with("get") => (Known::Int, 1),
            _ => (Known::Anything, size / 10),
        };
        // What is kept of a list is a list of the same.
        let known = match (name, first) {
            ("reverse" | "slice" | "sort", Some(first @ Known::Schema(..))) => first,
            ("dyn", _) => Known::Anything,
            _ => known,
        };
        Ok((known, cost.saturating_add(own)))
    }

    fn binary(
        &mut self,
        expr: &Expr,
        operator: Operator,
        left: &Expr,
        right: &Expr,
        bound: Option<&Bound<'_, 'a>>,
    ) -> Result<(Known<'a>, u64), String> {
        let ((first, left_cost), (second, right_cost)) =
            (self.expr(left, bound)?, self.expr(right, bound)?);
        let cost = left_cost.saturating_add(right_cost);
        let (first_len, second_len) = (length(left, first), length(right, second));
        Ok(match operator {
            Operator::And | Operator::Or => {
                for (side, known) in [(left, first), (right, second)] {
                    if matches!(scalar(known), Some("int" | "double" | "string")) {
                        let sign = if operator == Operator::And { "_&&_" } else { "_||_" };
                        let why = format!("found no matching overload for '{sign}'");
                        return self.fail(side, &why);
                    }
                }
                (Known::Bool, cost)
            }
            Operator::Equal
            | Operator::Unequal
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => {
                if let (Some(one), Some(other)) = (scalar(first), scalar(second))
                    && one != other
                {
                    let why = format!("found no matching overload applied to '({one}, {other})'");
                    return self.fail(expr, &why);
                }
                (Known::Bool, cost.saturating_add(1 + first_len.min(second_len) / 10))
            }
            Operator::In => (Known::Bool, cost.saturating_add(1).saturating_add(second_len)),
            Operator::Add => {
                let both = first_len.saturating_add(second_len) / 10;
                (simple(first), cost.saturating_add(1).saturating_add(both))
            }
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                (simple(first), cost.saturating_add(1))
            }
        })
    }

    fn each(
        &mut self,
        each: &Each,
        bound: Option<&Bound<'_, 'a>>,
    ) -> Result<(Known<'a>, u64), String> {
        let (of, cost) = self.expr(&each.of, bound)?;
        let map = matches!(of, Known::Schema(schema, _) if schema.kind == Kind::Object);
        let item = if map { Known::Text } else { items(of) };
        let (first, second) = match (&each.names.1, map) {
            (None, _) => (item, None),
            (Some(name), true) => (Known::Text, Some((name, items(of)))),
            (Some(name), false) => (Known::Int, Some((name, item))),
        };
        let own = Bound { before: bound, name: &each.names.0, known: first };
        let two;
        let inner = match second {
            Some((name, known)) => {
                two = Bound { before: Some(&own), name, known };
                &two
            }
            None => &own,
        };
        let mut each_cost = 3_u64;
        each_cost = each_cost.saturating_add(self.expr(&each.body, Some(inner))?.1);
        if let Some(then) = &each.then {
            each_cost = each_cost.saturating_add(self.expr(then, Some(inner))?.1);
        }
        let times = length(&each.of, of);
        let cost = cost.saturating_add(times.saturating_mul(each_cost));
        Ok(match each.walk {
            Walk::All | Walk::Exists | Walk::ExistsOne => (Known::Bool, cost),
            Walk::Filter if !map => (of, cost),
            Walk::Filter | Walk::Map => (Known::List, cost),
        })
    }
}

/// What a value's items or entries are.
fn items(known: Known<'_>) -> Known<'_> {
    match known {
        Known::Schema(schema, _) => match (schema.kind, &schema.items, &schema.additional) {
            (Kind::Array, Some(items), _) => Known::Schema(items, false),
            (Kind::Object, _, Some(values)) => Known::Schema(values, false),
            _ => Known::Anything,
        },
        Known::Bool | Known::Int | Known::Double | Known::Text | Known::List | Known::Anything => {
            Known::Anything
        }
    }
}

/// A type by its name, if it is one that mixes with no other.
fn scalar(known: Known<'_>) -> Option<&'static str> {
    match known {
        Known::Bool => Some("bool"),
        Known::Int => Some("int"),
        Known::Double => Some("double"),
        Known::Text => Some("string"),
        Known::List | Known::Anything => None,
        Known::Schema(schema, _) => {
            let format = schema.checks.as_ref().map_or("", |checks| &*checks.format);
            match schema.kind {
                _ if schema.nullable => None,
                Kind::Boolean => Some("bool"),
                Kind::Integer => Some("int"),
                Kind::Number => Some("double"),
                Kind::String if !matches!(format, "date" | "date-time" | "duration" | "byte") => {
                    Some("string")
                }
                Kind::String | Kind::Any | Kind::Object | Kind::Array | Kind::IntOrString => None,
            }
        }
    }
}

/// What is known of the sum or choice of values.
fn simple(known: Known<'_>) -> Known<'_> {
    match (known, scalar(known)) {
        (_, Some("bool")) => Known::Bool,
        (_, Some("int")) => Known::Int,
        (_, Some("double")) => Known::Double,
        (_, Some("string")) => Known::Text,
        (Known::List, _) => Known::List,
        _ => Known::Anything,
    }
}

/// Most items, entries or letters of a value.
fn length(expr: &Expr, known: Known<'_>) -> u64 {
    let len = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    match (&expr.kind, known) {
        (ExprKind::Text(text), _) => len(text.len()),
        (ExprKind::List(items), _) => len(items.len()),
        (ExprKind::Map(entries), _) => len(entries.len()),
        // What is kept, or made of each, is no more than there was.
        (ExprKind::Each(each), Known::List) => match &each.of.kind {
            ExprKind::List(items) => len(items.len()),
            _ => OBJECT_BYTES / 2,
        },
        (_, Known::Schema(schema, _)) => most(schema),
        (_, Known::Bool | Known::Int | Known::Double) => 1,
        (_, Known::Text) => OBJECT_BYTES / 32,
        (_, Known::List | Known::Anything) => OBJECT_BYTES / 256,
    }
}
