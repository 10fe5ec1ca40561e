//! JSON pointers, RFC 6901, with the indices from the end of a list that upstream knows, too.

use serde_json::Value;

use super::bounds;

/// A pointer from the root of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    parts: Vec<String>,
}

/// Some first parts of a pointer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parents<'a>(&'a [String]);

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArrayIndex {
    /// After the last item.
    End,
    /// Counted from the start.
    At(usize),
    /// Counted from the end: the last item is 1.
    FromEnd(usize),
}

impl Pointer {
    /// Reads a pointer; none if it does not start at the root.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { parts: Vec::new() });
        }
        let parts = text.strip_prefix('/')?.split('/');
        Some(Self { parts: parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect() })
    }

    /// Number of its parts.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether it leads to something within what `other` leads to.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.parts.len() > other.parts.len() && self.parts.starts_with(&other.parts)
    }

    /// All parts but the last, and the last; none for the root.
    pub(super) fn split_last(&self) -> Option<(Parents<'_>, &str)> {
        self.parts.split_last().map(|(last, parents)| (Parents(parents), last.as_str()))
    }

    /// The value that it leads to.
    pub(super) fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.parts.iter().try_fold(value, |value, part| match value {
            Value::Object(fields) => fields.get(part),
            Value::Array(items) => items.get(ArrayIndex::parse(part)?.of(items.len())?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// The value that it leads to, to change it.
    pub(super) fn find_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        Parents(&self.parts).find_mut(value)
    }

    /// The pointer as messages show it.
    pub(super) fn shown(&self) -> String {
        let parts: String = self.parts.iter().take(100).map(|part| format!("/{part}")).collect();
        bounds::shortened(&parts)
    }
}

impl Parents<'_> {
    /// The value that they lead to, to change it.
    pub(super) fn find_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        self.0.iter().try_fold(value, |value, part| match value {
            Value::Object(fields) => fields.get_mut(part),
            Value::Array(items) => {
                let index = ArrayIndex::parse(part)?.of(items.len())?;
                items.get_mut(index)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

impl ArrayIndex {
    /// Reads an index; leading zeros and signs are none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "-" {
            return Some(Self::End);
        }
        let (digits, negative) = match text.strip_prefix('-') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let canonical = digits == "0" || !digits.starts_with('0');
        if !canonical || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: usize = digits.parse().ok()?;
        match (negative, number) {
            (true, 0) => None,
            (true, back) => Some(Self::FromEnd(back)),
            (false, index) => Some(Self::At(index)),
        }
    }

    /// Index of an item that is there, in a list of this length.
    pub(super) fn of(self, length: usize) -> Option<usize> {
        let index = match self {
            Self::End => return None,
            Self::At(index) => index,
            Self::FromEnd(back) => length.checked_sub(back)?,
        };
        (index < length).then_some(index)
    }
}
