//! Which objects are meant: label selectors and field selectors.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::object;
use crate::resource::Resource;
use crate::status::Status;
use crate::validate::names;

/// A label selector: all requirements have to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<Requirement>,
    /// Matches nothing, whatever the requirements say.
    nothing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

/// Why a text or an object is no label selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectorError {
    /// The text does not follow the grammar.
    #[error("unable to parse requirement: found '{found}', expected: {expected}")]
    Syntax {
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A key is no label key.
    #[error("key: Invalid value: \"{key}\": {why}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value is no label value.
    #[error("values[0][{key}]: Invalid value: \"{value}\": {why}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// An operator of a `LabelSelector` is not known.
    #[error("\"{operator}\" is not a valid label selector operator")]
    Operator {
        /// The operator.
        operator: String,
    },
    /// `In` and `NotIn` need values, `Exists` and `DoesNotExist` must not have any.
    #[error("values: Invalid value: for operator '{operator}', values set {rule}")]
    Values {
        /// The operator.
        operator: String,
        /// What holds for it.
        rule: &'static str,
    },
}

impl Selector {
    /// Matches everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Parses `a=b,c!=d,e in (f,g),h,!i`; the empty text matches everything.
    ///
    /// # Errors
    /// The text is no selector.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "any token but those that are expected is the same error"
    )]
    pub fn parse(text: &str) -> Result<Self, ParseSelectorError> {
        let mut parser = Parser { tokens: tokens(text), position: 0 };
        let mut requirements = Vec::new();
        if parser.peek() == Token::End {
            return Ok(Self::everything());
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.next() {
                Token::Comma if parser.peek() != Token::End => {}
                Token::End => return Ok(Self { requirements, nothing: false }),
                Token::Comma => return Err(parser.syntax(&Token::End, "identifier after ','")),
                other => return Err(parser.syntax(&other, "',' or 'end of string'")),
            }
        }
    }

    /// Reads a `LabelSelector` object; null matches nothing, an empty one everything.
    ///
    /// # Errors
    /// An expression has an unknown operator, or values that do not fit it.
    pub fn from_label_selector(selector: &Value) -> Result<Self, ParseSelectorError> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Self::from_map(selector.get("matchLabels").unwrap_or(&Value::Null));
        for expression in object::items(selector, "/matchExpressions") {
            let operator = object::text(expression, "/operator");
            let values: Vec<String> = object::items(expression, "/values")
                .iter()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
                .collect();
            let rule =
                |rule| Err(ParseSelectorError::Values { operator: operator.to_owned(), rule });
            let operator = match operator {
                "In" | "NotIn" if values.is_empty() => return rule("can't be empty"),
                "Exists" | "DoesNotExist" if !values.is_empty() => return rule("must be empty"),
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(ParseSelectorError::Operator { operator: other.to_owned() });
                }
            };
            let key = object::text(expression, "/key").to_owned();
            requirements.requirements.push(Requirement { key, operator });
        }
        Ok(requirements)
    }

    /// Every pair of a map has to be among the labels, as in a Service's selector.
    #[must_use]
    pub fn from_map(labels: &Value) -> Self {
        let requirements = labels
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| {
                let value = value.as_str()?.to_owned();
                Some(Requirement { key: key.clone(), operator: Operator::In(vec![value]) })
            })
            .collect();
        Self { requirements, nothing: false }
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether it matches a map of labels.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.holds(|key| labels.get(key).map(String::as_str))
    }

    /// Whether it matches a JSON object of labels; null is no labels.
    #[must_use]
    pub fn matches_labels(&self, labels: &Value) -> bool {
        self.holds(|key| labels.get(key).and_then(Value::as_str))
    }

    /// Whether it matches the labels of an object.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_labels(object.pointer("/metadata/labels").unwrap_or(&Value::Null))
    }

    fn holds<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.operator.holds(label(&requirement.key)))
    }
}

impl Operator {
    fn holds(&self, label: Option<&str>) -> bool {
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match self {
            Self::In(values) => label.is_some_and(|label| values.iter().any(|one| one == label)),
            // What has no such label is not one of the values either.
            Self::NotIn(values) => {
                label.is_none_or(|label| values.iter().all(|value| value != label))
            }
            Self::Exists => label.is_some(),
            Self::DoesNotExist => label.is_none(),
            Self::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Self::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Not,
    Equal,
    NotEqual,
    Greater,
    Less,
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::Not => "!",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        tokens.push(match letter {
            ' ' | '\t' | '\n' | '\r' => continue,
            ',' => Token::Comma,
            '(' => Token::Open,
            ')' => Token::Close,
            '>' => Token::Greater,
            '<' => Token::Less,
            '!' if letters.next_if_eq(&'=').is_some() => Token::NotEqual,
            '!' => Token::Not,
            '=' => {
                letters.next_if_eq(&'=');
                Token::Equal
            }
            first => {
                let mut word = String::from(first);
                while let Some(next) =
                    letters.next_if(|next| !next.is_whitespace() && !",()<>!=".contains(*next))
                {
                    word.push(next);
                }
                Token::Word(word)
            }
        });
    }
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "any token but those that are expected is the same error"
)]
impl Parser {
    fn peek(&self) -> Token {
        self.tokens.get(self.position).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.position += 1;
        token
    }

    fn syntax(&self, found: &Token, expected: &'static str) -> ParseSelectorError {
        ParseSelectorError::Syntax { found: found.text().to_owned(), expected }
    }

    fn key(&mut self) -> Result<String, ParseSelectorError> {
        match self.next() {
            Token::Word(key) => match names::qualified_name(&key).first() {
                None => Ok(key),
                Some(why) => Err(ParseSelectorError::Key { key, why: why.clone() }),
            },
            other => Err(self.syntax(&other, "identifier")),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseSelectorError> {
        if self.peek() == Token::Not {
            self.next();
            return Ok(Requirement { key: self.key()?, operator: Operator::DoesNotExist });
        }
        let key = self.key()?;
        let operator = match self.peek() {
            Token::Comma | Token::End => Operator::Exists,
            Token::Equal => {
                self.next();
                Operator::In(vec![self.value(&key)?])
            }
            Token::NotEqual => {
                self.next();
                Operator::NotIn(vec![self.value(&key)?])
            }
            Token::Greater => {
                self.next();
                Operator::GreaterThan(self.number(&key)?)
            }
            Token::Less => {
                self.next();
                Operator::LessThan(self.number(&key)?)
            }
            Token::Word(word) if word == "in" => {
                self.next();
                Operator::In(self.values(&key)?)
            }
            Token::Word(word) if word == "notin" => {
                self.next();
                Operator::NotIn(self.values(&key)?)
            }
            other @ (Token::Word(_) | Token::Open | Token::Close | Token::Not) => {
                return Err(self.syntax(&other, "in, notin, =, ==, !=, gt, lt"));
            }
        };
        Ok(Requirement { key, operator })
    }

    /// A value; it may be empty, as in `a=`.
    fn value(&mut self, key: &str) -> Result<String, ParseSelectorError> {
        match self.peek() {
            Token::Word(value) => {
                self.next();
                match names::label_value(&value).first() {
                    None => Ok(value),
                    Some(why) => Err(ParseSelectorError::Value {
                        key: key.to_owned(),
                        value,
                        why: why.clone(),
                    }),
                }
            }
            Token::Comma | Token::Close | Token::End => Ok(String::new()),
            other => Err(self.syntax(&other, "identifier")),
        }
    }

    fn number(&mut self, key: &str) -> Result<i64, ParseSelectorError> {
        let value = self.value(key)?;
        value.parse().map_err(|_| ParseSelectorError::Value {
            key: key.to_owned(),
            value,
            why: "for 'Gt', 'Lt' operators, the value must be an integer".to_owned(),
        })
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, ParseSelectorError> {
        let open = self.next();
        if open != Token::Open {
            return Err(self.syntax(&open, "'('"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value(key)?);
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(self.syntax(&other, "',' or ')'")),
            }
        }
    }
}

/// A field selector: all terms have to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Matches everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses `metadata.name=x,status.phase!=Failed`.
    ///
    /// # Errors
    /// The text is no field selector, or names a field that the resource cannot be selected by.
    pub fn parse(resource: &Resource, text: &str) -> Result<Self, Status> {
        let mut terms = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = part.split_once("==") {
                (field, value, true)
            } else if let Some((field, value)) = part.split_once('=') {
                (field, value, true)
            } else {
                return Err(Status::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let known = field == "metadata.name"
                || (field == "metadata.namespace" && resource.namespaced)
                || resource.fields.iter().any(|known| known == field);
            if !known {
                return Err(Status::bad_request(format!("field label not supported: {field}")));
            }
            let value = value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\");
            terms.push(Term { field: field.to_owned(), value, equal });
        }
        Ok(Self { terms })
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Value that a field has to have, if the selector says so.
    #[must_use]
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.field == field)
            .map(|term| term.value.as_str())
    }

    /// Whether it matches an object.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| (field_value(object, &term.field) == term.value) == term.equal)
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (position, letter) in text.char_indices() {
        match letter {
            '\\' => escaped = !escaped,
            ',' if !escaped => {
                parts.push(text.get(start..position).unwrap_or_default());
                start = position + 1;
            }
            _ => escaped = false,
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Value of a field as a selector sees it: a text, with what is absent as the type's zero.
fn field_value(object: &Value, field: &str) -> String {
    let found = match field {
        // The only old names that upstream still takes.
        "name" => object.pointer("/metadata/name"),
        "status.successful" => object.pointer("/status/succeeded"),
        "reportingComponent" => object.get("reportingComponent"),
        "source" => {
            object.pointer("/source/component").or_else(|| object.get("reportingComponent"))
        }
        "status.podIPs" => {
            return object::items(object, "/status/podIPs")
                .iter()
                .map(|ip| object::text(ip, "/ip"))
                .collect::<Vec<_>>()
                .join(",");
        }
        _ => {
            let mut value = Some(object);
            for part in field.split('.') {
                value = value.and_then(|value| value.get(part));
            }
            value
        }
    };
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.replicas" | "status.successful" => "0".to_owned(),
            _ => String::new(),
        },
    }
}

/// Labels of an object as a map.
#[must_use]
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels: Option<&Map<String, Value>> =
        object.pointer("/metadata/labels").and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use serde_json::json;

    #[test]
    fn label_selectors_match_as_upstream() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app!=web", false),
            ("other!=x", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("other notin (a)", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app=", false),
            ("n>4,n<6", true),
            ("n>5", false),
            ("in in (a)", false),
            ("example.com/a=b", false),
        ];
        for (text, expected) in cases {
            assert_eq!(Selector::parse(text).unwrap().matches_labels(&labels), expected, "{text}");
        }
    }

    #[test]
    fn malformed_label_selectors_are_refused() {
        for text in ["a b", "a in b", "a in (b", ",a", "a,", "=a", "a=b c", "-a=b", "a=-b", "a>b"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn label_selector_objects_match_null_nothing_and_empty_everything() {
        let labels = json!({"app": "web"});
        let check = |selector: Value, expected: bool| {
            let selector = Selector::from_label_selector(&selector).unwrap();
            assert_eq!(selector.matches_labels(&labels), expected);
        };
        check(Value::Null, false);
        check(json!({}), true);
        check(json!({"matchLabels": {"app": "web"}}), true);
        check(
            json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
            false,
        );
        check(json!({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}), true);
        let wrong = json!({"matchExpressions": [{"key": "b", "operator": "In"}]});
        assert!(Selector::from_label_selector(&wrong).is_err());
    }

    #[test]
    fn field_selectors_match_and_refuse_unknown_fields() {
        let pods = registry::find("", "v1", "pods").unwrap();
        let pod =
            json!({"metadata": {"name": "a", "namespace": "n"}, "status": {"phase": "Running"}});
        let cases = [
            ("metadata.name=a", true),
            ("metadata.name=b", false),
            ("status.phase!=Succeeded,status.phase!=Failed", true),
            ("spec.nodeName=", true),
            ("spec.nodeName=pi-1", false),
        ];
        for (text, expected) in cases {
            let selector = FieldSelector::parse(pods, text).unwrap();
            assert_eq!(selector.matches(&pod), expected, "{text}");
        }
        let error = FieldSelector::parse(pods, "spec.foo=a").unwrap_err();
        assert_eq!(error.message, "field label not supported: spec.foo");
        let selector = FieldSelector::parse(pods, "spec.nodeName=pi-1").unwrap();
        assert_eq!(selector.required("spec.nodeName"), Some("pi-1"));
    }
}
