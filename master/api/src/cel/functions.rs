//! Functions and methods: the language's own, and Kubernetes' for texts, lists, sets, patterns,
//! quantities and addresses.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

use super::eval::{Eval, EvalError, Outcome, other};
use super::parse::Operator;
use super::value::{Items, Text, Val};
use crate::quantity::Quantity;
use crate::timestamp;

/// Names of all functions.
pub(crate) const NAMES: &[&str] = &[
    "abs",
    "add",
    "asApproximateFloat",
    "asInteger",
    "bool",
    "bytes",
    "ceil",
    "charAt",
    "cidr",
    "compareTo",
    "contains",
    "containsCIDR",
    "containsIP",
    "distinct",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "family",
    "find",
    "findAll",
    "flatten",
    "floor",
    "format",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "indexOf",
    "int",
    "ip",
    "isCIDR",
    "isGreaterThan",
    "isIP",
    "isInteger",
    "isLessThan",
    "isLoopback",
    "isQuantity",
    "isSorted",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "masked",
    "matches",
    "math.abs",
    "math.ceil",
    "math.floor",
    "math.greatest",
    "math.least",
    "math.round",
    "math.sign",
    "max",
    "min",
    "or",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "orValue",
    "prefixLength",
    "quantity",
    "replace",
    "reverse",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "sign",
    "size",
    "slice",
    "sort",
    "split",
    "startsWith",
    "string",
    "sub",
    "substring",
    "sum",
    "timestamp",
    "trim",
    "type",
    "uint",
    "upperAscii",
    "value",
];

/// Names that stand before those of functions.
pub(super) const NAMESPACES: [&str; 3] = ["math", "optional", "sets"];

const NANOS: i64 = 1_000_000_000;

/// A type that is called by its name.
pub(super) fn type_named(name: &str) -> Option<&'static str> {
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"]
        .into_iter()
        .find(|known| *known == name)
}

/// A number of any kind.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Double(f64),
}

/// A value as a number; none if it is none.
pub(super) fn number(value: &Val<'_>) -> Option<Number> {
    match value {
        Val::Int(number) => Some(Number::Whole(i128::from(*number))),
        Val::UInt(number) => Some(Number::Whole(i128::from(*number))),
        Val::Double(number) => Some(Number::Double(*number)),
        _ => None,
    }
}

impl Number {
    fn double(self) -> f64 {
        match self {
            // Whole numbers are written as digits, which every double has near it.
            Self::Whole(number) => number.to_string().parse().unwrap_or(f64::NAN),
            Self::Double(number) => number,
        }
    }

    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (left, right) => left.double().partial_cmp(&right.double()),
        }
    }
}

/// Whole part of a double, if it fits.
fn whole(number: f64) -> Option<i64> {
    let fits = number.is_finite() && number.abs() < 9.2e18;
    fits.then(|| format!("{:.0}", number.trunc()).parse().ok()).flatten()
}

/// Sums, differences, products and quotients of numbers and times.
pub(super) fn arithmetic<'a>(operator: Operator, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    fn checked<T>(result: Option<T>, what: &str) -> Result<T, EvalError> {
        result.map_or_else(|| other(format!("{what} overflow")), Ok)
    }
    // `i64` and `u64` have these under the same names and no trait of both.
    macro_rules! whole {
        ($left:expr, $right:expr) => {
            match operator {
                Operator::Add => $left.checked_add(*$right),
                Operator::Subtract => $left.checked_sub(*$right),
                Operator::Multiply => $left.checked_mul(*$right),
                Operator::Divide if *$right == 0 => return other("division by zero"),
                Operator::Divide => $left.checked_div(*$right),
                Operator::Remainder if *$right == 0 => return other("modulus by zero"),
                Operator::Remainder => $left.checked_rem(*$right),
                _ => return Err(EvalError::Overload),
            }
        };
    }
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => checked(whole!(left, right), "integer").map(Val::Int),
        (Val::UInt(left), Val::UInt(right)) => {
            checked(whole!(left, right), "unsigned integer").map(Val::UInt)
        }
        (Val::Double(left), Val::Double(right)) => Ok(Val::Double(match operator {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide => left / right,
            _ => return Err(EvalError::Overload),
        })),
        (Val::Duration(left), Val::Duration(right)) => {
            let result = match operator {
                Operator::Add => left.checked_add(*right),
                Operator::Subtract => left.checked_sub(*right),
                _ => return Err(EvalError::Overload),
            };
            checked(result, "duration").map(Val::Duration)
        }
        (Val::Time(time), Val::Duration(by)) | (Val::Duration(by), Val::Time(time)) => {
            let by = by / 1_000;
            let result = match operator {
                Operator::Add => time.checked_add(by),
                Operator::Subtract if matches!(left, Val::Time(_)) => time.checked_sub(by),
                _ => return Err(EvalError::Overload),
            };
            checked(result, "timestamp").map(Val::Time)
        }
        (Val::Time(left), Val::Time(right)) if operator == Operator::Subtract => {
            let result = left.checked_sub(*right).and_then(|micros| micros.checked_mul(1_000));
            checked(result, "timestamp").map(Val::Duration)
        }
        _ => Err(EvalError::Overload),
    }
}

/// Reads a duration as Go writes it: `1h30m`, `-1.5s`; nanoseconds.
pub(super) fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let len = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(len);
        let unit = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let scale = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "h" => 3_600 * NANOS,
            _ => return None,
        };
        let (units, fraction) = number.split_once('.').unwrap_or((number, ""));
        let units: i64 =
            if units.is_empty() && !fraction.is_empty() { 0 } else { units.parse().ok()? };
        let mut part = scale;
        let mut nanos = units.checked_mul(scale)?;
        for digit in fraction.chars() {
            part /= 10;
            nanos = nanos.checked_add(i64::from(digit.to_digit(10)?).checked_mul(part)?)?;
        }
        total = total.checked_add(nanos)?;
        rest = after;
    }
    Some(if negative { -total } else { total })
}

fn duration_text(nanos: i64) -> String {
    let (seconds, rest) = (nanos / NANOS, (nanos % NANOS).abs());
    if rest == 0 {
        return format!("{seconds}s");
    }
    let sign = if nanos < 0 && seconds == 0 { "-" } else { "" };
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, len) = text.split_once('/')?;
    let (address, len): (IpAddr, u8) = (address.parse().ok()?, len.parse().ok()?);
    (len <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, len))
}

/// Bits of an address that are the network's.
fn masked(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            IpAddr::from((address.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            IpAddr::from((address.to_bits() & mask).to_be_bytes())
        }
    }
}

/// Calls a function, or a method of a value.
pub(super) fn call<'a>(
    eval: &Eval,
    of: Option<Val<'a>>,
    name: &str,
    args: &[Val<'a>],
) -> Outcome<'a> {
    match (&of, args) {
        (Some(Val::Text(text)), args) if name != "size" => text_method(eval, text, name, args),
        (Some(of), args) => method(eval, of, name, args),
        (None, args) => function(eval, name, args),
    }
}

fn size<'a>(eval: &Eval, value: &Val<'a>) -> Outcome<'a> {
    if let Val::Text(text) = value {
        eval.pay_for(text.len())?;
    }
    let size = value.size().ok_or(EvalError::Overload)?;
    Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn function<'a>(eval: &Eval, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    match (name, args) {
        ("size", [value]) => size(eval, value),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Val::Type(value.type_name())),
        ("has", _) => Err(EvalError::Overload),
        ("optional.of", [value]) => Ok(Val::Optional(Some(Rc::new(value.clone())))),
        ("optional.none", []) => Ok(Val::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => {
            let zero = match value {
                Val::Null | Val::Bool(false) | Val::Int(0) | Val::UInt(0) => true,
                Val::Double(number) => *number == 0.0,
                other => other.size() == Some(0),
            };
            Ok(Val::Optional((!zero).then(|| Rc::new(value.clone()))))
        }
        ("sets.contains" | "sets.intersects" | "sets.equivalent", [left, right]) => {
            sets(eval, name, left, right)
        }
        ("matches", [Val::Text(text), Val::Text(pattern)]) => matches(eval, text, pattern),
        _ if name.starts_with("math.") => math(name, args),
        (_, [value]) => convert(eval, name, value),
        _ => Err(EvalError::Overload),
    }
}

fn convert<'a>(eval: &Eval, name: &str, value: &Val<'a>) -> Outcome<'a> {
    let failed =
        |text: &str| other(format!("type conversion error from 'string' to '{name}': {text}"));
    Ok(match (name, value) {
        ("int", Val::Int(_))
        | ("uint", Val::UInt(_))
        | ("double", Val::Double(_))
        | ("string", Val::Text(_))
        | ("bool", Val::Bool(_))
        | ("bytes", Val::Bytes(_))
        | ("duration", Val::Duration(_))
        | ("timestamp", Val::Time(_)) => value.clone(),
        ("int", Val::UInt(number)) => match i64::try_from(*number) {
            Ok(number) => Val::Int(number),
            Err(_) => return other("integer overflow"),
        },
        ("int", Val::Double(number)) => match whole(*number) {
            Some(number) => Val::Int(number),
            None => return other("integer overflow"),
        },
        ("int", Val::Text(text)) => match text.parse() {
            Ok(number) => Val::Int(number),
            Err(_) => return failed(text),
        },
        ("int", Val::Time(micros)) => Val::Int(micros.div_euclid(1_000_000)),
        ("uint", Val::Int(number)) => match u64::try_from(*number) {
            Ok(number) => Val::UInt(number),
            Err(_) => return other("unsigned integer overflow"),
        },
        ("uint", Val::Text(text)) => match text.parse() {
            Ok(number) => Val::UInt(number),
            Err(_) => return failed(text),
        },
        ("uint", Val::Double(number)) => match whole(*number).map(u64::try_from) {
            Some(Ok(number)) => Val::UInt(number),
            Some(Err(_)) | None => return other("unsigned integer overflow"),
        },
        ("double", Val::Int(_) | Val::UInt(_)) => match number(value) {
            Some(number) => Val::Double(number.double()),
            None => return Err(EvalError::Overload),
        },
        ("double", Val::Text(text)) => match text.parse() {
            Ok(number) => Val::Double(number),
            Err(_) => return failed(text),
        },
        ("bool", Val::Text(text)) => match &**text {
            "true" | "t" | "1" | "TRUE" | "True" => Val::Bool(true),
            "false" | "f" | "0" | "FALSE" | "False" => Val::Bool(false),
            text => return failed(text),
        },
        ("string", other) => match shown(other) {
            Some(text) => {
                eval.pay_for(text.len())?;
                Val::made(text)
            }
            None => return Err(EvalError::Overload),
        },
        ("bytes", Val::Text(text)) => {
            eval.pay_for(text.len())?;
            Val::Bytes(text.as_bytes().into())
        }
        ("duration", Val::Text(text)) => match duration(text) {
            Some(nanos) => Val::Duration(nanos),
            None => return failed(text),
        },
        ("timestamp", Val::Text(text)) => match timestamp::parse_micro(text) {
            Some(micros) => Val::Time(micros),
            None => return failed(text),
        },
        ("timestamp", Val::Int(seconds)) => match seconds.checked_mul(1_000_000) {
            Some(micros) => Val::Time(micros),
            None => return other("timestamp overflow"),
        },
        ("quantity", Val::Text(text)) => match text.parse() {
            Ok(quantity) => Val::Quantity(quantity),
            Err(_) => {
                return other(
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                );
            }
        },
        ("isQuantity", Val::Text(text)) => Val::Bool(text.parse::<Quantity>().is_ok()),
        ("ip", Val::Text(text)) => match text.parse() {
            Ok(address) => Val::Ip(address),
            Err(_) => return other(format!("IP Address {:?} parse error", &**text)),
        },
        ("isIP", Val::Text(text)) => Val::Bool(text.parse::<IpAddr>().is_ok()),
        ("cidr", Val::Text(text)) => match network(text) {
            Some((address, len)) => Val::Network(address, len),
            None => {
                return other(format!(
                    "network address parse error during conversion from string: {:?}",
                    &**text
                ));
            }
        },
        ("isCIDR", Val::Text(text)) => Val::Bool(network(text).is_some()),
        _ => return Err(EvalError::Overload),
    })
}

/// A value as a text; none if it has no such form.
fn shown(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Bool(value) => value.to_string(),
        Val::Int(number) => number.to_string(),
        Val::UInt(number) => number.to_string(),
        Val::Double(number) => number.to_string(),
        Val::Text(text) => text.to_string(),
        Val::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Val::Duration(nanos) => duration_text(*nanos),
        Val::Time(micros) if micros % 1_000_000 == 0 => timestamp::format(micros / 1_000_000),
        Val::Time(micros) => timestamp::format_micro(*micros),
        Val::Ip(address) => address.to_string(),
        Val::Network(address, len) => format!("{address}/{len}"),
        _ => return None,
    })
}

fn math<'a>(name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    match (name, args) {
        ("math.greatest" | "math.least", args) => {
            let inside = args.first().and_then(Val::items).filter(|_| args.len() == 1);
            let all: Vec<Val<'a>> =
                inside.map_or_else(|| args.to_vec(), |items| items.iter().collect());
            let wanted = if name == "math.greatest" { Ordering::Greater } else { Ordering::Less };
            let mut best: Option<Val<'a>> = None;
            for value in all {
                let own = number(&value).ok_or(EvalError::Overload)?;
                let known = best.as_ref().and_then(number);
                if known.is_none_or(|known| own.order(known) == Some(wanted)) {
                    best = Some(value);
                }
            }
            best.ok_or(EvalError::Overload)
        }
        ("math.abs", [Val::Int(number)]) => {
            number.checked_abs().map_or_else(|| other("integer overflow"), |it| Ok(Val::Int(it)))
        }
        ("math.abs", [Val::Double(number)]) => Ok(Val::Double(number.abs())),
        ("math.ceil", [Val::Double(number)]) => Ok(Val::Double(number.ceil())),
        ("math.floor", [Val::Double(number)]) => Ok(Val::Double(number.floor())),
        ("math.round", [Val::Double(number)]) => Ok(Val::Double(number.round())),
        ("math.sign", [Val::Int(number)]) => Ok(Val::Int(number.signum())),
        _ => Err(EvalError::Overload),
    }
}

fn sets<'a>(eval: &Eval, name: &str, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    let (Some(left), Some(right)) = (left.items(), right.items()) else {
        return Err(EvalError::Overload);
    };
    let has = |items: &Items<'a>, wanted: &Val<'a>| {
        for item in items.iter() {
            eval.pay(1)?;
            if eval.same(&item, wanted)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let count = |of: &Items<'a>, within: &Items<'a>| -> Result<usize, EvalError> {
        let mut count = 0;
        for item in of.iter() {
            count += usize::from(has(within, &item)?);
        }
        Ok(count)
    };
    Ok(Val::Bool(match name {
        "sets.contains" => count(&right, &left)? == right.len(),
        "sets.intersects" => count(&left, &right)? > 0,
        _ => count(&right, &left)? == right.len() && count(&left, &right)? == left.len(),
    }))
}

fn matches<'a>(eval: &Eval, text: &str, pattern: &str) -> Outcome<'a> {
    // Each letter may be looked at once for every part of the pattern.
    eval.pay_for(text.len().saturating_mul(1 + pattern.len() / 4))?;
    eval.pattern(pattern, |regex| regex.is_match(text)).map(Val::Bool)
}

/// A place among letters, of a text whose letters were counted.
fn place(number: i64, letters: usize) -> Result<usize, EvalError> {
    match usize::try_from(number).ok().filter(|place| *place <= letters) {
        Some(place) => Ok(place),
        None => other(format!("index out of range: {number}")),
    }
}

fn text_method<'a>(eval: &Eval, text: &Text<'a>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    eval.pay_for(text.len())?;
    let letters = || text.chars().count();
    let int = |place: Option<usize>| {
        Val::Int(place.map_or(-1, |place| i64::try_from(place).unwrap_or(i64::MAX)))
    };
    // Where in letters a part of the text is.
    let found = |bytes: Option<usize>| {
        int(bytes.map(|at| text.get(..at).unwrap_or_default().chars().count()))
    };
    let part = |from: usize, to: usize| -> String {
        text.chars().skip(from).take(to.saturating_sub(from)).collect()
    };
    Ok(match (name, args) {
        ("contains", [Val::Text(part)]) => {
            eval.pay_for(text.len().saturating_mul(1 + part.len() / 10))?;
            Val::Bool(text.contains(&**part))
        }
        ("startsWith", [Val::Text(part)]) => Val::Bool(text.starts_with(&**part)),
        ("endsWith", [Val::Text(part)]) => Val::Bool(text.ends_with(&**part)),
        ("matches", [Val::Text(pattern)]) => matches(eval, text, pattern)?,
        ("find", [Val::Text(pattern)]) => {
            eval.pay_for(text.len().saturating_mul(1 + pattern.len() / 4))?;
            let first = |regex: &regex::Regex| {
                regex.find(text).map_or("", |found| found.as_str()).to_owned()
            };
            Val::made(eval.pattern(pattern, first)?)
        }
        ("findAll", [Val::Text(pattern), most @ ..]) => {
            eval.pay_for(text.len().saturating_mul(1 + pattern.len() / 4))?;
            let most = match most {
                [] => usize::MAX,
                [Val::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                _ => return Err(EvalError::Overload),
            };
            eval.pay(text.len())?;
            let all = |regex: &regex::Regex| {
                regex.find_iter(text).take(most).map(|found| Val::made(found.as_str())).collect()
            };
            Val::list(eval.pattern(pattern, all)?)
        }
        ("charAt", [Val::Int(number)]) => {
            let at = place(*number, letters())?;
            Val::made(part(at, at + 1))
        }
        ("indexOf", [Val::Text(wanted)]) => found(text.find(&**wanted)),
        ("indexOf", [Val::Text(wanted), Val::Int(from)]) => {
            let from = place(*from, letters())?;
            let start: usize = text.chars().take(from).map(char::len_utf8).sum();
            let at = text.get(start..).unwrap_or_default().find(&**wanted);
            found(at.map(|at| at + start))
        }
        ("lastIndexOf", [Val::Text(wanted)]) => found(text.rfind(&**wanted)),
        ("lowerAscii", []) => Val::made(text.to_ascii_lowercase()),
        ("upperAscii", []) => Val::made(text.to_ascii_uppercase()),
        ("trim", []) => Val::made(text.trim()),
        ("reverse", []) => Val::made(text.chars().rev().collect::<String>()),
        ("substring", [Val::Int(from)]) => {
            let all = letters();
            Val::made(part(place(*from, all)?, all))
        }
        ("substring", [Val::Int(from), Val::Int(to)]) => {
            let all = letters();
            let (from, to) = (place(*from, all)?, place(*to, all)?);
            if from > to {
                return other(format!("invalid substring range. start: {from}, end: {to}"));
            }
            Val::made(part(from, to))
        }
        ("replace", [Val::Text(wanted), Val::Text(by), most @ ..]) => {
            let most = match most {
                [] => usize::MAX,
                [Val::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                _ => return Err(EvalError::Overload),
            };
            // Paid for before it is made.
            let times = if wanted.is_empty() {
                text.len() + 1
            } else {
                text.matches(&**wanted).take(most).count()
            };
            eval.pay_for(text.len().saturating_add(times.min(most).saturating_mul(by.len())))?;
            Val::made(text.replacen(&**wanted, by, most))
        }
        ("split", [Val::Text(by), most @ ..]) => {
            let most = match most {
                [] => usize::MAX,
                [Val::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                _ => return Err(EvalError::Overload),
            };
            eval.pay(text.len())?;
            let parts: Vec<Val<'a>> = if by.is_empty() {
                text.chars().map(|letter| Val::made(letter.to_string())).collect()
            } else {
                text.splitn(most, &**by).map(Val::made).collect()
            };
            Val::list(parts)
        }
        ("format", [list]) => {
            let items = list.items().ok_or(EvalError::Overload)?;
            format(eval, text, &items)?
        }
        _ => return Err(EvalError::Overload),
    })
}

/// `%s`, `%d` and `%f` in a text.
fn format<'a>(eval: &Eval, pattern: &str, items: &Items<'a>) -> Outcome<'a> {
    let mut made = String::new();
    let mut next = 0;
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        made.push_str(before);
        let letters = after.find(|letter: char| letter.is_ascii_alphabetic() || letter == '%');
        let Some(len) = letters else { return other("unexpected end of format string") };
        let (_, after) = after.split_at(len);
        let mut verbs = after.chars();
        if verbs.next() == Some('%') {
            made.push('%');
        } else {
            let Some(item) = items.get(next) else {
                return other(format!("index {next} out of range"));
            };
            next += 1;
            let text = shown(&item).or_else(|| match &item {
                Val::Null => Some("null".to_owned()),
                Val::Json(value, _) => Some(value.to_string()),
                _ => None,
            });
            made.push_str(&text.ok_or(EvalError::Overload)?);
        }
        eval.pay_for(made.len())?;
        rest = verbs.as_str();
    }
    made.push_str(rest);
    Ok(Val::made(made))
}

fn method<'a>(eval: &Eval, of: &Val<'a>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    match (of, name, args) {
        (_, "size", []) => size(eval, of),
        (Val::Optional(inner), ..) => optional(inner.as_ref(), name, args),
        (Val::Quantity(own), ..) => quantity(*own, name, args),
        (Val::Ip(address), ..) => match (name, args) {
            ("family", []) => Ok(Val::Int(if address.is_ipv4() { 4 } else { 6 })),
            ("isLoopback", []) => Ok(Val::Bool(address.is_loopback())),
            _ => Err(EvalError::Overload),
        },
        (Val::Network(address, len), ..) => networks((*address, *len), name, args),
        (Val::Time(micros), ..) => part_of_time(*micros, name),
        (Val::Duration(nanos), ..) => Ok(Val::Int(match name {
            "getHours" => nanos / (3_600 * NANOS),
            "getMinutes" => nanos / (60 * NANOS),
            "getSeconds" => nanos / NANOS,
            "getMilliseconds" => nanos / 1_000_000,
            _ => return Err(EvalError::Overload),
        })),
        _ => match of.items() {
            Some(items) => list(eval, &items, name, args),
            None => Err(EvalError::Overload),
        },
    }
}

fn optional<'a>(inner: Option<&Rc<Val<'a>>>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    match (name, inner, args) {
        ("hasValue", inner, []) => Ok(Val::Bool(inner.is_some())),
        ("value", Some(inner), []) => Ok((**inner).clone()),
        ("value", None, []) => other("optional.none() dereference"),
        ("orValue", inner, [instead]) => {
            Ok(inner.map_or_else(|| instead.clone(), |inner| (**inner).clone()))
        }
        ("or", Some(inner), [_]) => Ok(Val::Optional(Some(Rc::clone(inner)))),
        ("or", None, [instead @ Val::Optional(_)]) => Ok(instead.clone()),
        _ => Err(EvalError::Overload),
    }
}

fn quantity<'a>(own: Quantity, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let changed = |by: &Val<'_>, minus: bool| {
        let by = match by {
            Val::Quantity(by) => *by,
            Val::Int(by) => Quantity::from_units(*by),
            _ => return Err(EvalError::Overload),
        };
        let result = if minus { own.checked_sub(by) } else { own.checked_add(by) };
        result.map_or_else(|| other("quantity overflow"), |quantity| Ok(Val::Quantity(quantity)))
    };
    Ok(match (name, args) {
        ("add", [by]) => changed(by, false)?,
        ("sub", [by]) => changed(by, true)?,
        ("isGreaterThan", [Val::Quantity(other)]) => Val::Bool(own > *other),
        ("isLessThan", [Val::Quantity(other)]) => Val::Bool(own < *other),
        ("compareTo", [Val::Quantity(other)]) => Val::Int(match own.cmp(other) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }),
        ("sign", []) => Val::Int(match (own.is_zero(), own.is_negative()) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }),
        ("isInteger", []) => Val::Bool(Quantity::from_units(own.units()) == own),
        ("asInteger", []) if Quantity::from_units(own.units()) == own => Val::Int(own.units()),
        ("asInteger", []) => return other("cannot convert value to integer"),
        ("asApproximateFloat", []) => {
            let milli = Number::Whole(i128::from(own.milli())).double();
            Val::Double(milli / 1_000.0)
        }
        _ => return Err(EvalError::Overload),
    })
}

fn networks<'a>((address, len): (IpAddr, u8), name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let within = |other: IpAddr| {
        other.is_ipv4() == address.is_ipv4() && masked(other, len) == masked(address, len)
    };
    let ip = |value: &Val<'_>| match value {
        Val::Ip(address) => Some(*address),
        Val::Text(text) => text.parse().ok(),
        _ => None,
    };
    let range = |value: &Val<'_>| match value {
        Val::Network(address, len) => Some((*address, *len)),
        Val::Text(text) => network(text),
        _ => None,
    };
    Ok(match (name, args) {
        ("containsIP", [of]) => Val::Bool(within(ip(of).ok_or(EvalError::Overload)?)),
        ("containsCIDR", [of]) => {
            let (other, longer) = range(of).ok_or(EvalError::Overload)?;
            Val::Bool(longer >= len && within(other))
        }
        ("ip", []) => Val::Ip(address),
        ("masked", []) => Val::Network(masked(address, len), len),
        ("prefixLength", []) => Val::Int(i64::from(len)),
        _ => return Err(EvalError::Overload),
    })
}

fn part_of_time<'a>(micros: i64, name: &str) -> Outcome<'a> {
    let text = timestamp::format(micros.div_euclid(1_000_000));
    let digits = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse().ok());
    let days = micros.div_euclid(86_400_000_000);
    let value: Option<i64> = match name {
        "getFullYear" => digits(0, 4),
        "getMonth" => digits(5, 7).map(|month: i64| month - 1),
        "getDate" => digits(8, 10),
        "getDayOfMonth" => digits(8, 10).map(|day: i64| day - 1),
        // The first of January 1970 was a Thursday.
        "getDayOfWeek" => Some((days + 4).rem_euclid(7)),
        "getDayOfYear" => {
            let year = text.get(..4).unwrap_or_default();
            let start = timestamp::parse(&format!("{year}-01-01T00:00:00Z"));
            start.map(|start| days - start.div_euclid(86_400))
        }
        "getHours" => digits(11, 13),
        "getMinutes" => digits(14, 16),
        "getSeconds" => digits(17, 19),
        "getMilliseconds" => Some(micros.rem_euclid(1_000_000) / 1_000),
        _ => None,
    };
    value.map(Val::Int).ok_or(EvalError::Overload)
}

fn list<'a>(eval: &Eval, items: &Items<'a>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    eval.pay(1 + items.len())?;
    let int = |place: usize| Val::Int(i64::try_from(place).unwrap_or(i64::MAX));
    let all: Vec<Val<'a>> = items.iter().collect();
    Ok(match (name, args) {
        ("isSorted", []) => {
            for pair in all.windows(2) {
                let [left, right] = pair else { continue };
                if eval.order(left, right)?.is_none_or(Ordering::is_gt) {
                    return Ok(Val::Bool(false));
                }
            }
            Val::Bool(true)
        }
        ("sum", []) => {
            let mut sum = match all.first() {
                Some(Val::Double(_)) => Val::Double(0.0),
                Some(Val::UInt(_)) => Val::UInt(0),
                Some(Val::Duration(_)) => Val::Duration(0),
                Some(_) | None => Val::Int(0),
            };
            for item in &all {
                sum = arithmetic(Operator::Add, &sum, item)?;
            }
            sum
        }
        ("min" | "max", []) => {
            let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
            let mut best: Option<&Val<'a>> = None;
            for item in &all {
                let better = match best {
                    Some(best) => eval.order(item, best)? == Some(wanted),
                    None => true,
                };
                if better {
                    best = Some(item);
                }
            }
            match best {
                Some(best) => best.clone(),
                None => return other(format!("{name} called on empty list")),
            }
        }
        ("indexOf" | "lastIndexOf", [wanted]) => {
            let mut found = None;
            for (place, item) in all.iter().enumerate() {
                eval.pay(1)?;
                if eval.same(item, wanted)? {
                    found = Some(place);
                    if name == "indexOf" {
                        break;
                    }
                }
            }
            found.map_or(Val::Int(-1), int)
        }
        ("join", between) => {
            let between = match between {
                [] => "",
                [Val::Text(between)] => between,
                _ => return Err(EvalError::Overload),
            };
            let mut made = String::new();
            for (place, item) in all.iter().enumerate() {
                let Val::Text(text) = item else { return Err(EvalError::Overload) };
                eval.pay_for(text.len() + between.len())?;
                if place > 0 {
                    made.push_str(between);
                }
                made.push_str(text);
            }
            Val::made(made)
        }
        ("distinct", []) => {
            let mut kept: Vec<Val<'a>> = Vec::new();
            for item in all {
                let mut known = false;
                for other in &kept {
                    eval.pay(1)?;
                    known |= eval.same(&item, other)?;
                }
                if !known {
                    kept.push(item);
                }
            }
            Val::list(kept)
        }
        ("flatten", []) => {
            let mut flat = Vec::new();
            for item in all {
                match item.items() {
                    Some(inner) => {
                        eval.pay(inner.len())?;
                        flat.extend(inner.iter());
                    }
                    None => flat.push(item),
                }
            }
            Val::list(flat)
        }
        ("reverse", []) => Val::list(all.into_iter().rev().collect()),
        ("slice", [Val::Int(from), Val::Int(to)]) => {
            let (from, to) = (place(*from, all.len())?, place(*to, all.len())?);
            Val::list(all.get(from..to).unwrap_or_default().to_vec())
        }
        ("sort", []) => {
            eval.pay(all.len().saturating_mul(16))?;
            let mut sorted = all;
            // What has no order among itself cannot be sorted.
            let alike = |pair: &[Val<'a>]| match pair {
                [left, right] => left.type_name() == right.type_name(),
                _ => true,
            };
            let odd = sorted.iter().any(|item| {
                matches!(item, Val::Double(number) if number.is_nan())
                    || eval.order(item, item).is_err()
            });
            if odd || !sorted.windows(2).all(alike) {
                return Err(EvalError::Overload);
            }
            sorted.sort_by(|left, right| {
                eval.order(left, right).ok().flatten().unwrap_or(Ordering::Equal)
            });
            Val::list(sorted)
        }
        _ => return Err(EvalError::Overload),
    })
}
