//! Reads `k8s-pb`: for each message its fields with protobuf number and type, and the markers in
//! their comments that say how lists and objects are merged.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

/// One message.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// Markers of the type, such as `structType=atomic`.
    pub(crate) markers: Vec<String>,
    /// Its fields in the order of the file.
    pub(crate) fields: Vec<Field>,
}

/// One field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    /// Name in Rust.
    pub(crate) name: String,
    /// Number in protobuf.
    pub(crate) number: u16,
    /// What it holds.
    pub(crate) shape: Shape,
    /// Markers such as `listType=map`.
    pub(crate) markers: Vec<String>,
}

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Shape {
    /// One value.
    One(Type),
    /// A list.
    List(Type),
    /// A map from text.
    Map(Type),
}

/// A scalar by its protobuf name, or a message by its module and name.
#[derive(Debug, Clone)]
pub(crate) enum Type {
    Scalar(String),
    Message(String),
}

/// Reads all messages below a folder: keys are `api::core::v1::Pod` in lower case.
pub(crate) fn read(folder: &Path) -> Result<BTreeMap<String, Message>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), Vec::new())];
    while let Some((folder, module)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.path().is_dir() {
                let mut below: Vec<String> = module.clone();
                below.push(entry.file_name().to_string_lossy().into_owned());
                folders.push((entry.path(), below));
            } else if entry.file_name() == "mod.rs" {
                read_file(&fs::read_to_string(entry.path())?, &module, &mut found)?;
            }
        }
    }
    newer(include_str!("newer.txt"), &mut found)?;
    promote(&mut found);
    Ok(found)
}

/// Adds what the crate does not have yet.
fn newer(text: &str, found: &mut BTreeMap<String, Message>) -> Result<(), String> {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [message, name, number, shape, kind, markers @ ..] = words.as_slice() else {
            return Err(format!("not a field: `{line}`"));
        };
        let kind = if kind.contains('.') {
            Type::Message(kind.replace('.', "::").to_lowercase())
        } else {
            Type::Scalar((*kind).to_owned())
        };
        let field = Field {
            name: (*name).to_owned(),
            number: number.parse().map_err(|_| format!("no number: `{line}`"))?,
            shape: match *shape {
                "one" => Shape::One(kind),
                "list" => Shape::List(kind),
                _ => Shape::Map(kind),
            },
            markers: markers.iter().map(|marker| (*marker).to_owned()).collect(),
        };
        let key = format!("api::{}", message.replace('.', "::").to_lowercase());
        found.entry(key).or_default().fields.push(field);
    }
    Ok(())
}

/// What the crate has as beta only was made stable as it is: numbers do not change.
fn promote(found: &mut BTreeMap<String, Message>) {
    let stable = |key: &str| key.replace("::v1beta1::", "::v1::");
    let type_of = |kind: &Type| match kind {
        Type::Message(key) => Type::Message(stable(key)),
        Type::Scalar(scalar) => Type::Scalar(scalar.clone()),
    };
    let promoted: Vec<(String, Message)> = found
        .iter()
        .filter(|(key, _)| key.contains("::v1beta1::") && !found.contains_key(&stable(key)))
        .map(|(key, message)| {
            let fields = message.fields.iter().map(|field| Field {
                name: field.name.clone(),
                number: field.number,
                shape: match &field.shape {
                    Shape::One(kind) => Shape::One(type_of(kind)),
                    Shape::List(kind) => Shape::List(type_of(kind)),
                    Shape::Map(kind) => Shape::Map(type_of(kind)),
                },
                markers: field.markers.clone(),
            });
            let fields = fields.collect();
            (stable(key), Message { markers: message.markers.clone(), fields })
        })
        .collect();
    found.extend(promoted);
}

/// Reads the list of pointers: names of fields by `apps.v1.DeploymentSpec`.
pub(crate) fn pointers(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(message, fields)| (message, fields.split(' ').collect()))
        .collect()
}

fn read_file(
    text: &str,
    module: &[String],
    found: &mut BTreeMap<String, Message>,
) -> Result<(), String> {
    let mut markers = Vec::new();
    let mut current: Option<(String, Message)> = None;
    let mut attribute = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix("///") {
            let comment = comment.trim().trim_start_matches("// ").trim();
            markers.extend(comment.strip_prefix('+').map(ToOwned::to_owned));
        } else if let Some(rest) = trimmed.strip_prefix("#[prost(") {
            rest.trim_end_matches(")]").clone_into(&mut attribute);
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            let name = rest.trim_end_matches([' ', '{', '}']).to_owned();
            let message = Message { markers: std::mem::take(&mut markers), fields: Vec::new() };
            if rest.ends_with("{}") {
                found.insert(key(module, &name), message);
            } else {
                current = Some((name, message));
            }
        } else if line == "}" {
            if let Some((name, message)) = current.take() {
                found.insert(key(module, &name), message);
            }
            markers.clear();
        } else if let (Some(rest), Some((_, message))) =
            (trimmed.strip_prefix("pub "), &mut current)
        {
            let mut declaration = rest.to_owned();
            while !declaration.ends_with(',') || unbalanced(&declaration) {
                declaration.push_str(lines.next().ok_or("a field does not end")?.trim());
            }
            let markers = std::mem::take(&mut markers);
            message.fields.push(field(&declaration, &attribute, module, markers)?);
        } else if !trimmed.starts_with("#[") {
            markers.clear();
        }
    }
    Ok(())
}

fn key(module: &[String], name: &str) -> String {
    format!("{}::{name}", module.join("::")).to_lowercase()
}

fn unbalanced(text: &str) -> bool {
    text.matches('<').count() != text.matches('>').count()
}

fn field(
    declaration: &str,
    attribute: &str,
    module: &[String],
    markers: Vec<String>,
) -> Result<Field, String> {
    let (name, rust) = declaration.split_once(':').ok_or("a field has no type")?;
    let number = attribute
        .split_once("tag = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .and_then(|(number, _)| number.parse().ok())
        .ok_or_else(|| format!("field `{name}` has no number"))?;
    let word = |text: &str| -> String {
        text.trim_matches('"').chars().take_while(char::is_ascii_alphanumeric).collect()
    };
    let kind = |scalar: &str| {
        if scalar == "message" {
            Type::Message(resolve(rust, module))
        } else {
            Type::Scalar(scalar.to_owned())
        }
    };
    let shape = if let Some(rest) = attribute.strip_prefix("btree_map = \"") {
        let (_, value) = rest.split_once(", ").ok_or("a map has no value")?;
        Shape::Map(kind(&word(value)))
    } else if attribute.contains("repeated") {
        Shape::List(kind(&word(attribute)))
    } else {
        Shape::One(kind(&word(attribute)))
    };
    Ok(Field { name: name.trim_start_matches("r#").to_owned(), number, shape, markers })
}

/// Key of the innermost type of a declaration.
fn resolve(rust: &str, module: &[String]) -> String {
    let inner = rust.trim_end_matches([',', '>']);
    let inner = inner.rsplit(['<', ',']).next().unwrap_or(inner).trim();
    let ups = inner.matches("super::").count();
    let path = inner.trim_start_matches("super::");
    let base = module.get(..module.len().saturating_sub(ups)).unwrap_or_default();
    key(base, path).trim_start_matches("::").to_owned()
}
