//! Rules for Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController and
//! ControllerRevision.

use serde_json::{Value, json};

use super::errors::Errors;
use super::{metadata, not_negative, one_of, pod_spec, selector, unchanged};
use crate::object;
use crate::selector::Selector;
use crate::status::FieldError;

pub(crate) fn deployment(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(replica_set(object));
    let kind = object::text(object, "/spec/strategy/type");
    errors.extend(one_of("spec.strategy.type".to_owned(), kind, &["Recreate", "RollingUpdate"]));
    let rolling = object.pointer("/spec/strategy/rollingUpdate");
    if kind == "Recreate" && rolling.is_some() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", detail));
    }
    let mut zeros = 0;
    for key in ["maxUnavailable", "maxSurge"] {
        let Some(value) = rolling.and_then(|rolling| rolling.get(key)) else { continue };
        let field = format!("spec.strategy.rollingUpdate.{key}");
        let number = match value {
            Value::String(text) => text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok()),
            Value::Number(number) => number.as_i64(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match number {
            None => {
                let detail = "a valid percent string must be a numeric string followed by an \
                              ending '%' (e.g. '1%',  or '93%', regex used for validation is \
                              '[0-9]+%')";
                errors.push(FieldError::invalid(field, value.clone(), detail));
            }
            Some(number) if number < 0 => {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(field, value.clone(), detail));
            }
            Some(number) if number > 100 && value.is_string() && key == "maxUnavailable" => {
                let detail = "must not be greater than 100%";
                errors.push(FieldError::invalid(field, value.clone(), detail));
            }
            Some(number) => zeros += usize::from(number == 0),
        }
    }
    if zeros == 2 {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid("spec.strategy.rollingUpdate.maxUnavailable", 0, detail));
    }
    let deadline = object::integer(object, "/spec/progressDeadlineSeconds");
    if deadline <= object::integer(object, "/spec/minReadySeconds") {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, detail));
    }
    errors.list()
}

pub(crate) fn replica_set(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(not_negative(
        object,
        &["spec.replicas", "spec.minReadySeconds", "spec.revisionHistoryLimit"],
    ));
    template(object, "deployment", &mut errors);
    errors.list()
}

/// Selector and template of what keeps pods running.
fn template(object: &Value, owner: &str, errors: &mut Errors) {
    let labels = object.pointer("/spec/template/metadata/labels").unwrap_or(&Value::Null);
    let mut wrong = Errors::default();
    if let Some(found) = object.pointer("/spec/selector") {
        selector::labels(found, "spec.selector", &mut wrong);
    }
    match object.pointer("/spec/selector") {
        None => wrong.push(FieldError::required("spec.selector", "")),
        Some(selector) => match Selector::from_label_selector(selector) {
            Err(error) if wrong.is_empty() => {
                let detail = error.to_string();
                wrong.push(FieldError::invalid("spec.selector", selector.clone(), &detail));
            }
            // What is wrong with it has been told.
            Err(_) => {}
            Ok(parsed) if parsed.is_everything() => {
                let detail = format!("empty selector is invalid for {owner}");
                wrong.push(FieldError::invalid("spec.selector", selector.clone(), &detail));
            }
            Ok(parsed) if !parsed.matches_labels(labels) => {
                let detail = "`selector` does not match template `labels`";
                let field = "spec.template.metadata.labels";
                wrong.push(FieldError::invalid(field, labels.clone(), detail));
            }
            Ok(_) => {}
        },
    }
    errors.extend(wrong);
    lasting_pods(object, errors);
}

/// The pods of a template, which are to run for ever.
fn lasting_pods(object: &Value, errors: &mut Errors) {
    let Some(template) = object.pointer("/spec/template") else {
        errors.push(FieldError::required("spec.template", ""));
        return;
    };
    pod_template(template, "spec.template", errors);
    let policy = object::text(template, "/spec/restartPolicy");
    if !policy.is_empty() && policy != "Always" {
        let field = "spec.template.spec.restartPolicy";
        errors.push(FieldError::unsupported(field, policy, &["Always"]));
    }
}

/// The pods of any template.
pub(super) fn pod_template(template: &Value, field: &str, errors: &mut Errors) {
    let metadata = template.get("metadata").unwrap_or(&Value::Null);
    metadata::labels(metadata, "labels", &format!("{field}.metadata"), errors);
    metadata::annotations(metadata, &format!("{field}.metadata"), errors);
    let spec = template.get("spec").unwrap_or(&Value::Null);
    pod_spec::pod_spec(spec, &format!("{field}.spec"), errors);
    if !object::items(spec, "/ephemeralContainers").is_empty() {
        let field = format!("{field}.spec.ephemeralContainers");
        errors
            .push(FieldError::forbidden(field, "ephemeral containers not allowed in pod template"));
    }
}

/// Which pods belong to an object is settled once.
pub(crate) fn selector_unchanged(old: &Value, new: &Value) -> Vec<FieldError> {
    unchanged(old, new, "spec.selector").into_iter().collect()
}

pub(crate) fn stateful_set(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(not_negative(
        object,
        &["spec.replicas", "spec.minReadySeconds", "spec.revisionHistoryLimit"],
    ));
    let policy = object::text(object, "/spec/podManagementPolicy");
    errors.extend(one_of(
        "spec.podManagementPolicy".to_owned(),
        policy,
        &["OrderedReady", "Parallel"],
    ));
    let update = object::text(object, "/spec/updateStrategy/type");
    errors.extend(one_of(
        "spec.updateStrategy.type".to_owned(),
        update,
        &["OnDelete", "RollingUpdate"],
    ));
    if update == "OnDelete" && object.pointer("/spec/updateStrategy/rollingUpdate").is_some() {
        let detail = "only allowed for updateStrategy 'RollingUpdate'";
        errors.push(FieldError::invalid("spec.updateStrategy.rollingUpdate", Value::Null, detail));
    }
    errors.extend(not_negative(object, &["spec.updateStrategy.rollingUpdate.partition"]));
    template(&with_claims(object), "statefulset", &mut errors);
    errors.list()
}

/// A stateful set whose pods have the volumes that come with them from its claim templates.
fn with_claims(object: &Value) -> Value {
    let mut whole = object.clone();
    let claims = object::items(object, "/spec/volumeClaimTemplates").iter();
    let names: Vec<&str> = claims.map(|claim| object::text(claim, "/metadata/name")).collect();
    let spec = whole.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut);
    if let Some(spec) = spec.filter(|_| !names.is_empty()) {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.retain(|volume| !names.contains(&object::text(volume, "/name")));
            volumes.extend(
                names.iter().map(
                    |name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}),
                ),
            );
        }
    }
    whole
}

/// Of a stateful set only what does not touch the identity of its pods may change.
pub(crate) fn stateful_set_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let fixed = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            for free in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ] {
                spec.remove(free);
            }
        }
        spec
    };
    if fixed(old) == fixed(new) {
        return Vec::new();
    }
    let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                  'template', 'updateStrategy', 'revisionHistoryLimit', \
                  'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    vec![FieldError::forbidden("spec", detail)]
}

pub(crate) fn daemon_set(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(not_negative(object, &["spec.minReadySeconds", "spec.revisionHistoryLimit"]));
    let update = object::text(object, "/spec/updateStrategy/type");
    errors.extend(one_of(
        "spec.updateStrategy.type".to_owned(),
        update,
        &["OnDelete", "RollingUpdate"],
    ));
    template(object, "daemonset", &mut errors);
    errors.list()
}

pub(crate) fn replication_controller(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(not_negative(object, &["spec.replicas", "spec.minReadySeconds"]));
    let labels = object.pointer("/spec/template/metadata/labels").unwrap_or(&Value::Null);
    match object.pointer("/spec/selector").and_then(Value::as_object) {
        Some(selector) if !selector.is_empty() => {
            let wanted = Selector::from_map(&Value::Object(selector.clone()));
            if object.pointer("/spec/template").is_some() && !wanted.matches_labels(labels) {
                let detail = "`selector` does not match template `labels`";
                let field = "spec.template.metadata.labels";
                errors.push(FieldError::invalid(field, labels.clone(), detail));
            }
        }
        Some(_) | None => errors.push(FieldError::required("spec.selector", "")),
    }
    lasting_pods(object, &mut errors);
    errors.list()
}

pub(crate) fn controller_revision(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(not_negative(object, &["revision"]));
    if object.get("data").is_none_or(Value::is_null) {
        errors.push(FieldError::required("data", "data is mandatory"));
    }
    errors.list()
}

/// What was is not rewritten.
pub(crate) fn controller_revision_update(old: &Value, new: &Value) -> Vec<FieldError> {
    unchanged(old, new, "data").into_iter().collect()
}
