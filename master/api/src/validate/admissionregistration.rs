//! Rules for the kinds of `admissionregistration.k8s.io`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::{names, one_of, required};
use crate::object;
use crate::status::FieldError;

pub(crate) fn webhooks(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let mut seen = BTreeSet::new();
    for (index, webhook) in object::items(object, "/webhooks").iter().enumerate() {
        let field = format!("webhooks[{index}]");
        let name = object::text(webhook, "/name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else {
            for why in names::dns_subdomain(name) {
                errors.push(FieldError::invalid(format!("{field}.name"), name, &why));
            }
            if name.split('.').count() < 3 {
                let detail = "should be a domain with at least three segments separated by dots";
                errors.push(FieldError::invalid(format!("{field}.name"), name, detail));
            }
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{field}.name"), name));
        }
        if object::items(webhook, "/admissionReviewVersions").is_empty() {
            let detail = "must specify one of v1, v1beta1";
            errors.push(FieldError::required(format!("{field}.admissionReviewVersions"), detail));
        }
        let effects = object::text(webhook, "/sideEffects");
        if effects.is_empty() {
            let detail = "must specify one of None, NoneOnDryRun";
            errors.push(FieldError::required(format!("{field}.sideEffects"), detail));
        } else {
            let known = ["None", "NoneOnDryRun"];
            errors.extend(one_of(format!("{field}.sideEffects"), effects, &known));
        }
        let policy = object::text(webhook, "/failurePolicy");
        errors.extend(one_of(format!("{field}.failurePolicy"), policy, &["Fail", "Ignore"]));
        let seconds = object::integer(webhook, "/timeoutSeconds");
        if !(1..=30).contains(&seconds) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(format!("{field}.timeoutSeconds"), seconds, detail));
        }
        let config = webhook.get("clientConfig").unwrap_or(&Value::Null);
        if config.get("url").is_some() == config.get("service").is_some() {
            let detail = "exactly one of url or service is required";
            errors.push(FieldError::required(format!("{field}.clientConfig"), detail));
        }
    }
    errors.list()
}

pub(crate) fn validating_policy(object: &Value) -> Vec<FieldError> {
    let mut errors = policy(object);
    let any = ["validations", "auditAnnotations"]
        .iter()
        .any(|list| !object::items(object, &format!("/spec/{list}")).is_empty());
    if !any {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required("spec.validations", detail));
    }
    errors
}

pub(crate) fn mutating_policy(object: &Value) -> Vec<FieldError> {
    let mut errors = policy(object);
    if object::items(object, "/spec/mutations").is_empty() {
        let detail = "mutations must contain at least one item";
        errors.push(FieldError::required("spec.mutations", detail));
    }
    errors
}

fn policy(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match object.pointer("/spec/matchConstraints") {
        None => errors.push(FieldError::required("spec.matchConstraints", "")),
        Some(constraints) if object::items(constraints, "/resourceRules").is_empty() => {
            errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
        }
        Some(_) => {}
    }
    let failure = object::text(object, "/spec/failurePolicy");
    errors.extend(one_of("spec.failurePolicy".to_owned(), failure, &["Fail", "Ignore"]));
    errors.list()
}

pub(crate) fn validating_binding(object: &Value) -> Vec<FieldError> {
    let mut errors = binding(object);
    if object::items(object, "/spec/validationActions").is_empty() {
        errors.push(FieldError::required("spec.validationActions", ""));
    }
    errors
}

pub(crate) fn binding(object: &Value) -> Vec<FieldError> {
    required(object, &["spec.policyName"])
}
