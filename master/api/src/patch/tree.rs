//! An object as a tree of the parts that managers own: each value is found by its path at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::field_set::{FieldSet, Part};
use super::field_type;
use crate::schema::{ListType, Type};

/// Metadata that nobody owns: the name, and what the system writes.
const UNOWNED_METADATA: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Which part of an object a write is about: of the rest nothing is taken, so nothing is owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The whole object: its kind has no status apart from the rest.
    Whole,
    /// Everything but `status`.
    Main,
    /// `metadata` and `status`.
    Status,
}

/// A value with what it holds.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// The value itself.
    value: &'a Value,
    /// Whether it is owned as a whole, apart from what is below it.
    own: bool,
    /// What is below it.
    children: BTreeMap<Part<'a>, Tree<'a>>,
}

impl<'a> Tree<'a> {
    /// The tree of a value of that type.
    pub(super) fn of(kind: Type<'_>, value: &'a Value) -> Self {
        match (kind, value) {
            (Type::Message(message), Value::Object(fields))
                if !fields.is_empty() && !message.atomic() =>
            {
                Self { value, own: false, children: of_fields(kind, fields) }
            }
            (Type::Map(_), Value::Object(fields)) if !fields.is_empty() => {
                Self { value, own: false, children: of_fields(kind, fields) }
            }
            (
                Type::List(item_kind, list_type @ (ListType::Map(_) | ListType::Set)),
                Value::Array(items),
            ) if !items.is_empty() => {
                let mut children = BTreeMap::new();
                for item in items {
                    let below = match (list_type, item) {
                        (ListType::Map(_), Value::Object(fields)) => {
                            of_fields(item_kind.kind(), fields)
                        }
                        _ => BTreeMap::new(),
                    };
                    let child = Self { value: item, own: true, children: below };
                    // Of items of the same name the first is the one that is merged.
                    children.entry(Part::of_item(list_type, item)).or_insert(child);
                }
                Self { value, own: false, children }
            }
            _ => Self { value, own: true, children: BTreeMap::new() },
        }
    }

    /// All that a write of that scope sets in an object.
    pub(super) fn owned(&self, scope: Scope) -> FieldSet<'a> {
        let mut set = FieldSet::default();
        for (part, child) in self.counted(scope) {
            set.put(part.clone(), child.all(part == &Part::Field("metadata")));
        }
        set
    }

    /// All that a write of that scope sets in an object and that is not so in another one.
    pub(super) fn changed(&self, before: &Self, scope: Scope) -> FieldSet<'a> {
        let mut set = FieldSet::default();
        for (part, child) in self.counted(scope) {
            let was = before.children.get(part);
            set.put(part.clone(), child.changes(part, was, part == &Part::Field("metadata")));
        }
        set
    }

    /// The parts of an object that a write of that scope is about.
    fn counted(&self, scope: Scope) -> impl Iterator<Item = (&Part<'a>, &Self)> {
        self.children.iter().filter(move |(part, _)| match part {
            Part::Field("apiVersion" | "kind") | Part::Item(_) => false,
            Part::Field("status") => scope != Scope::Main,
            Part::Field("metadata") => true,
            Part::Field(_) => scope != Scope::Status,
        })
    }

    fn all(&self, metadata: bool) -> FieldSet<'a> {
        let mut set = FieldSet { own: self.own, children: BTreeMap::new() };
        for (part, child) in self.below(metadata) {
            set.put(part.clone(), child.all(false));
        }
        set
    }

    fn changes(&self, part: &Part<'a>, before: Option<&Self>, metadata: bool) -> FieldSet<'a> {
        let differs = match before {
            None => true,
            // That an item is there is no change; what is in it may be one.
            Some(_) if part.is_item() => false,
            Some(before) => before.value != self.value,
        };
        let mut set = FieldSet { own: self.own && differs, children: BTreeMap::new() };
        for (part, child) in self.below(metadata) {
            let was = before.and_then(|before| before.children.get(part));
            set.put(part.clone(), child.changes(part, was, false));
        }
        set
    }

    fn below(&self, metadata: bool) -> impl Iterator<Item = (&Part<'a>, &Self)> {
        self.children.iter().filter(move |(part, _)| {
            !(metadata && matches!(part, Part::Field(field) if UNOWNED_METADATA.contains(field)))
        })
    }

    /// Drops from a set what is not there any more, and what `taken` says that another has taken;
    /// items of lists are never taken.
    pub(super) fn keep_present(&self, set: &mut FieldSet<'_>, taken: Option<&FieldSet<'_>>) {
        set.children.retain(|part, child| {
            let Some(here) = self.children.get(&borrowed(part)) else { return false };
            let taken = taken.and_then(|taken| taken.children.get(&borrowed(part)));
            if !part.is_item() && taken.is_some_and(|taken| taken.own) {
                child.own = false;
            }
            here.keep_present(child, taken);
            !child.is_empty()
        });
    }
}

/// The same part for a shorter life, so that sets of different origin can be compared.
fn borrowed<'b>(part: &'b Part<'_>) -> Part<'b> {
    match part {
        Part::Field(field) => Part::Field(field),
        Part::Item(item) => Part::Item(std::borrow::Cow::Borrowed(item)),
    }
}

fn of_fields<'a>(kind: Type<'_>, fields: &'a Map<String, Value>) -> BTreeMap<Part<'a>, Tree<'a>> {
    fields
        .iter()
        .map(|(key, value)| (Part::Field(key), Tree::of(field_type(kind, key), value)))
        .collect()
}
