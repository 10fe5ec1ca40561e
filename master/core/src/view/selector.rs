//! Label selectors: `matchLabels` and `matchExpressions`.

use std::sync::Arc;

use serde::Deserialize;

use super::labels::Labels;
use super::null_as_default;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Operator {
    /// The value is one of the listed.
    In,
    /// The label is missing or its value is none of the listed.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// The value is an integer above the listed one (node affinity only).
    Gt,
    /// The value is an integer below the listed one (node affinity only).
    Lt,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// The comparison.
    pub operator: Operator,
    /// What to compare with.
    #[serde(default, deserialize_with = "null_as_default")]
    pub values: Vec<Arc<str>>,
}

impl Requirement {
    /// Whether a label of this value (`None` if missing) satisfies it.
    #[must_use]
    pub fn accepts(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|wanted| &**wanted == value);
        let bound = || self.values.first().and_then(|bound| bound.parse::<i64>().ok());
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => number().zip(bound()).is_some_and(|(number, bound)| number > bound),
            Operator::Lt => number().zip(bound()).is_some_and(|(number, bound)| number < bound),
        }
    }
}

/// A workload's selector of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Pairs that must all be present.
    #[serde(deserialize_with = "null_as_default")]
    pub match_labels: Labels,
    /// Requirements that must all hold.
    #[serde(deserialize_with = "null_as_default")]
    pub match_expressions: Vec<Requirement>,
}

impl LabelSelector {
    /// Whether `labels` satisfy everything. An empty selector selects nothing here: a workload
    /// without a selector must not adopt all pods of its namespace.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        let empty = self.match_labels.is_empty() && self.match_expressions.is_empty();
        !empty && self.finds(labels)
    }

    /// Whether `labels` satisfy everything; an empty selector finds everything.
    #[must_use]
    pub fn finds(&self, labels: &Labels) -> bool {
        labels.contains_all(&self.match_labels)
            && self.match_expressions.iter().all(|wanted| wanted.accepts(labels.get(&wanted.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &[(&str, &str)], wanted: bool) {
        let selector: LabelSelector = serde_json::from_str(selector).unwrap();
        assert_eq!(selector.selects(&labels.iter().copied().collect()), wanted, "{selector:?}");
    }

    #[test]
    fn selectors_match_as_upstream() {
        check(r#"{}"#, &[("a", "1")], false);
        check(r#"{"matchLabels":{"a":"1"}}"#, &[("a", "1"), ("b", "2")], true);
        check(r#"{"matchLabels":{"a":"1"}}"#, &[("a", "2")], false);
        let not_in = r#"{"matchExpressions":[{"key":"a","operator":"NotIn","values":["1"]}]}"#;
        check(not_in, &[], true);
        check(not_in, &[("a", "1")], false);
        let gone = r#"{"matchExpressions":[{"key":"a","operator":"DoesNotExist"}]}"#;
        check(gone, &[("a", "")], false);
        check(gone, &[("b", "")], true);
    }
}
