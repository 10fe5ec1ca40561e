//! Rules for where a pod may run: affinity, tolerations, spread, gates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::{names, one_of, selector};
use crate::object;
use crate::status::FieldError;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// All of it, in the spec of a pod.
pub(super) fn check(spec: &Value, field: &str, errors: &mut Errors) {
    affinity(spec.get("affinity").unwrap_or(&Value::Null), &format!("{field}.affinity"), errors);
    tolerations(spec, field, errors);
    spread(spec, field, errors);
    let mut seen = BTreeSet::new();
    for (index, gate) in object::items(spec, "/schedulingGates").iter().enumerate() {
        let field = format!("{field}.schedulingGates[{index}]");
        let name = object::text(gate, "/name");
        selector::key(name, &field, errors);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(field, name));
        }
    }
}

fn affinity(affinity: &Value, field: &str, errors: &mut Errors) {
    if let Some(node) = affinity.get("nodeAffinity") {
        let field = format!("{field}.nodeAffinity");
        if let Some(required) = node.get(REQUIRED) {
            selector::node_terms(required, &format!("{field}.{REQUIRED}"), errors);
        }
        for (index, term) in object::items(node, &format!("/{PREFERRED}")).iter().enumerate() {
            let field = format!("{field}.{PREFERRED}[{index}]");
            weight(term, &field, errors);
            let preference = term.get("preference").unwrap_or(&Value::Null);
            selector::node_term(preference, &format!("{field}.preference"), errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pod) = affinity.get(kind) else { continue };
        let field = format!("{field}.{kind}");
        for (index, term) in object::items(pod, &format!("/{REQUIRED}")).iter().enumerate() {
            pod_term(term, &format!("{field}.{REQUIRED}[{index}]"), errors);
        }
        for (index, weighted) in object::items(pod, &format!("/{PREFERRED}")).iter().enumerate() {
            let field = format!("{field}.{PREFERRED}[{index}]");
            weight(weighted, &field, errors);
            let term = weighted.get("podAffinityTerm").unwrap_or(&Value::Null);
            pod_term(term, &format!("{field}.podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &Value, field: &str, errors: &mut Errors) {
    let weight = object::integer(term, "/weight");
    if !(1..=100).contains(&weight) {
        let detail = "must be in the range 1-100";
        errors.push(FieldError::invalid(format!("{field}.weight"), weight, detail));
    }
}

fn pod_term(term: &Value, field: &str, errors: &mut Errors) {
    for name in ["labelSelector", "namespaceSelector"] {
        if let Some(found) = term.get(name) {
            selector::labels(found, &format!("{field}.{name}"), errors);
        }
    }
    for name in object::items(term, "/namespaces").iter().filter_map(Value::as_str) {
        let wrong = names::dns_label(name).into_iter();
        errors
            .extend(wrong.map(|why| FieldError::invalid(format!("{field}.namespace"), name, &why)));
    }
    let key = object::text(term, "/topologyKey");
    selector::topology_key(key, &format!("{field}.topologyKey"), errors);
}

fn tolerations(spec: &Value, field: &str, errors: &mut Errors) {
    for (index, toleration) in object::items(spec, "/tolerations").iter().enumerate() {
        if errors.full() {
            return;
        }
        let field = format!("{field}.tolerations[{index}]");
        let text = |key: &str| object::text(toleration, &format!("/{key}"));
        let (key, operator, effect) = (text("key"), text("operator"), text("effect"));
        if !key.is_empty() {
            selector::key(key, &format!("{field}.key"), errors);
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            errors.push(FieldError::invalid(format!("{field}.operator"), operator, detail));
        }
        match operator {
            "Exists" if !text("value").is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                let field = format!("{field}.operator");
                errors.push(FieldError::invalid(field, text("value"), detail));
            }
            "" | "Equal" => {
                let wrong = names::label_value(text("value")).join(";");
                if !wrong.is_empty() {
                    let field = format!("{field}.operator");
                    errors.push(FieldError::invalid(field, text("value"), &wrong));
                }
            }
            "Exists" => {}
            other => {
                let known = ["Equal", "Exists"];
                errors.push(FieldError::unsupported(format!("{field}.operator"), other, &known));
            }
        }
        if !effect.is_empty() {
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            errors.extend(one_of(format!("{field}.effect"), effect, &known));
        }
        if toleration.get("tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(format!("{field}.effect"), effect, detail));
        }
    }
}

fn spread(spec: &Value, field: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    let constraints = object::items(spec, "/topologySpreadConstraints");
    for (index, constraint) in constraints.iter().enumerate() {
        let field = format!("{field}.topologySpreadConstraints[{index}]");
        let text = |key: &str| object::text(constraint, &format!("/{key}"));
        let positive = |name: &str| {
            constraint.get(name).and_then(Value::as_i64).filter(|value| *value <= 0).map(|value| {
                FieldError::invalid(format!("{field}.{name}"), value, "must be greater than zero")
            })
        };
        let skew = object::integer(constraint, "/maxSkew");
        if skew <= 0 {
            let detail = "must be greater than zero";
            errors.push(FieldError::invalid(format!("{field}.maxSkew"), skew, detail));
        }
        let key = text("topologyKey");
        selector::topology_key(key, &format!("{field}.topologyKey"), errors);
        let action = text("whenUnsatisfiable");
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        errors.extend(one_of(format!("{field}.whenUnsatisfiable"), action, &known));
        if !seen.insert((key, action)) {
            let field = format!("{field}.{{topologyKey, whenUnsatisfiable}}");
            errors.push(FieldError::duplicate(field, format!("{{{key}, {action}}}")));
        }
        errors.extend(positive("minDomains"));
        if let Some(domains) = constraint.get("minDomains").filter(|_| action != "DoNotSchedule") {
            let detail =
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            errors.push(FieldError::invalid(
                format!("{field}.minDomains"),
                domains.clone(),
                &detail,
            ));
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(policy) = constraint.get(name).and_then(Value::as_str) {
                errors.extend(one_of(format!("{field}.{name}"), policy, &["Honor", "Ignore"]));
            }
        }
        if let Some(found) = constraint.get("labelSelector") {
            selector::labels(found, &format!("{field}.labelSelector"), errors);
        }
    }
}
