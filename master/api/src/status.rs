//! The error that the API answers with: a `Status` object with upstream's texts.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// Longest value that an error repeats, in bytes.
const VALUE_LEN_MAX: usize = 4096;

/// A refused request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason; empty if there is none.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<Details>>,
    /// Wait at least this long, in seconds, before trying again; also the header `Retry-After`.
    pub retry_after_secs: Option<u32>,
    /// Token that gets the rest of a list whose moment is gone, as it is now.
    pub continue_token: Option<String>,
}

/// What a status is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its resource (or kind, for invalid objects).
    pub kind: String,
    /// Its uid.
    pub uid: String,
    /// The single causes.
    pub causes: Vec<StatusCause>,
}

/// One cause of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCause {
    /// Machine-readable type, such as `FieldValueRequired`.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

/// Something wrong with a field; displays as upstream's `field: Kind: value: detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// What kind of error.
    pub cause: Cause,
    /// Path of the field, such as `spec.containers[0].name`.
    pub field: String,
    /// The rest of the text, with the value where the kind of error has one.
    pub detail: String,
}

/// Kinds of field errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A value is absent.
    Required,
    /// A value is malformed or may not be changed.
    Invalid,
    /// A value is of another type.
    TypeInvalid,
    /// A value is not one of a list.
    NotSupported,
    /// A value appears twice.
    Duplicate,
    /// A value names something that is not there.
    NotFound,
    /// A value must not be there.
    Forbidden,
    /// A text is too long.
    TooLong,
    /// A list is too long.
    TooMany,
}

impl Cause {
    const fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

impl FieldError {
    /// A value that has to be there is absent.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { cause: Cause::Required, field: field.into(), detail: detail.into() }
    }

    /// A value is malformed.
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Self {
        let detail = with_detail(&value.into(), detail);
        Self { cause: Cause::Invalid, field: field.into(), detail }
    }

    /// A value is of another type.
    pub fn type_invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Self {
        Self { cause: Cause::TypeInvalid, ..Self::invalid(field, value, detail) }
    }

    /// A value is not one of those that are supported.
    pub fn unsupported(field: impl Into<String>, value: impl Into<Value>, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|one| format!("\"{one}\"")).collect();
        let detail = with_detail(&value.into(), &format!("supported values: {}", known.join(", ")));
        Self { cause: Cause::NotSupported, field: field.into(), detail }
    }

    /// A value appears twice.
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            cause: Cause::Duplicate,
            field: field.into(),
            detail: with_detail(&value.into(), ""),
        }
    }

    /// A value names something that is not there.
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { cause: Cause::NotFound, field: field.into(), detail: with_detail(&value.into(), "") }
    }

    /// A value must not be set or changed.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { cause: Cause::Forbidden, field: field.into(), detail: detail.into() }
    }

    /// A text has more bytes than allowed.
    pub fn too_long(field: impl Into<String>, bytes_max: usize) -> Self {
        let detail = format!("may not be more than {bytes_max} bytes");
        Self { cause: Cause::TooLong, field: field.into(), detail }
    }

    /// A list has more items than allowed.
    pub fn too_many(field: impl Into<String>, found: usize, items_max: usize) -> Self {
        let detail = format!("{found}: must have at most {items_max} items");
        Self { cause: Cause::TooMany, field: field.into(), detail }
    }

    /// Puts the field below another one.
    #[must_use]
    pub fn below(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }

    fn cause(&self) -> StatusCause {
        StatusCause {
            reason: self.cause.reason(),
            message: self.message(),
            field: self.field.clone(),
        }
    }

    fn message(&self) -> String {
        if self.detail.is_empty() {
            self.cause.text().to_owned()
        } else {
            format!("{}: {}", self.cause.text(), self.detail)
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

fn with_detail(value: &Value, detail: &str) -> String {
    // Upstream prints texts quoted and everything else as JSON, null as "null". What is very long
    // is cut: an answer is no place for a client's whole object.
    let mut value = value.to_string();
    if value.len() > VALUE_LEN_MAX {
        value.truncate(value.floor_char_boundary(VALUE_LEN_MAX));
        value.push_str("...");
    }
    if detail.is_empty() { value } else { format!("{value}: {detail}") }
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            retry_after_secs: None,
            continue_token: None,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: resource.group.to_string(),
            kind: resource.plural.to_string(),
            ..Details::default()
        }));
        self
    }

    /// The object does not exist.
    #[must_use]
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.group_resource());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    /// Nothing is served at the path.
    #[must_use]
    pub fn not_found_path() -> Self {
        let mut status =
            Self::new(404, "NotFound", "the server could not find the requested resource");
        status.details = Some(Box::default());
        status
    }

    /// An object of that name exists.
    #[must_use]
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.group_resource());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// The request clashes with the state of the object.
    #[must_use]
    pub fn conflict(resource: &Resource, name: &str, detail: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {detail}",
            resource.group_resource()
        );
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// The object is not the one that the client had read.
    #[must_use]
    pub fn conflict_modified(resource: &Resource, name: &str) -> Self {
        let detail = "the object has been modified; please apply your changes to the latest \
                      version and try again";
        Self::conflict(resource, name, detail)
    }

    /// Other managers own fields that an apply request wants to change.
    #[must_use]
    pub fn apply_conflict(causes: Vec<StatusCause>, message: String) -> Self {
        let mut status = Self::new(409, "Conflict", message);
        status.details = Some(Box::new(Details { causes, ..Details::default() }));
        status
    }

    /// The object is not valid.
    #[must_use]
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {list}", resource.group_kind());
        let mut status = Self::new(422, "Invalid", message).about(resource, name);
        if let Some(details) = &mut status.details {
            details.kind = resource.kind.to_string();
            details.causes = errors.iter().map(FieldError::cause).collect();
        }
        status
    }

    /// Something other than an object of a resource is not valid: options, or a subresource.
    #[must_use]
    pub fn invalid_kind(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status =
            Self::new(422, "Invalid", format!("{kind}.{group} \"{name}\" is invalid: {list}"));
        status.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes: errors.iter().map(FieldError::cause).collect(),
            ..Details::default()
        }));
        status
    }

    /// A revision that does not exist yet was asked for.
    #[must_use]
    pub fn revision_too_large(asked: u64, newest: u64) -> Self {
        let mut status =
            Self::timeout(format!("Too large resource version: {asked}, current: {newest}"));
        status.details = Some(Box::new(Details {
            causes: vec![StatusCause {
                reason: "ResourceVersionTooLarge",
                message: "Too large resource version".to_owned(),
                field: String::new(),
            }],
            ..Details::default()
        }));
        status.retry_after_secs = Some(1);
        status
    }

    /// The request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The request makes sense, but not for this object.
    #[must_use]
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    /// The client is not known.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// The client may not do it to the object.
    #[must_use]
    pub fn forbidden(resource: &Resource, name: &str, detail: &str) -> Self {
        let object = resource.group_resource();
        let message = if name.is_empty() {
            format!("{object} is forbidden: {detail}")
        } else {
            format!("{object} \"{name}\" is forbidden: {detail}")
        };
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// The client may not do it to an object of a resource that need not exist.
    #[must_use]
    pub fn forbidden_resource(group: &str, plural: &str, name: &str, detail: &str) -> Self {
        let resource = match (plural, group) {
            ("", _) => String::new(),
            (plural, "") => plural.to_owned(),
            (plural, group) => format!("{plural}.{group}"),
        };
        let object = match (resource.as_str(), name) {
            ("", _) => "forbidden".to_owned(),
            (resource, "") => format!("{resource} is forbidden"),
            (resource, name) => format!("{resource} \"{name}\" is forbidden"),
        };
        let mut status = Self::new(403, "Forbidden", format!("{object}: {detail}"));
        status.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: plural.to_owned(),
            ..Details::default()
        }));
        status
    }

    /// The client may not do it.
    #[must_use]
    pub fn forbidden_message(message: impl Into<String>) -> Self {
        let mut status = Self::new(403, "Forbidden", message);
        status.details = Some(Box::default());
        status
    }

    /// A namespace is going away and takes no new objects.
    #[must_use]
    pub fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let detail = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut status = Self::forbidden(resource, name, &detail);
        if let Some(details) = &mut status.details {
            details.causes = vec![StatusCause {
                reason: "NamespaceTerminating",
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".to_owned(),
            }];
        }
        status
    }

    /// It was there and is no longer.
    #[must_use]
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Gone", message)
    }

    /// The revision or continue token is too old.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The moment that a list was begun at is gone; `continue_token` gets its rest as of now.
    #[must_use]
    pub fn list_expired(continue_token: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list \
                       result. You can start a new list without the continue parameter, or use the \
                       continue token in this response to retrieve the remainder of the results; \
                       these may hold changes that were made since the first page.";
        Self { continue_token: Some(continue_token), ..Self::expired(message) }
    }

    /// The resource cannot do that; `action` is a verb such as `create`.
    #[must_use]
    pub fn method_not_supported(resource: &Resource, action: &str) -> Self {
        let message = format!(
            "{action} is not supported on resources of kind \"{}\"",
            resource.group_resource()
        );
        let mut status = Self::new(405, "MethodNotAllowed", message);
        status.details = Some(Box::new(Details {
            group: resource.group.to_string(),
            kind: resource.plural.to_string(),
            ..Details::default()
        }));
        status
    }

    /// The path does not take that HTTP method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut status = Self::new(405, "MethodNotAllowed", message);
        status.details = Some(Box::default());
        status
    }

    /// No media type that the client accepts can be produced.
    #[must_use]
    pub fn not_acceptable(offered: &[&str]) -> Self {
        let message =
            format!("only the following media types are accepted: {}", offered.join(", "));
        Self::new(406, "NotAcceptable", message)
    }

    /// The body's media type cannot be read.
    #[must_use]
    pub fn unsupported_media_type(known: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            known.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The body is larger than the limit in bytes.
    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request entity is too large: limit is {limit_bytes}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// What was sent could not be understood; upstream answers with an error without a reason.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// The request asks for more than one request may; the text says what.
    #[must_use]
    pub fn too_large_message(why: &str) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity is too large: {why}"))
    }

    /// The client has to wait, in seconds.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_secs: u32) -> Self {
        let mut status = Self::new(429, "TooManyRequests", message);
        status.details = Some(Box::default());
        status.retry_after_secs = Some(retry_after_secs);
        status
    }

    /// As this, with a cause by which clients tell why.
    #[must_use]
    pub fn because(mut self, reason: &'static str, message: impl Into<String>) -> Self {
        let cause = StatusCause { reason, message: message.into(), field: String::new() };
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// The request could not be finished in time.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        let message = format!("Timeout: {}", message.into());
        Self::new(504, "Timeout", message)
    }

    /// The API is not ready; the client tries again after this many seconds.
    #[must_use]
    pub fn unavailable(message: impl Into<String>, retry_after_secs: u32) -> Self {
        let mut status = Self::new(503, "ServiceUnavailable", message);
        status.details = Some(Box::default());
        status.retry_after_secs = Some(retry_after_secs);
        status
    }

    /// A fault of our own.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let mut status =
            Self::new(500, "InternalError", format!("Internal error occurred: {message}"));
        let cause = StatusCause { reason: "", message, field: String::new() };
        status.details = Some(Box::new(Details { causes: vec![cause], ..Details::default() }));
        status
    }

    /// Answer to a request that has nothing to say but that it was done.
    #[must_use]
    pub fn success() -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
    }

    /// Answer to a deletion that was done at once.
    #[must_use]
    pub fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
        let mut value = Self::success();
        let details = Details {
            name: name.to_owned(),
            group: resource.group.to_string(),
            kind: resource.plural.to_string(),
            uid: uid.to_owned(),
            causes: Vec::new(),
        };
        if let Some(object) = value.as_object_mut() {
            object.insert("details".to_owned(), details.to_value(None));
        }
        value
    }

    /// The `Status` object that is sent.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let metadata = match &self.continue_token {
            Some(token) => json!({ "continue": token }),
            None => json!({}),
        };
        let mut value = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if let Some(object) = value.as_object_mut() {
            if !self.reason.is_empty() {
                object.insert("reason".to_owned(), self.reason.into());
            }
            if let Some(details) = &self.details {
                object.insert("details".to_owned(), details.to_value(self.retry_after_secs));
            }
        }
        value
    }
}

impl Details {
    fn to_value(&self, retry_after_secs: Option<u32>) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, text: &str| {
            if !text.is_empty() {
                object.insert(key.to_owned(), text.into());
            }
        };
        put("name", &self.name);
        put("group", &self.group);
        put("kind", &self.kind);
        put("uid", &self.uid);
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(StatusCause::to_value).collect();
            object.insert("causes".to_owned(), Value::Array(causes));
        }
        if let Some(seconds) = retry_after_secs {
            object.insert("retryAfterSeconds".to_owned(), seconds.into());
        }
        Value::Object(object)
    }
}

impl StatusCause {
    fn to_value(&self) -> Value {
        let mut object = Map::new();
        for (key, text) in
            [("reason", self.reason), ("message", &self.message), ("field", &self.field)]
        {
            if !text.is_empty() {
                object.insert(key.to_owned(), text.into());
            }
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn messages_are_upstreams() {
        let pods = registry::find("", "v1", "pods").unwrap();
        let deployments = registry::find("apps", "v1", "deployments").unwrap();
        let check = |status: Status, code: u16, message: &str| {
            assert_eq!((status.code, status.message.as_str()), (code, message));
        };
        check(Status::not_found(pods, "a"), 404, "pods \"a\" not found");
        check(
            Status::already_exists(deployments, "a"),
            409,
            "deployments.apps \"a\" already exists",
        );
        check(
            Status::conflict_modified(pods, "a"),
            409,
            "Operation cannot be fulfilled on pods \"a\": the object has been modified; please \
             apply your changes to the latest version and try again",
        );
        let one = FieldError::required("spec.containers", "");
        check(
            Status::invalid(pods, "a", std::slice::from_ref(&one)),
            422,
            "Pod \"a\" is invalid: spec.containers: Required value",
        );
        let two = FieldError::unsupported("spec.dnsPolicy", "x", &["Default", "None"]);
        check(
            Status::invalid(deployments, "a", &[one, two]),
            422,
            "Deployment.apps \"a\" is invalid: [spec.containers: Required value, spec.dnsPolicy: \
             Unsupported value: \"x\": supported values: \"Default\", \"None\"]",
        );
    }

    #[test]
    fn a_status_object_has_details_and_causes() {
        let pods = registry::find("", "v1", "pods").unwrap();
        let errors = [FieldError::invalid("metadata.name", "A", "must be lower case")];
        assert_eq!(
            Status::invalid(pods, "A", &errors).to_value(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Pod \"A\" is invalid: metadata.name: Invalid value: \"A\": must be lower case",
                "reason": "Invalid", "code": 422,
                "details": {"name": "A", "kind": "Pod", "causes": [{
                    "reason": "FieldValueInvalid",
                    "message": "Invalid value: \"A\": must be lower case",
                    "field": "metadata.name",
                }]},
            })
        );
    }
}
