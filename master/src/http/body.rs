//! Reading request bodies, within bounds of size, time and depth.

use std::time::Duration;

use bramble_api::Status;
use bramble_api::decode::{self, FieldValidation, MediaType};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

/// Longest body, in bytes, as upstream.
pub(super) const BODY_LEN_MAX: usize = 3 * 1024 * 1024;
/// Time that a client has to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Deepest nesting of a body.
const DEPTH_MAX: usize = 100;

/// Reads a body to its end.
///
/// # Errors
///
/// 413 when it is too long, 408 when it comes too slowly, 400 when the client breaks it off.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Status> {
    let limited = Limited::new(body, BODY_LEN_MAX).collect();
    match timeout(BODY_TIMEOUT, limited).await {
        Err(_) => Err(Status::timeout("the request's body came too slowly")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Status::too_large(BODY_LEN_MAX)),
        Ok(Err(error)) => Err(Status::bad_request(format!("could not read the body: {error}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Returns the type of a body; JSON where the client does not say.
///
/// # Errors
///
/// 415 for a type that we do not read.
pub(super) fn media_type(headers: &HeaderMap) -> Result<MediaType, Status> {
    match content_type(headers) {
        "" => Ok(MediaType::Json),
        text => MediaType::from_content_type(text).ok_or_else(|| {
            Status::unsupported_media_type(&[
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ])
        }),
    }
}

/// Returns the content type without its parameters; empty when there is none.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim()
}

/// Parses a body that is not an object of a resource; none when it is empty.
///
/// # Errors
///
/// 400 when it is malformed or nested too deeply.
pub(super) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Option<Value>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(parse_as(media_type(headers)?, bytes, FieldValidation::Ignore)?.0))
}

/// Parses a body of a known type; returns warnings about keys that are there twice.
///
/// # Errors
///
/// 400 when it is malformed, nested too deeply or, if that is strict, says something twice.
pub(super) fn parse_as(
    media: MediaType,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let parsed = decode::parse(bytes, media)?;
    check_depth(&parsed.value)?;
    if parsed.duplicates.is_empty() {
        return Ok((parsed.value, Vec::new()));
    }
    // In YAML upstream names lines.
    let lines = (media == MediaType::Yaml)
        .then(|| parsed.duplicates.iter().map(|path| decode::repeated(bytes, path)).collect());
    let lines: Vec<String> = lines.unwrap_or_default();
    match validation {
        FieldValidation::Strict if !lines.is_empty() => Err(Status::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  \
             {}",
            lines.join("\n  ")
        ))),
        FieldValidation::Warn if !lines.is_empty() => Ok((parsed.value, lines)),
        FieldValidation::Strict => Err(Status::bad_request(format!(
            "strict decoding error: {}",
            parsed.duplicates.join(", ")
        ))),
        FieldValidation::Warn => Ok((parsed.value, parsed.duplicates)),
        FieldValidation::Ignore => Ok((parsed.value, Vec::new())),
    }
}

/// Refuses values that are nested too deeply.
///
/// # Errors
///
/// 400 beyond the bound.
pub(super) fn check_depth(value: &Value) -> Result<(), Status> {
    if deeper_than(value, DEPTH_MAX) {
        return Err(Status::bad_request(format!("the body is nested deeper than {DEPTH_MAX}")));
    }
    Ok(())
}

/// Recursion is bounded by `levels`.
fn deeper_than(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, below)),
        Value::Object(fields) => fields.values().any(|item| deeper_than(item, below)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |levels: usize| (0..levels).fold(json!(1), |inner, _| Value::from(vec![inner]));
        assert!(super::check_depth(&nested(100)).is_ok());
        assert!(super::check_depth(&nested(101)).is_err());
    }
}
