//! Joins definitions and messages: numbers messages, fields and types, and finds for each field
//! its JSON name, its protobuf number and how it is merged.

use std::collections::{BTreeMap, BTreeSet};

use crate::openapi::Definition;
use crate::protobuf::{self, Shape, Type};

/// Everything that is written; numbers are places in these lists.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    pub(crate) messages: Vec<Message>,
    pub(crate) fields: Vec<Field>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) types: Vec<Node>,
    /// Group, version, kind and number of the message.
    pub(crate) kinds: Vec<(String, String, String, usize)>,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) package: String,
    pub(crate) name: String,
    pub(crate) fields: (usize, usize),
    pub(crate) wires: (usize, usize),
    pub(crate) atomic: bool,
    /// Whether its objects say in `apiVersion` and `kind` what they are.
    pub(crate) typed: bool,
    pub(crate) description: String,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: usize,
    pub(crate) required: bool,
    pub(crate) keeps_zero: bool,
    pub(crate) merges: bool,
    pub(crate) merge_key: String,
    pub(crate) retains_keys: bool,
    pub(crate) description: String,
}

/// What a protobuf number stands for.
#[derive(Debug)]
pub(crate) enum Wire {
    /// A field of the message.
    Field(u16, usize),
    /// A message whose fields are the outer one's: a range of wires.
    Embedded(u16, (usize, usize)),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Scalar(&'static str),
    Message(usize),
    /// A message of which JSON has the one field that is set, in its place.
    Union(usize),
    Map(usize),
    AtomicMap(usize),
    List(usize, List),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum List {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// Messages that JSON has as something else.
const LEAVES: [(&str, &str); 7] = [
    ("apiextensions_apiserver::pkg::apis::apiextensions::v1::json", "Any"),
    ("apimachinery::pkg::api::resource::quantity", "Quantity"),
    ("apimachinery::pkg::apis::meta::v1::fieldsv1", "FieldsV1"),
    ("apimachinery::pkg::apis::meta::v1::microtime", "MicroTime"),
    ("apimachinery::pkg::apis::meta::v1::time", "Time"),
    ("apimachinery::pkg::runtime::rawextension", "Any"),
    ("apimachinery::pkg::util::intstr::intorstring", "IntOrString"),
];

/// Messages that JSON has as whichever of their fields is set.
const UNIONS: [&str; 3] = [
    "apiextensions_apiserver::pkg::apis::apiextensions::v1::jsonschemapropsorarray",
    "apiextensions_apiserver::pkg::apis::apiextensions::v1::jsonschemapropsorbool",
    "apiextensions_apiserver::pkg::apis::apiextensions::v1::jsonschemapropsorstringarray",
];

/// What names of definitions of kinds start with.
const PACKAGES: [&str; 3] =
    ["io.k8s.api.", "io.k8s.apiextensions-apiserver.", "io.k8s.kube-aggregator."];

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// Versions that are stable.
const STABLE: [&str; 2] = ["v1", "v2"];

type Messages = BTreeMap<String, protobuf::Message>;

struct Builder<'a> {
    definitions: &'a BTreeMap<String, Definition>,
    messages: &'a Messages,
    pointers: &'a BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Definitions by the key of their message.
    names: BTreeMap<String, &'a str>,
    /// Number of each definition that a kind leads to.
    numbers: BTreeMap<&'a str, usize>,
    arena: Arena,
}

/// Builds the arena of all stable kinds.
pub(crate) fn build(
    definitions: &BTreeMap<String, Definition>,
    messages: &Messages,
    pointers: &BTreeMap<&str, BTreeSet<&str>>,
) -> Result<Arena, String> {
    let names = definitions.keys().map(|name| (key(name), name.as_str())).collect();
    let mut builder = Builder {
        definitions,
        messages,
        pointers,
        names,
        numbers: BTreeMap::new(),
        arena: Arena::default(),
    };
    let kinds: Vec<(&str, &Definition)> = definitions
        .iter()
        .filter(|(name, definition)| {
            let stable = definition.kind.as_ref().is_some_and(|kind| {
                STABLE.contains(&kind.version.as_str())
                    && PACKAGES.iter().any(|package| name.starts_with(package))
            });
            stable || *name == DELETE_OPTIONS
        })
        .map(|(name, definition)| (name.as_str(), definition))
        .collect();
    for (name, _) in &kinds {
        builder.reach(name)?;
    }
    for (number, place) in builder.numbers.values_mut().enumerate() {
        *place = number;
    }
    for name in builder.numbers.keys().copied().collect::<Vec<_>>() {
        builder.message(name)?;
    }
    for (name, definition) in kinds {
        let number = builder.number(name)?;
        let row = match &definition.kind {
            Some(kind) => (kind.group.clone(), kind.version.clone(), kind.kind.clone(), number),
            // Delete options are sent with the group of whatever is deleted.
            None => (String::new(), "v1".to_owned(), "DeleteOptions".to_owned(), number),
        };
        builder.arena.kinds.push(row);
    }
    builder.arena.kinds.sort();
    Ok(builder.arena)
}

/// Key of a definition's message.
fn key(name: &str) -> String {
    let name = name.trim_start_matches("io.k8s.");
    name.replace('.', "::").replace('-', "_").to_lowercase()
}

/// A name as both crates have it.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

impl Field {
    /// A field of which nothing is special.
    fn plain(name: &str, kind: usize) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            required: false,
            keeps_zero: false,
            merges: false,
            merge_key: String::new(),
            retains_keys: false,
            description: String::new(),
        }
    }
}

fn leaf(key: &str) -> Option<&'static str> {
    LEAVES.iter().find(|(leaf, _)| *leaf == key).map(|(_, kind)| *kind)
}

fn marked(markers: &[String], wanted: &str) -> bool {
    markers.iter().any(|marker| marker == wanted)
}

fn values<'m>(markers: &'m [String], name: &'m str) -> impl Iterator<Item = &'m str> {
    markers.iter().filter_map(move |marker| marker.strip_prefix(name)?.strip_prefix('='))
}

impl<'a> Builder<'a> {
    fn protobuf(&self, key: &str) -> Result<&'a protobuf::Message, String> {
        self.messages.get(key).ok_or_else(|| format!("no protobuf message `{key}`"))
    }

    fn number(&self, name: &str) -> Result<usize, String> {
        self.numbers.get(name).copied().ok_or_else(|| format!("`{name}` was not reached"))
    }

    /// Notes a definition and all that it leads to.
    fn reach(&mut self, name: &'a str) -> Result<(), String> {
        if self.numbers.insert(name, 0).is_some() {
            return Ok(());
        }
        self.reach_fields(&key(name))
    }

    fn reach_fields(&mut self, key: &str) -> Result<(), String> {
        for field in &self.protobuf(key)?.fields {
            let (Shape::One(kind) | Shape::List(kind) | Shape::Map(kind)) = &field.shape;
            let Type::Message(inner) = kind else { continue };
            if leaf(inner).is_some() {
                continue;
            }
            match self.names.get(inner) {
                Some(name) => self.reach(name)?,
                None => self.reach_fields(inner)?,
            }
        }
        Ok(())
    }

    fn message(&mut self, name: &'a str) -> Result<(), String> {
        let definition =
            self.definitions.get(name).ok_or_else(|| format!("no definition `{name}`"))?;
        let message = self.protobuf(&key(name))?;
        let (package, short) = name.rsplit_once('.').ok_or("a definition has no package")?;
        let start = self.arena.fields.len();
        let mut names: BTreeSet<&str> = definition.properties.keys().map(String::as_str).collect();
        let typed = definition.kind.is_some() || name == DELETE_OPTIONS;
        if typed {
            names.remove("apiVersion");
            names.remove("kind");
        }
        let mut found: BTreeMap<&str, Field> = BTreeMap::new();
        let mut plan = Vec::new();
        self.collect(name, definition, message, &mut found, &mut plan)?;
        let without: Vec<_> = names.iter().filter(|name| !found.contains_key(**name)).collect();
        if !without.is_empty() {
            return Err(format!("no protobuf fields for {without:?} of `{name}`"));
        }
        let places: BTreeMap<String, usize> =
            found.keys().enumerate().map(|(place, name)| ((*name).to_owned(), place)).collect();
        self.arena.fields.extend(found.into_values());
        let wires = self.wires(&plan, &places);
        self.arena.messages.push(Message {
            package: package.to_owned(),
            name: short.to_owned(),
            fields: (start, self.arena.fields.len() - start),
            wires,
            atomic: marked(&message.markers, "structType=atomic"),
            typed,
            description: definition.description.clone(),
        });
        Ok(())
    }

    /// Writes what embedded messages need first, so that each range is in one piece.
    fn wires(&mut self, plan: &[Plan], places: &BTreeMap<String, usize>) -> (usize, usize) {
        let rows: Vec<Wire> = plan
            .iter()
            .map(|plan| match plan {
                Plan::Field(number, name) => {
                    Wire::Field(*number, places.get(name).copied().unwrap_or_default())
                }
                Plan::Embedded(number, plan) => Wire::Embedded(*number, self.wires(plan, places)),
            })
            .collect();
        let range = (self.arena.wires.len(), rows.len());
        self.arena.wires.extend(rows);
        range
    }

    fn collect(
        &mut self,
        name: &str,
        definition: &'a Definition,
        message: &'a protobuf::Message,
        found: &mut BTreeMap<&'a str, Field>,
        plan: &mut Vec<Plan>,
    ) -> Result<(), String> {
        for field in &message.fields {
            if UNIONS.contains(&key(name).as_str()) {
                let kind = self.kind(field)?;
                found.insert(&field.name, Field::plain(&field.name, kind));
                plan.push(Plan::Field(field.number, field.name.clone()));
                continue;
            }
            let wanted = plain(&field.name);
            let property = definition.properties.iter().find(|(name, _)| plain(name) == wanted);
            let Some((json, property)) = property else {
                // Not in JSON under its name: its fields are the outer object's, or it is gone.
                if let Shape::One(Type::Message(inner)) = &field.shape
                    && let Some(embedded) = self.messages.get(inner)
                {
                    let mut below = Vec::new();
                    self.collect(name, definition, embedded, found, &mut below)?;
                    plan.push(Plan::Embedded(field.number, below));
                }
                continue;
            };
            let kind = self.kind(field)?;
            let required = definition.required.contains(json)
                // The crate, and not Kubernetes, wants metadata of every kind.
                && !(definition.kind.is_some() && json == "metadata");
            let pointer_key = name.trim_start_matches("io.k8s.api.");
            let pointer_key = pointer_key.trim_start_matches("io.k8s.apimachinery.pkg.apis.");
            let pointer_key = pointer_key
                .trim_start_matches("io.k8s.apiextensions-apiserver.pkg.apis.")
                .trim_start_matches("io.k8s.kube-aggregator.pkg.apis.")
                .to_owned();
            let pointer = self
                .pointers
                .get(pointer_key.as_str())
                .is_some_and(|names| names.contains(json.as_str()));
            let strategy: Vec<&str> = values(&field.markers, "patchStrategy")
                .flat_map(|strategy| strategy.split(','))
                .collect();
            found.insert(
                json,
                Field {
                    name: json.clone(),
                    kind,
                    required,
                    keeps_zero: required || pointer,
                    merges: strategy.contains(&"merge"),
                    merge_key: values(&field.markers, "patchMergeKey")
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                    retains_keys: strategy.contains(&"retainKeys"),
                    description: property.description.clone(),
                },
            );
            plan.push(Plan::Field(field.number, json.clone()));
        }
        Ok(())
    }

    fn kind(&mut self, field: &protobuf::Field) -> Result<usize, String> {
        let node = match &field.shape {
            Shape::One(kind) => self.node(kind)?,
            Shape::List(kind) => {
                let item = self.node(kind)?;
                let item = self.intern(item);
                let keys = || values(&field.markers, "listMapKey").map(ToOwned::to_owned);
                let list = match values(&field.markers, "listType").next() {
                    Some("map") => List::Map(keys().collect()),
                    Some("set") => List::Set,
                    _ => List::Atomic,
                };
                Node::List(item, list)
            }
            Shape::Map(kind) => {
                let value = self.node(kind)?;
                let value = self.intern(value);
                if marked(&field.markers, "mapType=atomic") {
                    Node::AtomicMap(value)
                } else {
                    Node::Map(value)
                }
            }
        };
        Ok(self.intern(node))
    }

    fn node(&mut self, kind: &Type) -> Result<Node, String> {
        Ok(match kind {
            Type::Scalar(scalar) => Node::Scalar(match scalar.as_str() {
                "string" => "String",
                "bool" => "Bool",
                "int32" => "Int32",
                "int64" => "Int64",
                "double" => "Double",
                "bytes" => "Bytes",
                other => return Err(format!("no type for protobuf's `{other}`")),
            }),
            Type::Message(key) => match (leaf(key), self.names.get(key)) {
                (Some(leaf), _) => Node::Scalar(leaf),
                (None, Some(name)) if UNIONS.contains(&key.as_str()) => {
                    Node::Union(self.number(name)?)
                }
                (None, Some(name)) => Node::Message(self.number(name)?),
                // A list that is the value of a map has to be a message in protobuf.
                (None, None) => match self.protobuf(key)?.fields.as_slice() {
                    [only] if only.name == "items" => {
                        Node::List(self.kind_of_items(only)?, List::Atomic)
                    }
                    _ => return Err(format!("`{key}` is not in the OpenAPI document")),
                },
            },
        })
    }

    fn kind_of_items(&mut self, field: &protobuf::Field) -> Result<usize, String> {
        let (Shape::One(kind) | Shape::List(kind) | Shape::Map(kind)) = &field.shape;
        let node = self.node(kind)?;
        Ok(self.intern(node))
    }

    fn intern(&mut self, node: Node) -> usize {
        match self.arena.types.iter().position(|known| *known == node) {
            Some(place) => place,
            None => {
                self.arena.types.push(node);
                self.arena.types.len() - 1
            }
        }
    }
}

/// Wires of a message before its fields have their places.
enum Plan {
    Field(u16, String),
    Embedded(u16, Vec<Plan>),
}
