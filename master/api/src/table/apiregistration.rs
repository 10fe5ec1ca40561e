//! Columns of APIService.

use serde_json::Value;

use super::{Column, age, name, name_column, text};
use crate::object;

pub(crate) const API_SERVICE: &[Column] =
    &[name_column(), text("Service"), text("Available"), text("Age")];

pub(crate) fn api_service(object: &Value, now: i64) -> Vec<Value> {
    let service = match object.pointer("/spec/service") {
        None | Some(Value::Null) => "Local".to_owned(),
        Some(service) => {
            let [namespace, name] = ["/namespace", "/name"].map(|at| object::text(service, at));
            format!("{namespace}/{name}")
        }
    };
    let conditions = object::items(object, "/status/conditions");
    let available = match conditions.iter().find(|it| object::text(it, "/type") == "Available") {
        None => "Unknown".to_owned(),
        Some(condition) => {
            match (object::text(condition, "/status"), object::text(condition, "/reason")) {
                ("True", _) => "True".to_owned(),
                (status, reason) => format!("{status} ({reason})"),
            }
        }
    };
    vec![name(object), service.into(), available.into(), age(object, now)]
}
