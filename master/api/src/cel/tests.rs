//! Expressions and what upstream makes of them.

use serde_json::{Value, json};

use super::check::{Names, check};
use super::eval::{Eval, EvalError, Scope};
use super::parse::parse;
use super::value::Val;
use crate::custom::structural::Structural;

fn schema() -> Structural {
    Structural::of(&json!({"type": "object", "properties": {
        "x": {"type": "integer"}, "y": {"type": "integer"}, "d": {"type": "number"},
        "text": {"type": "string"}, "flag": {"type": "boolean"},
        "time": {"type": "string", "format": "date-time"},
        "namespace": {"type": "string"}, "a-b": {"type": "string"},
        "either": {"x-kubernetes-int-or-string": true},
        "list": {"type": "array", "items": {"type": "integer"}},
        "small": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}},
        "parts": {"type": "array", "items": {"type": "object", "properties": {
            "name": {"type": "string"}, "size": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}}}}))
}

fn object() -> Value {
    json!({"x": 3, "y": 4, "d": 1, "text": "hello", "flag": true, "either": "80",
        "time": "2026-01-02T03:04:05Z", "namespace": "n", "a-b": "dashed",
        "list": [1, 2, 3], "small": ["a", "b"],
        "parts": [{"name": "a", "size": 1}, {"name": "b"}], "map": {"k": "v"}})
}

fn run(text: &str, budget: u64) -> Result<Option<bool>, EvalError> {
    let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let (schema, object) = (schema(), object());
    let eval = Eval::new(budget);
    let scope = Scope { before: None, name: "self", value: Val::of(&object, Some(&schema)) };
    match eval.eval(&expr, &scope)? {
        Val::Bool(value) => Ok(Some(value)),
        _ => Ok(None),
    }
}

#[track_caller]
fn holds(text: &str) {
    assert_eq!(run(text, super::COST_MAX), Ok(Some(true)), "{text}");
}

#[track_caller]
fn fails(text: &str, why: &str) {
    let told = run(text, super::COST_MAX).map_err(|error| error.to_string());
    assert_eq!(told, Err(why.to_owned()), "{text}");
}

#[test]
fn expressions_hold_that_hold_upstream() {
    for text in [
        "self.x + self.y > 0",
        "self.x * 2 - 1 == 5 && self.y / 3 == 1 && self.y % 3 == 1",
        "self.d == 1.0 && self.d < 2.5 && double(self.x) == 3.0",
        "self.text == 'hello' && self.text.startsWith(\"he\") && self.text.size() == 5",
        "self.text.matches('^h.*o$') && !self.text.matches('x')",
        "self.text.substring(1, 3) == 'el' && self.text.upperAscii() == 'HELLO'",
        "self.text.indexOf('l') == 2 && self.text.lastIndexOf('l') == 3",
        "self.text.replace('l', 'L') == 'heLLo' && self.text.split('l')[0] == 'he'",
        "self.text.charAt(1) == 'e' && 'a,b'.split(',').join('-') == 'a-b'",
        "has(self.text) && !has(self.parts[1].size)",
        "self.list.all(i, i > 0) && self.list.exists(i, i == 2)",
        "self.list.exists_one(i, i == 2) && self.list.filter(i, i > 1).size() == 2",
        "self.list.map(i, i * 2) == [2, 4, 6] && self.list.map(i, i > 1, i) == [2, 3]",
        "self.list.isSorted() && self.list.sum() == 6 && self.list.max() == 3",
        "2 in self.list && !(7 in self.list) && 'k' in self.map",
        "self.map['k'] == 'v' && self.map.all(k, k == 'k')",
        "self.parts.all(p, p.name in ['a', 'b'])",
        "self.list.all(i, n, n == i + 1)",
        "self.__namespace__ == 'n' && self.a__dash__b == 'dashed'",
        "type(self.either) == string ? int(self.either) < 100 : false",
        "self.flag ? true : self.nothing",
        "self.nothing || true",
        "!(self.nothing && false)",
        "self.time < timestamp('2026-01-03T00:00:00Z')",
        "self.time.getFullYear() == 2026 && self.time.getMonth() == 0",
        "self.time.getDayOfWeek() == 5 && self.time.getDayOfYear() == 1",
        "self.time + duration('1h') == timestamp('2026-01-02T04:04:05Z')",
        "duration('90m') == duration('1h30m') && string(duration('1500ms')) == '1.5s'",
        "quantity('1Gi').isGreaterThan(quantity('1000Mi'))",
        "quantity('500m').add(quantity('500m')) == quantity('1') && !isQuantity('x')",
        "isIP('10.0.0.1') && ip('::1').family() == 6",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').prefixLength() == 8",
        "!cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
        "sets.contains(self.list, [1, 3]) && sets.intersects([9, 3], self.list)",
        "sets.equivalent([1, 1, 2], [2, 1]) && !sets.contains([1], [2])",
        "self.?nothing.orValue('d') == 'd' && self.?text.hasValue()",
        "self.list[?9].orValue(0) == 0 && optional.of(1).value() == 1",
        "math.greatest(1, 5, 3) == 5 && math.least([4, 2]) == 2",
        "'%s is %d'.format([self.text, self.x]) == 'hello is 3'",
        "r'\\d' == '\\\\d' && b'a' == bytes('a') && '\\u00e9' == '\u{e9}'",
        "0x10 == 16 && 1u == 1u && -9223372036854775808 < 0 && 1e3 == 1000.0",
        "{'a': 1}.a == 1 && {1: 'x'}[1] == 'x' && size([1, 2]) == 2",
        "1 == 1.0 && 2 > 1.5 && [1, 2] == [1, 2] && {'a': [1]} == {'a': [1]}",
        "'a' < 'b' // a comment",
    ] {
        holds(text);
    }
}

#[test]
fn what_has_no_value_says_why() {
    fails("self.nothing == 1", "no such key: nothing");
    fails("self.list[5] == 1", "index out of bounds: 5");
    fails("self.x / 0 == 1", "division by zero");
    fails("9223372036854775807 + 1 > 0", "integer overflow");
    fails("self.text + 1 == ''", "no such overload");
    fails("int('x') == 1", "type conversion error from 'string' to 'int': x");
    fails("[1, 'a'].sort() == []", "no such overload");
    fails("'a'.matches('(')", "regex parse error:\n    (\n    ^\nerror: unclosed group");
}

#[test]
fn nothing_costs_more_than_its_budget() {
    let many = "[1,2,3,4,5,6,7,8,9,10]";
    let nested = (0..6).fold("true".to_owned(), |inner, at| format!("{many}.all(v{at}, {inner})"));
    assert_eq!(run(&nested, super::COST_MAX), Err(EvalError::Cost));
    let mut doubled = "'xxxxxxxxxxxxxxxx'".to_owned();
    for _ in 0..10 {
        doubled = format!("[{doubled}].map(s, s + s + s + s + s + s + s + s)[0]");
    }
    assert_eq!(run(&format!("{doubled} == ''"), super::COST_MAX), Err(EvalError::Cost));
    let blown = "'a'.replace('', self.text).replace('', self.text).replace('', self.text)\
                 .replace('', self.text).replace('', self.text).replace('', self.text)\
                 .replace('', self.text).replace('', self.text).replace('', self.text)\
                 .replace('', self.text).replace('', self.text) == ''";
    assert_eq!(run(blown, super::COST_MAX), Err(EvalError::Cost));
    assert_eq!(run("self.list.all(i, true)", 5), Err(EvalError::Cost));
}

#[test]
fn texts_that_are_no_expressions_are_refused() {
    for (text, why) in [
        ("self = 42", "1:6: Syntax error: token recognition error at: '='"),
        ("self.x +", "1:9: Syntax error: mismatched input '<EOF>' expecting an expression"),
        ("(1", "1:3: Syntax error: mismatched input '<EOF>' expecting ')'"),
        ("1 2", "1:3: Syntax error: extraneous input '2'"),
        ("has(1)", "1:1: Syntax error: invalid argument to has() macro"),
        ("'a", "1:1: Syntax error: unterminated string"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), format!("ERROR: <input>:{why}"), "{text}");
    }
    let deep = format!("{}1{}", "(".repeat(1_000), ")".repeat(1_000));
    assert!(parse(&deep).unwrap_err().to_string().contains("recursion limit"));
    let row = format!("1{}", "+1".repeat(10_000));
    assert!(parse(&row).unwrap_err().to_string().contains("recursion limit"));
    assert!(parse(&"!".repeat(10_000)).is_err());
    assert!(parse(&"a.".repeat(10_000)).is_err());
}

fn checked(text: &str) -> Result<(u64, bool), String> {
    let schema = schema();
    let names = Names { schema: &schema, whole: false, optional_old: false };
    check(text, names, true).map(|(_, checked)| (checked.cost, checked.old))
}

#[test]
fn names_and_fields_have_to_exist() {
    for (text, why) in [
        ("self.z == 100", "1:5: undefined field 'z'"),
        ("self.parts.all(p, p.colour == '')", "1:20: undefined field 'colour'"),
        ("that.x == 1", "1:1: undeclared reference to 'that' (in container '')"),
        ("self.text.shout() == ''", "1:10: undeclared reference to 'shout' (in container '')"),
        ("self.x == 'a'", "1:1: found no matching overload applied to '(int, string)'"),
        ("self.text.y == 1", "1:10: type does not support field selection"),
    ] {
        let told = format!("compilation failed: ERROR: <input>:{why}");
        assert_eq!(checked(text).unwrap_err(), told, "{text}");
    }
    assert_eq!(checked("self.x + 1").unwrap_err(), "must evaluate to a bool");
    assert!(checked("self.x > oldSelf.x").unwrap().1);
    assert!(!checked("self.x > 1").unwrap().1);
}

#[test]
fn what_may_cost_too_much_is_known_before() {
    let cost = |text: &str| checked(text).unwrap().0;
    assert!(cost("self.x + self.y > 0") < 20);
    assert!(cost("self.small.all(s, s == 'x')") < 100);
    assert!(cost("self.list.all(i, i > 0)") < 10_000_000);
    assert!(cost("self.list.all(i, self.list.all(k, i == k))") > 10_000_000);
    // What is foreseen is no less than what it then costs.
    for text in ["self.list.all(i, i > 0)", "self.text.size() > 3 && self.x in self.list"] {
        let eval = Eval::new(super::COST_MAX);
        let (schema, object, expr) = (schema(), object(), parse(text).unwrap());
        let scope = Scope { before: None, name: "self", value: Val::of(&object, Some(&schema)) };
        eval.eval(&expr, &scope).unwrap();
        assert!(super::COST_MAX - eval.left() <= cost(text), "{text}");
    }
}
