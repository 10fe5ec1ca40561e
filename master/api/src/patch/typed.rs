//! What is applied has to fit the table of fields: who owns a field that does not exist, or which
//! of two items of the same name, nobody could say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::field_set::Part;
use super::field_type;
use crate::schema::{ListType, Type};

/// Most problems that an answer names.
const MENTIONED_MAX: usize = 100;

/// Where in the object the walk is.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    part: &'a Part<'a>,
}

/// What does not fit, in upstream's words; nothing if all does.
pub(super) fn problems(kind: Type<'_>, object: &Value) -> Vec<String> {
    let mut walk = Walk { problems: Vec::new() };
    walk.value(kind, object, None);
    walk.problems
}

struct Walk {
    problems: Vec<String>,
}

impl Walk {
    fn value(&mut self, kind: Type<'_>, value: &Value, place: Option<&Place<'_>>) {
        match (kind, value) {
            (Type::Message(message), Value::Object(fields)) => {
                for (key, value) in fields {
                    let part = Part::Field(key);
                    let here = Place { parent: place, part: &part };
                    let own = message.typed() && (key == "apiVersion" || key == "kind");
                    if own {
                        continue;
                    }
                    match message.field(key) {
                        Some(field) => self.value(field.kind(), value, Some(&here)),
                        None => self.problem(Some(&here), "field not declared in schema"),
                    }
                }
            }
            (Type::Map(_) | Type::AtomicMap(_), Value::Object(fields)) => {
                for (key, value) in fields {
                    let part = Part::Field(key);
                    let here = Place { parent: place, part: &part };
                    self.value(field_type(kind, key), value, Some(&here));
                }
            }
            (Type::List(item_kind, list_type), Value::Array(items)) => {
                self.items(item_kind.kind(), list_type, items, place);
            }
            _ => {}
        }
    }

    fn items(
        &mut self,
        kind: Type<'_>,
        list_type: ListType<'_>,
        items: &[Value],
        place: Option<&Place<'_>>,
    ) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if let ListType::Map(keys) = list_type {
                // Only protocols have a default.
                let missing =
                    keys.iter().find(|key| item.get(*key).is_none() && *key != "protocol");
                if let Some(key) = missing {
                    let why = format!(
                        "element {index}: associative list with keys has an element that omits key \
                         field \"{key}\" (and doesn't have default value)"
                    );
                    self.problem(place, &why);
                    continue;
                }
            }
            let part = match list_type {
                ListType::Atomic => Part::Item(format!("i:{index}").into()),
                ListType::Map(_) | ListType::Set => Part::of_item(list_type, item),
            };
            let here = Place { parent: place, part: &part };
            self.value(kind, item, Some(&here));
            if !matches!(list_type, ListType::Atomic) && seen.contains(&part) {
                let why = format!("duplicate entries for key {}", part.display());
                self.problem(place, &why);
            }
            seen.insert(part);
        }
    }

    fn problem(&mut self, place: Option<&Place<'_>>, why: &str) {
        if self.problems.len() >= MENTIONED_MAX {
            return;
        }
        let mut parts: Vec<String> =
            std::iter::successors(place, |place| place.parent).map(|it| shown(it.part)).collect();
        parts.reverse();
        self.problems.push(format!("{}: {why}", parts.concat()));
    }
}

fn shown(part: &Part<'_>) -> String {
    super::bounds::shortened(&part.display())
}
