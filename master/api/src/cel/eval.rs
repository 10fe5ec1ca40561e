//! Evaluates an expression, and pays for every step.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use regex::Regex;

use super::functions;
use super::parse::{Each, Expr, ExprKind, How, Operator, Walk};
use super::value::{Key, Text, Val};
use crate::custom::structural;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvalError {
    /// It costs more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    /// An operator or function does not take what it was given.
    #[error("no such overload")]
    Overload,
    /// All else.
    #[error("{0}")]
    Other(String),
}

/// What an evaluation gives.
pub(crate) type Outcome<'a> = Result<Val<'a>, EvalError>;

/// One evaluation.
pub(crate) struct Eval {
    left: Cell<u64>,
    patterns: RefCell<BTreeMap<String, Regex>>,
}

/// A name that stands for a value, and those before it.
pub(crate) struct Scope<'s, 'a> {
    pub(crate) before: Option<&'s Scope<'s, 'a>>,
    pub(crate) name: &'a str,
    pub(crate) value: Val<'a>,
}

impl<'a> Scope<'_, 'a> {
    fn find(&self, name: &str) -> Option<&Val<'a>> {
        if self.name == name {
            return Some(&self.value);
        }
        self.before?.find(name)
    }
}

pub(super) fn other<T>(why: impl Into<String>) -> Result<T, EvalError> {
    Err(EvalError::Other(why.into()))
}

impl Eval {
    /// An evaluation that may cost so much.
    pub(crate) fn new(budget: u64) -> Self {
        Self { left: Cell::new(budget), patterns: RefCell::default() }
    }

    /// What it did not spend.
    pub(crate) fn left(&self) -> u64 {
        self.left.get()
    }

    /// Pays for a step.
    pub(super) fn pay(&self, cost: usize) -> Result<(), EvalError> {
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let left = self.left.get().checked_sub(cost);
        // What is left is spent: nothing else can be done either.
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(EvalError::Cost)
    }

    /// Pays for work that grows with a text or list.
    pub(super) fn pay_for(&self, len: usize) -> Result<(), EvalError> {
        self.pay(1 + len / 10)
    }

    /// Whether a pattern is found in a text.
    pub(super) fn pattern<T>(
        &self,
        pattern: &str,
        work: impl FnOnce(&Regex) -> T,
    ) -> Result<T, EvalError> {
        let mut patterns = self.patterns.borrow_mut();
        if let Some(known) = patterns.get(pattern) {
            return Ok(work(known));
        }
        // Making a program of it costs more than the text says.
        self.pay(100 + pattern.len().saturating_mul(20))?;
        let made = structural::compile(pattern);
        let made = made.map_err(|error| EvalError::Other(error.to_string()))?;
        let result = work(&made);
        patterns.insert(pattern.to_owned(), made);
        Ok(result)
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// It costs too much, or has no value for these names.
    pub(crate) fn eval<'a>(&self, expr: &'a Expr, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        Ok(match &expr.kind {
            ExprKind::Null => Val::Null,
            ExprKind::Bool(value) => Val::Bool(*value),
            ExprKind::Int(number) => Val::Int(*number),
            ExprKind::UInt(number) => Val::UInt(*number),
            ExprKind::Double(number) => Val::Double(*number),
            ExprKind::Text(text) => Val::Text(Text::Part(text)),
            ExprKind::Bytes(bytes) => Val::Bytes((**bytes).into()),
            ExprKind::Name(name) => {
                self.pay(1)?;
                match scope.find(name) {
                    Some(value) => value.clone(),
                    None => match functions::type_named(name) {
                        Some(name) => Val::Type(name),
                        None => return other(format!("no such attribute: {name}")),
                    },
                }
            }
            ExprKind::Select { of, field, how } => self.select(of, field, *how, scope)?,
            ExprKind::Index { of, at, optional } => {
                let (of, at) = (self.eval(of, scope)?, self.eval(at, scope)?);
                self.pay(1)?;
                match (index(&of, &at), optional) {
                    (Ok(found), false) => found,
                    (Ok(found), true) => Val::Optional(Some(Rc::new(found))),
                    (Err(_), true) => Val::Optional(None),
                    (Err(error), false) => return Err(error),
                }
            }
            ExprKind::Call { of, name, args } => {
                let of = of.as_ref().map(|of| self.eval(of, scope)).transpose()?;
                let args: Vec<Val<'a>> =
                    args.iter().map(|arg| self.eval(arg, scope)).collect::<Result<_, _>>()?;
                self.pay(1)?;
                functions::call(self, of, name, &args)?
            }
            ExprKind::List(items) => {
                self.pay(10 + items.len())?;
                let items = items.iter().map(|item| self.eval(item, scope));
                Val::list(items.collect::<Result<_, _>>()?)
            }
            ExprKind::Map(entries) => {
                self.pay(30 + entries.len())?;
                let mut made = BTreeMap::new();
                for (key, value) in entries {
                    let key = self.eval(key, scope)?.key().ok_or(EvalError::Overload)?;
                    if made.insert(key, self.eval(value, scope)?).is_some() {
                        return other("insert failed: key already exists");
                    }
                }
                Val::Map(Rc::new(made))
            }
            ExprKind::Not(of) => match self.eval(of, scope)? {
                Val::Bool(value) => {
                    self.pay(1)?;
                    Val::Bool(!value)
                }
                _ => return Err(EvalError::Overload),
            },
            ExprKind::Negative(of) => {
                self.pay(1)?;
                match self.eval(of, scope)? {
                    Val::Int(number) => match number.checked_neg() {
                        Some(number) => Val::Int(number),
                        None => return other("integer overflow"),
                    },
                    Val::Double(number) => Val::Double(-number),
                    _ => return Err(EvalError::Overload),
                }
            }
            ExprKind::Either { when, then, other } => match self.eval(when, scope)? {
                Val::Bool(true) => self.eval(then, scope)?,
                Val::Bool(false) => self.eval(other, scope)?,
                _ => return Err(EvalError::Overload),
            },
            ExprKind::Binary(operator @ (Operator::And | Operator::Or), left, right) => {
                self.junction(*operator == Operator::Or, left, right, scope)?
            }
            ExprKind::Binary(operator, left, right) => {
                let (left, right) = (self.eval(left, scope)?, self.eval(right, scope)?);
                self.pay(1)?;
                self.binary(*operator, &left, &right)?
            }
            ExprKind::Each(each) => self.each(each, scope)?,
        })
    }

    /// Of two sides one that decides is enough, whatever is wrong with the other.
    fn junction<'a>(
        &self,
        decides: bool,
        left: &'a Expr,
        right: &'a Expr,
        scope: &Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let truth = |outcome: Outcome<'a>| match outcome? {
            Val::Bool(value) => Ok(value),
            _ => Err(EvalError::Overload),
        };
        let first = truth(self.eval(left, scope));
        match first {
            Ok(value) if value == decides => return Ok(Val::Bool(decides)),
            Err(EvalError::Cost) => return Err(EvalError::Cost),
            Ok(_) | Err(_) => {}
        }
        match (first, truth(self.eval(right, scope))) {
            (_, Err(EvalError::Cost)) => Err(EvalError::Cost),
            (_, Ok(value)) if value == decides => Ok(Val::Bool(decides)),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(value)) => Ok(Val::Bool(value)),
        }
    }

    fn select<'a>(
        &self,
        of: &'a Expr,
        field: &str,
        how: How,
        scope: &Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let mut of = self.eval(of, scope)?;
        self.pay(1)?;
        let mut how = how;
        if let Val::Optional(inner) = &of {
            let Some(inner) = inner else { return Ok(Val::Optional(None)) };
            let inner = (**inner).clone();
            of = inner;
            how = How::Optional;
        }
        let found = of.at_key(&Key::Text(unescaped(field).into()));
        let is_map = of.keys().is_some();
        match (how, found) {
            (How::Presence, found) if is_map => Ok(Val::Bool(found.is_some())),
            (How::Optional, found) if is_map => Ok(Val::Optional(found.map(Rc::new))),
            (How::Value, Some(found)) => Ok(found),
            (How::Value, None) if is_map => other(format!("no such key: {field}")),
            _ => Err(EvalError::Overload),
        }
    }

    fn binary<'a>(&self, operator: Operator, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
        Ok(match operator {
            Operator::Equal => Val::Bool(self.same(left, right)?),
            Operator::Unequal => Val::Bool(!self.same(left, right)?),
            Operator::Less => Val::Bool(self.order(left, right)?.is_some_and(Ordering::is_lt)),
            Operator::LessOrEqual => {
                Val::Bool(self.order(left, right)?.is_some_and(Ordering::is_le))
            }
            Operator::Greater => Val::Bool(self.order(left, right)?.is_some_and(Ordering::is_gt)),
            Operator::GreaterOrEqual => {
                Val::Bool(self.order(left, right)?.is_some_and(Ordering::is_ge))
            }
            Operator::In => Val::Bool(self.within(left, right)?),
            Operator::Add => self.add(left, right)?,
            Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder
            | Operator::And
            | Operator::Or => functions::arithmetic(operator, left, right)?,
        })
    }

    fn within(&self, item: &Val<'_>, of: &Val<'_>) -> Result<bool, EvalError> {
        if let Some(items) = of.items() {
            for other in items.iter() {
                self.pay(1)?;
                if self.same(item, &other)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        if of.keys().is_none() {
            return Err(EvalError::Overload);
        }
        Ok(item.key().is_some_and(|key| of.at_key(&key).is_some()))
    }

    fn add<'a>(&self, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
        if let (Val::Text(left), Val::Text(right)) = (left, right) {
            self.pay_for(left.len() + right.len())?;
            return Ok(Val::made(format!("{}{}", &**left, &**right)));
        }
        if let (Val::Bytes(left), Val::Bytes(right)) = (left, right) {
            self.pay_for(left.len() + right.len())?;
            return Ok(Val::Bytes([&**left, &**right].concat().into()));
        }
        if let (Some(left), Some(right)) = (left.items(), right.items()) {
            self.pay(1 + left.len() + right.len())?;
            return Ok(Val::list(left.iter().chain(right.iter()).collect()));
        }
        functions::arithmetic(Operator::Add, left, right)
    }

    /// Whether two values are the same, deep down.
    pub(super) fn same(&self, left: &Val<'_>, right: &Val<'_>) -> Result<bool, EvalError> {
        if let (Some(left), Some(right)) = (left.items(), right.items()) {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                self.pay(1)?;
                if !self.same(&left, &right)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if let (Some(keys), Some(others)) = (left.keys(), right.keys()) {
            if keys.len() != others.len() {
                return Ok(false);
            }
            for key in keys.iter().filter_map(Val::key) {
                self.pay(1)?;
                let (Some(left), Some(right)) = (left.at_key(&key), right.at_key(&key)) else {
                    return Ok(false);
                };
                if !self.same(&left, &right)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Ok(match (left, right) {
            (Val::Null, Val::Null) => true,
            (Val::Text(left), Val::Text(right)) => {
                self.pay(left.len().min(right.len()) / 10)?;
                **left == **right
            }
            (Val::Bytes(left), Val::Bytes(right)) => left == right,
            (Val::Type(left), Val::Type(right)) => left == right,
            (Val::Ip(left), Val::Ip(right)) => left == right,
            (Val::Network(left, len), Val::Network(right, other)) => left == right && len == other,
            (Val::Optional(left), Val::Optional(right)) => match (left, right) {
                (Some(left), Some(right)) => self.same(left, right)?,
                (left, right) => left.is_none() && right.is_none(),
            },
            _ => self.order(left, right).is_ok_and(|order| order == Some(Ordering::Equal)),
        })
    }

    /// Which of two values comes first; none if neither does.
    pub(super) fn order(
        &self,
        left: &Val<'_>,
        right: &Val<'_>,
    ) -> Result<Option<Ordering>, EvalError> {
        Ok(match (left, right) {
            (Val::Bool(left), Val::Bool(right)) => Some(left.cmp(right)),
            (Val::Text(left), Val::Text(right)) => {
                self.pay(left.len().min(right.len()) / 10)?;
                Some((**left).cmp(&**right))
            }
            (Val::Bytes(left), Val::Bytes(right)) => Some(left.cmp(right)),
            (Val::Duration(left), Val::Duration(right)) | (Val::Time(left), Val::Time(right)) => {
                Some(left.cmp(right))
            }
            (Val::Quantity(left), Val::Quantity(right)) => left.partial_cmp(right),
            _ => match (functions::number(left), functions::number(right)) {
                (Some(left), Some(right)) => left.order(right),
                _ => return Err(EvalError::Overload),
            },
        })
    }

    fn each<'a>(&self, each: &'a Each, scope: &Scope<'_, 'a>) -> Outcome<'a> {
        let of = self.eval(&each.of, scope)?;
        let keys = of.keys();
        let items = match (of.items(), &keys) {
            (Some(items), _) => items,
            (None, Some(keys)) => super::value::Items::Made(keys.clone().into()),
            (None, None) => return Err(EvalError::Overload),
        };
        let mut kept = Vec::new();
        let (mut found, mut failed) = (0_usize, None);
        for place in 0..items.len() {
            self.pay(3)?;
            let Some(item) = items.get(place) else { continue };
            let (first, second) = match &each.names.1 {
                None => (item.clone(), Val::Null),
                Some(_) if keys.is_some() => {
                    let value = item.key().and_then(|key| of.at_key(&key)).unwrap_or(Val::Null);
                    (item.clone(), value)
                }
                Some(_) => (Val::Int(i64::try_from(place).unwrap_or(i64::MAX)), item.clone()),
            };
            let inner = Scope { before: Some(scope), name: &each.names.0, value: first };
            let two;
            let inner = match &each.names.1 {
                Some(name) => {
                    two = Scope { before: Some(&inner), name, value: second };
                    &two
                }
                None => &inner,
            };
            if each.walk == Walk::Map && each.then.is_none() {
                kept.push(self.eval(&each.body, inner)?);
                continue;
            }
            let holds = match self.eval(&each.body, inner) {
                Ok(Val::Bool(holds)) => holds,
                Err(EvalError::Cost) => return Err(EvalError::Cost),
                // One item that decides is enough, whatever is wrong with others.
                outcome if matches!(each.walk, Walk::All | Walk::Exists) => {
                    failed = Some(outcome.err().unwrap_or(EvalError::Overload));
                    continue;
                }
                Ok(_) => return Err(EvalError::Overload),
                Err(error) => return Err(error),
            };
            match (each.walk, &each.then) {
                (Walk::All, _) if !holds => return Ok(Val::Bool(false)),
                (Walk::Exists, _) if holds => return Ok(Val::Bool(true)),
                (Walk::ExistsOne, _) => found += usize::from(holds),
                (Walk::Filter, _) if holds => kept.push(item),
                (Walk::Map, Some(then)) if holds => kept.push(self.eval(then, inner)?),
                _ => {}
            }
        }
        match (each.walk, failed) {
            (Walk::All | Walk::Exists, Some(error)) => Err(error),
            (Walk::All, None) => Ok(Val::Bool(true)),
            (Walk::Exists, None) => Ok(Val::Bool(false)),
            (Walk::ExistsOne, _) => Ok(Val::Bool(found == 1)),
            (Walk::Filter | Walk::Map, _) => Ok(Val::list(kept)),
        }
    }
}

fn index<'a>(of: &Val<'a>, at: &Val<'a>) -> Outcome<'a> {
    if let Some(items) = of.items() {
        let place = match at {
            Val::Int(place) => *place,
            Val::UInt(place) => i64::try_from(*place).unwrap_or(i64::MAX),
            _ => return Err(EvalError::Overload),
        };
        let found = usize::try_from(place).ok().and_then(|place| items.get(place));
        return found.map_or_else(|| other(format!("index out of bounds: {place}")), Ok);
    }
    if of.keys().is_none() {
        return Err(EvalError::Overload);
    }
    let key = at.key().ok_or(EvalError::Overload)?;
    let shown = match &key {
        Key::Bool(key) => key.to_string(),
        Key::Int(key) => key.to_string(),
        Key::Text(key) => key.to_string(),
    };
    of.at_key(&key).map_or_else(|| other(format!("no such key: {shown}")), Ok)
}

/// A field's name as it is in objects: names that no expression could have are written with
/// underscores.
pub(super) fn unescaped(name: &str) -> String {
    if !name.contains("__") {
        return name.to_owned();
    }
    let inner = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = inner.filter(|word| RESERVED.contains(word)) {
        return word.to_owned();
    }
    name.replace("__dot__", ".")
        .replace("__dash__", "-")
        .replace("__slash__", "/")
        .replace("__underscores__", "__")
}

/// Words of the language.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
