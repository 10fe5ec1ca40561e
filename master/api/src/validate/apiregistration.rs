//! Rules for APIServices: bounds and words as upstream's.

use serde_json::Value;

use super::errors::Errors;
use super::names;
use crate::object;
use crate::status::FieldError;

const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1_000;

pub(crate) fn api_service(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let [group, version, name] =
        ["/spec/group", "/spec/version", "/metadata/name"].map(|at| object::text(object, at));
    let wanted = format!("{version}.{group}");
    if name != wanted {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        errors.push(FieldError::invalid("metadata.name", name, &detail));
    }
    let invalid = |field: &str, value: &str, whys: Vec<String>| {
        let (field, value) = (field.to_owned(), value.to_owned());
        whys.into_iter().map(move |why| FieldError::invalid(&field, value.as_str(), &why))
    };
    if !group.is_empty() {
        errors.extend(invalid("spec.group", group, names::dns_subdomain(group)));
    }
    if version.is_empty() {
        errors.push(FieldError::required("spec.version", ""));
    } else {
        errors.extend(invalid("spec.version", version, names::dns_1035_label(version)));
    }
    for (field, greatest) in
        [("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)]
    {
        let priority = object.pointer(&format!("/spec/{field}")).and_then(Value::as_i64);
        let priority = priority.unwrap_or(0);
        if !(1..=greatest).contains(&priority) {
            let detail = format!("must be positive and less than {greatest}");
            errors.push(FieldError::invalid(format!("spec.{field}"), priority, &detail));
        }
    }
    let insecure = object::truth(object, "/spec/insecureSkipTLSVerify");
    let bundle = !object::text(object, "/spec/caBundle").is_empty();
    let Some(service) = object.pointer("/spec/service").filter(|service| !service.is_null()) else {
        // Served here: there is nobody to be trusted.
        for (set, field) in [(bundle, "caBundle"), (insecure, "insecureSkipTLSVerify")] {
            if set {
                let detail = "local APIServices may not have it";
                errors.push(FieldError::forbidden(format!("spec.{field}"), detail));
            }
        }
        return errors.list();
    };
    for field in ["namespace", "name"] {
        if object::text(service, &format!("/{field}")).is_empty() {
            errors.push(FieldError::required(format!("spec.service.{field}"), ""));
        }
    }
    if let Some(port) = service.get("port").and_then(Value::as_i64)
        && !(1..=65_535).contains(&port)
    {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid("spec.service.port", port, detail));
    }
    if insecure && bundle {
        let detail = "may not be true if caBundle is present";
        errors.push(FieldError::invalid("spec.insecureSkipTLSVerify", true, detail));
    }
    errors.list()
}
