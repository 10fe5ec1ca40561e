//! Rules for CertificateSigningRequest.

use serde_json::Value;

use super::{required, unchanged};
use crate::object;
use crate::status::FieldError;

/// The shortest time that a certificate may be wanted for, in seconds.
const EXPIRATION_MIN_S: i64 = 600;

pub(crate) fn signing_request(object: &Value) -> Vec<FieldError> {
    let mut errors = required(object, &["spec.request", "spec.signerName"]);
    if object::items(object, "/spec/usages").is_empty() {
        errors.push(FieldError::required("spec.usages", "usages must not be empty"));
    }
    let signer = object::text(object, "/spec/signerName");
    if !signer.is_empty() && !signer.contains('/') {
        let detail = "must be a fully qualified domain and path of the form \
                      'example.com/signer-name'";
        errors.push(FieldError::invalid("spec.signerName", signer, detail));
    }
    if let Some(seconds) = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64)
        && seconds < EXPIRATION_MIN_S
    {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid("spec.expirationSeconds", seconds, detail));
    }
    errors
}

/// A request is asked once.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    unchanged(old, new, "spec").into_iter().collect()
}
