//! Printed columns of custom resources: simple JSON paths and what stands for their values.

use serde_json::{Map, Value, json};

use crate::object::{items, text};
use crate::{duration, timestamp};

/// Most parts of a path.
const PARTS_MAX: usize = 32;

/// A path such as `.spec.replicas` or `.status.conditions[?(@.type=="Ready")].status`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// A field.
    Field(String),
    /// An item, from the end if it is negative.
    Item(i64),
    /// All items, or the values of all fields.
    All,
    /// Items of which something below them equals, or does not equal, a value.
    Filter { below: JsonPath, equal: bool, value: Value },
}

impl JsonPath {
    /// Reads a path; none if it is none that is known here.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = path;
        while !rest.is_empty() {
            if steps.len() >= PARTS_MAX {
                return None;
            }
            if let Some(after) = rest.strip_prefix('[') {
                let (step, after) = Self::bracket(after)?;
                steps.push(step);
                rest = after;
                continue;
            }
            rest = rest.strip_prefix('.')?;
            let (name, after) = Self::name(rest);
            match name.as_str() {
                // `.` is all of it, and `.[0]` the same as `[0]`.
                "" if after.is_empty() || after.starts_with('[') => {}
                "" => return None,
                "*" => steps.push(Step::All),
                _ => steps.push(Step::Field(name)),
            }
            rest = after;
        }
        Some(Self(steps))
    }

    /// A field's name, in which a backslash takes the meaning from what follows it.
    fn name(text: &str) -> (String, &str) {
        let mut name = String::new();
        let mut letters = text.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
                '.' | '[' => return (name, text.get(at..).unwrap_or_default()),
                other => name.push(other),
            }
        }
        (name, "")
    }

    /// What is between brackets, and what follows them.
    fn bracket(text: &str) -> Option<(Step, &str)> {
        if let Some(rest) = text.strip_prefix("?(@") {
            let (condition, after) = rest.split_once(")]")?;
            let (below, equal, value) = match condition.split_once("!=") {
                Some((below, value)) => (below, false, value),
                None => condition.split_once("==").map(|(below, value)| (below, true, value))?,
            };
            let below = Self::parse(below.trim())?;
            return Some((Step::Filter { below, equal, value: literal(value.trim())? }, after));
        }
        let quote = text.chars().next().filter(|letter| matches!(letter, '\'' | '"'));
        if let Some(quote) = quote {
            let (name, after) = text.get(1..)?.split_once(quote)?;
            return Some((Step::Field(name.to_owned()), after.strip_prefix(']')?));
        }
        let (inside, after) = text.split_once(']')?;
        Some((if inside == "*" { Step::All } else { Step::Item(inside.parse().ok()?) }, after))
    }

    /// The first value that it leads to.
    pub(crate) fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        walk(&self.0, value)
    }

    /// As a pointer, if it names fields only.
    pub(crate) fn pointer(&self) -> Option<String> {
        let mut pointer = String::new();
        for step in &self.0 {
            let Step::Field(name) = step else { return None };
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        Some(pointer)
    }
}

fn walk<'a>(steps: &[Step], value: &'a Value) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => walk(rest, value.get(name)?),
        Step::Item(place) => {
            let items = value.as_array()?;
            let place = match usize::try_from(*place) {
                Ok(place) => place,
                Err(_) => items.len().checked_sub(usize::try_from(place.unsigned_abs()).ok()?)?,
            };
            walk(rest, items.get(place)?)
        }
        Step::All => match value {
            Value::Array(items) => items.iter().find_map(|item| walk(rest, item)),
            Value::Object(fields) => fields.values().find_map(|item| walk(rest, item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        },
        Step::Filter { below, equal, value: wanted } => {
            let fits =
                |item: &&Value| below.first(item).is_some_and(|found| (found == wanted) == *equal);
            value.as_array()?.iter().filter(fits).find_map(|item| walk(rest, item))
        }
    }
}

/// A text in quotes, a number or a truth value.
fn literal(text: &str) -> Option<Value> {
    let quoted = ['\'', '"']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
    match quoted {
        Some(text) => Some(text.into()),
        None => serde_json::from_str(text).ok(),
    }
}

/// A column of a printed table.
#[derive(Debug)]
pub(crate) struct PrinterColumn {
    name: Box<str>,
    kind: Box<str>,
    format: Box<str>,
    description: Box<str>,
    priority: i64,
    source: Box<str>,
    path: JsonPath,
}

impl PrinterColumn {
    /// Reads the columns of a version; those without any show their age.
    pub(crate) fn all(version: &Value) -> Vec<Self> {
        let listed = items(version, "/additionalPrinterColumns");
        if listed.is_empty() {
            let age = json!({"name": "Age", "type": "date",
                "jsonPath": ".metadata.creationTimestamp"});
            return Self::of(&age).into_iter().collect();
        }
        listed.iter().filter_map(Self::of).collect()
    }

    fn of(column: &Value) -> Option<Self> {
        let own = |key: &str| text(column, &format!("/{key}")).into();
        let source = text(column, "/jsonPath");
        Some(Self {
            name: own("name"),
            kind: own("type"),
            format: own("format"),
            description: own("description"),
            priority: crate::object::integer(column, "/priority"),
            source: source.into(),
            path: JsonPath::parse(source)?,
        })
    }

    /// How a table announces it.
    pub(crate) fn definition(&self) -> Value {
        let description = if self.description.is_empty() {
            format!("Custom resource definition column (in JSONPath format): {}", self.source)
        } else {
            self.description.to_string()
        };
        let mut definition = Map::new();
        definition.insert("name".to_owned(), (&*self.name).into());
        definition.insert("type".to_owned(), (&*self.kind).into());
        definition.insert("format".to_owned(), (&*self.format).into());
        definition.insert("description".to_owned(), description.into());
        definition.insert("priority".to_owned(), self.priority.into());
        Value::Object(definition)
    }

    /// What stands in it for an object; time in seconds since 1970.
    pub(crate) fn cell(&self, object: &Value, now: i64) -> Value {
        let Some(value) = self.path.first(object) else { return Value::Null };
        match (&*self.kind, value) {
            (_, Value::Null) => Value::Null,
            ("string", Value::String(text)) => text.as_str().into(),
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(number)) => {
                let whole = number.as_i64().or_else(|| truncated(number.as_f64()?));
                whole.map_or(Value::Null, Value::from)
            }
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("date", Value::String(time)) => match timestamp::parse(time) {
                Some(then) => duration::human(now.saturating_sub(then)).into(),
                None => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

/// The whole part of a number that has one.
fn truncated(number: f64) -> Option<i64> {
    // Written without a fraction it is what a parser of whole numbers takes.
    format!("{:.0}", number.trunc()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Value) {
        let object = json!({"spec": {"replicas": 3, "a.b": "dotted", "list": [{"n": 1}, {"n": 2}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"},
                {"type": "Old", "status": "False"}]}});
        let found = JsonPath::parse(path).and_then(|path| path.first(&object).cloned());
        assert_eq!(found.unwrap_or_default(), expected, "{path}");
    }

    #[test]
    fn paths_lead_to_values() {
        check(".spec.replicas", json!(3));
        check(r".spec.a\.b", json!("dotted"));
        check(".spec['a.b']", json!("dotted"));
        check(".spec.list[1].n", json!(2));
        check(".spec.list[-1].n", json!(2));
        check(".spec.list[-3].n", Value::Null);
        check(".spec.list[*].n", json!(1));
        check(r#".status.conditions[?(@.type=="Ready")].status"#, json!("True"));
        check(".status.conditions[?(@.type!='Ready')].status", json!("False"));
        check(".spec.none.deeper", Value::Null);
        for bad in ["spec", ".spec[", ".spec[x]", ".a..b", ".a[?(@.b)]"] {
            assert_eq!(JsonPath::parse(bad), None, "{bad}");
        }
        let pointer = |path: &str| JsonPath::parse(path).and_then(|path| path.pointer());
        assert_eq!(pointer(".spec.a/b").as_deref(), Some("/spec/a~1b"));
        assert_eq!(pointer(".spec.list[0]"), None);
    }

    #[test]
    fn cells_are_of_the_type_of_their_column() {
        let object = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"n": 2.7, "t": "x", "b": true, "o": {"k": 1}}});
        let now = timestamp::parse("2026-01-01T01:00:00Z").unwrap();
        let cell = |kind: &str, path: &str| {
            let column = json!({"name": "C", "type": kind, "jsonPath": path});
            PrinterColumn::of(&column).unwrap().cell(&object, now)
        };
        assert_eq!(cell("integer", ".spec.n"), json!(2));
        assert_eq!(cell("number", ".spec.n"), json!(2.7));
        assert_eq!(cell("string", ".spec.n"), json!("2.7"));
        assert_eq!(cell("string", ".spec.o"), json!("{\"k\":1}"));
        assert_eq!(cell("integer", ".spec.t"), Value::Null);
        assert_eq!(cell("boolean", ".spec.b"), json!(true));
        assert_eq!(cell("date", ".metadata.creationTimestamp"), json!("60m"));
        assert_eq!(cell("date", ".spec.t"), json!("<invalid>"));
        let [age] = PrinterColumn::all(&json!({})).try_into().unwrap();
        assert_eq!(age.definition()["name"], "Age");
    }
}
