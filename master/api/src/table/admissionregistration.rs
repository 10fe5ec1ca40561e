//! Columns of the kinds of `admissionregistration.k8s.io`.

use serde_json::Value;

use super::{Column, age, integer, name, name_column, text};
use crate::object;

pub(crate) const WEBHOOKS: &[Column] = &[name_column(), integer("Webhooks"), text("Age")];

pub(crate) fn webhooks(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), object::items(object, "/webhooks").len().into(), age(object, now)]
}

pub(crate) const VALIDATING_POLICY: &[Column] =
    &[name_column(), integer("Validations"), text("ParamKind"), text("Age")];

pub(crate) fn validating_policy(object: &Value, now: i64) -> Vec<Value> {
    let count = object::items(object, "/spec/validations").len();
    vec![name(object), count.into(), parameter_kind(object), age(object, now)]
}

pub(crate) const MUTATING_POLICY: &[Column] =
    &[name_column(), integer("Mutations"), text("ParamKind"), text("Age")];

pub(crate) fn mutating_policy(object: &Value, now: i64) -> Vec<Value> {
    let count = object::items(object, "/spec/mutations").len();
    vec![name(object), count.into(), parameter_kind(object), age(object, now)]
}

pub(crate) const BINDING: &[Column] =
    &[name_column(), text("PolicyName"), text("ParamRef"), text("Age")];

pub(crate) fn binding(object: &Value, now: i64) -> Vec<Value> {
    let parameter = object.pointer("/spec/paramRef").map_or_else(
        || "<unset>".to_owned(),
        |parameter| {
            let name = object::text(parameter, "/name");
            match object::text(parameter, "/namespace") {
                "" => format!("*/{name}"),
                namespace => format!("{namespace}/{name}"),
            }
        },
    );
    vec![
        name(object),
        object::text(object, "/spec/policyName").into(),
        parameter.into(),
        age(object, now),
    ]
}

fn parameter_kind(object: &Value) -> Value {
    object.pointer("/spec/paramKind").map_or_else(
        || "<unset>".into(),
        |kind| {
            format!("{}/{}", object::text(kind, "/apiVersion"), object::text(kind, "/kind")).into()
        },
    )
}
