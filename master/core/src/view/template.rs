//! A pod template: kept as the JSON that it was stored as, since it is only copied and compared.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Arc<str>);

impl Template {
    /// The template as a JSON value; null if there is none.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Arc::from(raw.get())))
    }
}
