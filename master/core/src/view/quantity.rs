//! Resource quantities: `250m`, `1.5`, `64Mi`, `1e3`.
//!
//! Only what scheduling compares: values are rounded up to whole units (or thousandths for CPU).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

/// Reads a quantity in thousandths of its unit, rounded up; `None` if it is none or overflows.
#[must_use]
pub fn parse_milli(text: &str) -> Option<i64> {
    let text = text.trim();
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (number, negative) = match number.strip_prefix('-') {
        Some(number) => (number, true),
        None => (number.strip_prefix('+').unwrap_or(number), false),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !digits || whole.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let mut value: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut divisor: i128 = 1;
    for digit in fraction.chars() {
        value = value.checked_mul(10)?.checked_add(i128::from(digit.to_digit(10)?))?;
        divisor = divisor.checked_mul(10)?;
    }
    let (factor, scale): (i128, i128) = match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "" => (1_000, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1_000 << 10, 1),
        "Mi" => (1_000 << 20, 1),
        "Gi" => (1_000 << 30, 1),
        "Ti" => (1_000 << 40, 1),
        "Pi" => (1_000 << 50, 1),
        "Ei" => (1_000 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent >= 0 { (power.checked_mul(1_000)?, 1) } else { (1_000, power) }
        }
    };
    let divisor = divisor.checked_mul(scale)?;
    let product = value.checked_mul(factor)?;
    let rounded = product.checked_add(divisor - 1)?.div_euclid(divisor);
    // What does not fit is as good as infinite: capacity is never that large.
    let clamped = i64::try_from(rounded).unwrap_or(i64::MAX);
    Some(if negative { -clamped } else { clamped })
}

/// Reads a quantity in whole units, rounded up; saturates.
#[must_use]
pub fn parse_whole(text: &str) -> Option<i64> {
    let trimmed = text.trim();
    // Large byte counts overflow thousandths, so plain integers and binary suffixes are read apart.
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, suffix) = trimmed.split_at(end);
    let shift = match suffix {
        "" => Some(0),
        "Ki" => Some(10_u32),
        "Mi" => Some(20),
        "Gi" => Some(30),
        "Ti" => Some(40),
        "Pi" => Some(50),
        "Ei" => Some(60),
        _ => None,
    };
    if let (Ok(number), Some(shift)) = (number.parse::<i64>(), shift) {
        return Some(number.saturating_mul(1_i64 << shift));
    }
    let milli = parse_milli(trimmed)?;
    Some(if milli == i64::MAX {
        milli
    } else {
        milli.div_euclid(1000) + i64::from(milli.rem_euclid(1000) > 0)
    })
}

/// An amount of each resource: requests of a pod, or what a node can give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory: i64,
    /// Local scratch space in bytes.
    pub ephemeral_storage: i64,
    /// Number of pods; meaningful for nodes only.
    pub pods: i64,
    /// Extended resources and huge pages by name, in whole units.
    pub extended: BTreeMap<Arc<str>, i64>,
}

impl Resources {
    /// Adds `other` to this, saturating.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` from this, saturating.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises each amount to that of `other`.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.extended {
            let present = self.extended.entry(Arc::clone(name)).or_default();
            *present = with(*present, *amount);
        }
    }
}

/// A quantity as JSON holds it: a string, or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Text(String),
    Integer(i64),
    Float(f64),
}

impl<'de> Deserialize<'de> for Resources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = BTreeMap::<Arc<str>, Raw>::deserialize(deserializer)?;
        let mut resources = Self::default();
        for (name, quantity) in raw {
            let text = match quantity {
                Raw::Text(text) => text,
                Raw::Integer(number) => number.to_string(),
                Raw::Float(number) => number.to_string(),
            };
            let parse = if &*name == "cpu" { parse_milli } else { parse_whole };
            let amount = parse(&text).ok_or_else(|| {
                serde::de::Error::custom(format!("`{text}` is not a quantity of `{name}`"))
            })?;
            match &*name {
                "cpu" => resources.cpu_milli = amount,
                "memory" => resources.memory = amount,
                "ephemeral-storage" => resources.ephemeral_storage = amount,
                "pods" => resources.pods = amount,
                _ => {
                    resources.extended.insert(name, amount);
                }
            }
        }
        Ok(resources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_read() {
        for (text, wanted) in [
            ("250m", 250),
            ("1.5", 1500),
            ("2", 2000),
            ("1e3", 1_000_000),
            ("100u", 1),
            (".5", 500),
        ] {
            assert_eq!(parse_milli(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn bytes_are_read() {
        for (text, wanted) in [
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("1k", 1000),
            ("128974848", 128_974_848),
            ("1500m", 2),
        ] {
            assert_eq!(parse_whole(text), Some(wanted), "{text}");
        }
        assert_eq!(parse_whole("900Ei"), Some(i64::MAX));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "1x", "1..2", "--1", "1e", "."] {
            assert_eq!(parse_milli(text), None, "{text}");
        }
    }
}
