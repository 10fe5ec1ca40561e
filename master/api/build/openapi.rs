//! Reads `k8s-openapi`: for each definition its name, description, properties and required fields,
//! and for each kind its group, version, path and scope.
//!
//! The crate's files are generated and look alike; what is read is the JSON schema in each.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

/// One definition of the OpenAPI document.
#[derive(Debug)]
pub(crate) struct Definition {
    /// What it is, in words.
    pub(crate) description: String,
    /// Properties by JSON name.
    pub(crate) properties: BTreeMap<String, Property>,
    /// Names of properties that have to be there.
    pub(crate) required: Vec<String>,
    /// Set for kinds.
    pub(crate) kind: Option<Kind>,
}

/// One property of a definition.
#[derive(Debug)]
pub(crate) struct Property {
    /// What it is, in words.
    pub(crate) description: String,
}

/// Names of a kind.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
}

/// Reads all definitions below a folder, by name.
pub(crate) fn read(folder: &Path) -> Result<BTreeMap<String, Definition>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some((name, definition)) = definition(&fs::read_to_string(&path)?) {
                found.insert(name, definition);
            }
        }
    }
    Ok(found)
}

fn definition(text: &str) -> Option<(String, Definition)> {
    let (_, schema) = text.split_once("impl crate::schemars::JsonSchema for ")?;
    let (_, rest) = schema.split_once("fn schema_name()")?;
    let (_, rest) = rest.split_once('"')?;
    let (name, rest) = rest.split_once('"')?;
    let (_, body) = rest.split_once("json_schema!(")?;
    let Value::Object(parts) = Reader { rest: body }.value()? else { return None };
    let mut definition = Definition {
        description: String::new(),
        properties: BTreeMap::new(),
        required: Vec::new(),
        kind: kind(text),
    };
    for (key, value) in parts {
        match (key.as_str(), value) {
            ("description", Value::Text(text)) => definition.description = text,
            ("required", Value::Array(names)) => {
                let names = names.into_iter().filter_map(|name| match name {
                    Value::Text(name) => Some(name),
                    Value::Object(_) | Value::Array(_) | Value::Other(_) => None,
                });
                definition.required.extend(names);
            }
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    let description = property.description();
                    definition.properties.insert(name, Property { description });
                }
            }
            _ => {}
        }
    }
    Some((name.to_owned(), definition))
}

fn kind(text: &str) -> Option<Kind> {
    let (_, rest) = text.split_once("impl crate::Resource for ")?;
    let constant = |name: &str| {
        let (_, rest) = rest.split_once(&format!("const {name}: &'static str = \""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    Some(Kind { group: constant("GROUP")?, version: constant("VERSION")?, kind: constant("KIND")? })
}

/// JSON in which Rust expressions in parentheses may stand for values.
#[derive(Debug)]
enum Value {
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    Text(String),
    Other(String),
}

impl Value {
    fn description(&self) -> String {
        match self {
            Self::Object(parts) => parts
                .iter()
                .find_map(|(key, value)| match value {
                    Self::Text(text) if key == "description" => Some(text.clone()),
                    Self::Text(_) | Self::Object(_) | Self::Array(_) | Self::Other(_) => None,
                })
                .unwrap_or_default(),
            Self::Other(expression) => expression
                .split_once("insert(\"description\".into(), \"")
                .and_then(|(_, rest)| Reader { rest }.text())
                .unwrap_or_default(),
            Self::Array(_) | Self::Text(_) => String::new(),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Value> {
        self.rest = self.rest.trim_start();
        let first = self.next()?;
        Some(match first {
            '{' => {
                let mut parts = Vec::new();
                while !self.ends_with('}')? {
                    self.next()?;
                    let key = self.text()?;
                    self.rest = self.rest.strip_prefix(':')?;
                    parts.push((key, self.value()?));
                }
                Value::Object(parts)
            }
            '[' => {
                let mut items = Vec::new();
                while !self.ends_with(']')? {
                    items.push(self.value()?);
                }
                Value::Array(items)
            }
            '"' => Value::Text(self.text()?),
            '(' => Value::Other(self.expression()?),
            other => {
                let end = self.rest.find([',', '\n', '}', ']'])?;
                let (word, rest) = self.rest.split_at_checked(end)?;
                self.rest = rest;
                Value::Other(format!("{other}{word}"))
            }
        })
    }

    fn next(&mut self) -> Option<char> {
        let mut letters = self.rest.chars();
        let first = letters.next();
        self.rest = letters.as_str();
        first
    }

    /// Skips space and commas; takes the end if it is next.
    fn ends_with(&mut self, end: char) -> Option<bool> {
        self.rest = self.rest.trim_start_matches([' ', '\n', ',']);
        if self.rest.is_empty() {
            return None;
        }
        let rest = self.rest.strip_prefix(end);
        self.rest = rest.unwrap_or(self.rest);
        Some(rest.is_some())
    }

    /// Rest of a text after its first quote.
    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => match self.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'u' => {
                        let (code, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
                        text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                        self.rest = rest;
                    }
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
    }

    /// An expression up to the parenthesis that closes it; texts in it may hold any letters.
    fn expression(&mut self) -> Option<String> {
        let start = self.rest;
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                '(' => depth += 1,
                ')' => depth -= 1,
                '"' => {
                    self.text()?;
                }
                _ => {}
            }
        }
        start.get(..start.len() - self.rest.len() - 1).map(ToOwned::to_owned)
    }
}
