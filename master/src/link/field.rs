//! Reads fields of stored objects, where a missing field, a null and a wrong type are all "not set".
//!
//! Stored objects have passed the API's validation; what is left is to be robust.

use std::collections::BTreeMap;

use serde_json::Value;

/// A value, or null where there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a>(pub(super) &'a Value);

static NULL: Value = Value::Null;

impl<'a> Field<'a> {
    /// The field of an object.
    pub(super) fn get(self, name: &str) -> Self {
        Self(self.0.get(name).unwrap_or(&NULL))
    }

    /// True if it is there at all.
    pub(super) fn is_set(self) -> bool {
        !self.0.is_null()
    }

    /// A text, or the empty one.
    pub(super) fn text(self) -> &'a str {
        self.0.as_str().unwrap_or_default()
    }

    /// A text of one's own, or the empty one.
    pub(super) fn string(self) -> String {
        self.text().to_owned()
    }

    /// A number, if it is in range.
    pub(super) fn integer<T: TryFrom<i64>>(self) -> Option<T> {
        self.0.as_i64().and_then(|number| T::try_from(number).ok())
    }

    /// A user's or group's id. One out of range, stored when such numbers were still taken, must not
    /// mean the image's user: it becomes the number that no node takes.
    pub(super) fn id(self) -> Option<u32> {
        self.is_set().then(|| self.integer().unwrap_or(u32::MAX))
    }

    /// A boolean.
    pub(super) fn flag(self) -> Option<bool> {
        self.0.as_bool()
    }

    /// The items of a list.
    pub(super) fn items(self) -> impl Iterator<Item = Self> + use<'a> {
        self.0.as_array().into_iter().flatten().map(Self)
    }

    /// The texts of a list.
    pub(super) fn strings(self) -> Vec<String> {
        self.items().map(Self::string).collect()
    }

    /// The fields of an object.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a str, Self)> + use<'a> {
        self.0.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), Self(value)))
    }

    /// The texts of an object.
    pub(super) fn string_map(self) -> BTreeMap<String, String> {
        self.entries().map(|(name, value)| (name.to_owned(), value.string())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn id_out_of_range_is_not_the_images_user() {
        let check = |value: Value, id| assert_eq!(Field(&value).get("user").id(), id, "{value}");
        check(json!({"user": 0}), Some(0));
        check(json!({"user": 4_294_967_295_u32}), Some(u32::MAX));
        for odd in [json!(-1), json!(1_u64 << 32), json!(u64::MAX), json!("root")] {
            check(json!({"user": odd}), Some(u32::MAX));
        }
        check(json!({}), None);
        check(json!({"user": null}), None);
    }
}
