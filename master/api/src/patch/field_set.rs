//! Sets of fields, as `managedFields` names them, kept as a tree: what paths have in common is
//! there once, so that all that is done with sets takes one walk.
//!
//! Parts are `f:field`, `k:{"key":"value"}` for an item of a list, and `v:value` for an item of a
//! set. They borrow their text from the objects that they are about.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::ListType;

/// Default of a key of a list that an item leaves out: only protocols have one.
const PROTOCOL: &str = "TCP";
/// What says in `fieldsV1` that a path that others continue is owned itself.
const SELF: &str = ".";

/// One part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part<'a> {
    /// A field of an object.
    Field(&'a str),
    /// An item of a list or set, as `fieldsV1` writes it.
    Item(Cow<'a, str>),
}

/// Fields that someone owns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FieldSet<'a> {
    /// Whether the path to here is in the set.
    pub(super) own: bool,
    /// What is in the set below here. Invariant: none of them is empty.
    pub(super) children: BTreeMap<Part<'a>, FieldSet<'a>>,
}

impl<'a> Part<'a> {
    /// The part of an item of a list.
    pub(super) fn of_item(list_type: ListType<'_>, item: &Value) -> Self {
        let ListType::Map(keys) = list_type else {
            return Self::Item(format!("v:{item}").into());
        };
        // Sorted, so that the same item always has the same name.
        let mut sorted: Vec<&str> = keys.iter().collect();
        sorted.sort_unstable();
        let mut text = String::from("k:{");
        for key in sorted {
            let value = match item.get(key) {
                Some(value) => value.to_string(),
                None if key == "protocol" => format!("\"{PROTOCOL}\""),
                None => continue,
            };
            if !text.ends_with('{') {
                text.push(',');
            }
            text.push_str(&format!("\"{key}\":{value}"));
        }
        text.push('}');
        Self::Item(text.into())
    }

    /// Reads a part of `fieldsV1`; none if it is of no known kind.
    fn read(text: &'a str) -> Option<Self> {
        match text.split_once(':') {
            Some(("f", field)) => Some(Self::Field(field)),
            Some(("k" | "v" | "i", _)) => Some(Self::Item(Cow::Borrowed(text))),
            Some(_) | None => None,
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Field(field) => format!("f:{field}"),
            Self::Item(item) => item.to_string(),
        }
    }

    /// The part as messages show it: `.image`, `[name="a"]`, `[="x"]`.
    pub(super) fn display(&self) -> String {
        match self {
            Self::Field(field) => format!(".{field}"),
            Self::Item(item) => match item.split_once(':') {
                Some(("k", keys)) => {
                    let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                    let keys = keys.as_object().into_iter().flatten();
                    let keys: Vec<String> =
                        keys.map(|(key, value)| format!("{key}={value}")).collect();
                    format!("[{}]", keys.join(","))
                }
                Some((_, value)) => format!("[={value}]"),
                None => item.to_string(),
            },
        }
    }

    /// Whether owning it is shared: an item of a list is, what is in it may clash.
    pub(super) fn is_item(&self) -> bool {
        matches!(self, Self::Item(_))
    }
}

impl<'a> FieldSet<'a> {
    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        !self.own && self.children.is_empty()
    }

    /// What is below a part.
    pub(super) fn get<'b>(&'b self, part: &Part<'b>) -> Option<&'b FieldSet<'b>> {
        self.children.get(part)
    }

    /// Puts a set below a part, unless it is empty.
    pub(super) fn put(&mut self, part: Part<'a>, child: Self) {
        if !child.is_empty() {
            self.children.insert(part, child);
        }
    }

    /// Takes another set in.
    pub(super) fn add(&mut self, other: &Self) {
        self.own |= other.own;
        for (part, theirs) in &other.children {
            match self.children.get_mut(part) {
                Some(ours) => ours.add(theirs),
                None => {
                    self.children.insert(part.clone(), theirs.clone());
                }
            }
        }
    }

    /// What both hold.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { own: self.own && other.own, children: BTreeMap::new() };
        for (part, ours) in &self.children {
            if let Some(theirs) = other.children.get(part) {
                both.put(part.clone(), ours.intersection(theirs));
            }
        }
        both
    }

    /// Drops the items of lists: that they are there is shared, what is in them may clash.
    pub(super) fn without_items(mut self) -> Self {
        for (part, child) in &mut self.children {
            if part.is_item() {
                child.own = false;
            }
        }
        let children = self.children.into_iter().map(|(part, child)| (part, child.without_items()));
        Self { own: self.own, children: children.filter(|(_, child)| !child.is_empty()).collect() }
    }

    /// Drops what another set holds.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.own &= !other.own;
        self.children.retain(|part, ours| {
            if let Some(theirs) = other.children.get(part) {
                ours.subtract(theirs);
            }
            !ours.is_empty()
        });
    }

    /// Number of paths.
    pub(super) fn len(&self) -> usize {
        usize::from(self.own) + self.children.values().map(Self::len).sum::<usize>()
    }

    /// The first so many paths as messages show them: `.spec.containers[name="a"].image`.
    pub(super) fn display(&self, most: usize) -> Vec<String> {
        fn walk(set: &FieldSet<'_>, path: &str, most: usize, shown: &mut Vec<String>) {
            if set.own && shown.len() < most {
                shown.push(path.to_owned());
            }
            for (part, child) in &set.children {
                if shown.len() >= most {
                    return;
                }
                walk(child, &format!("{path}{}", part.display()), most, shown);
            }
        }
        let mut shown = Vec::new();
        walk(self, "", most, &mut shown);
        shown
    }

    /// Reads `fieldsV1`.
    pub(super) fn read(fields: &'a Value) -> Self {
        fn read<'a>(children: &'a Map<String, Value>, root: bool) -> FieldSet<'a> {
            let mut set = FieldSet { own: children.is_empty() && !root, ..FieldSet::default() };
            for (text, child) in children {
                if text == SELF {
                    set.own = true;
                } else if let (Some(part), Some(child)) = (Part::read(text), child.as_object()) {
                    set.put(part, read(child, false));
                }
            }
            set
        }
        fields.as_object().map(|fields| read(fields, true)).unwrap_or_default()
    }

    /// Writes `fieldsV1`.
    pub(super) fn write(&self) -> Value {
        let mut fields: Map<String, Value> =
            self.children.iter().map(|(part, child)| (part.write(), child.write())).collect();
        if self.own && !fields.is_empty() {
            fields.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        Value::Object(fields)
    }
}
