//! Reviews: questions about who somebody is and what he may do, asked by creating an object.

use bramble_api::decode;
use bramble_api::status::FieldError;
use bramble_api::{Question, Status};
use bramble_master_core::access::attributes::Attributes;
use bramble_master_core::access::rbac::Decision;
use bramble_master_core::access::user::User;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::accept::{self, Form};
use super::account_token::texts;
use super::response::{self, Body};
use super::{Call, body};
use crate::access::ISSUER;

/// Answers a review.
pub(super) async fn answer(
    call: &Call<'_>,
    question: Question,
    incoming: Incoming,
) -> Result<Response<Body>, Status> {
    if accept::form(call.headers)? != Form::Object {
        return Err(Status::not_acceptable(&["application/json"]));
    }
    let media = body::media_type(call.headers)?;
    let bytes = body::read(incoming).await?;
    let validation = call.query.field_validation;
    let mut review = decode::decode(call.resource, &bytes, media, validation)?.object;
    let spec = review.get("spec").cloned().unwrap_or_else(|| json!({}));
    let status = match question {
        Question::Oneself => json!({ "userInfo": call.user.to_json() }),
        Question::Token => token(call, &spec).await?,
        Question::OwnAccess => {
            let asked = asked(call, &spec)?;
            decision(call, call.user, &asked)
        }
        Question::Access => {
            let user = subject(call, &spec)?;
            decision(call, &user, &asked(call, &spec)?)
        }
        Question::LocalAccess => {
            let user = subject(call, &spec)?;
            let asked = asked(call, &spec)?;
            if asked.namespace != call.namespace || !asked.is_resource() {
                let detail = format!("must match metadata.namespace: {}", call.namespace);
                let field = "spec.resourceAttributes.namespace";
                return Err(invalid(call, FieldError::invalid(field, asked.namespace, &detail)));
            }
            decision(call, &user, &asked)
        }
        Question::OwnRules => rules(call, &spec)?,
    };
    if let Some(fields) = review.as_object_mut() {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("creationTimestamp".to_owned(), Value::Null);
        }
        fields.insert("status".to_owned(), status);
        if question != Question::Oneself {
            fields.insert("spec".to_owned(), spec);
        }
    }
    Ok(response::json(StatusCode::CREATED, &review))
}

/// Says whose a token is.
async fn token(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let token = text(spec, "token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked = texts(spec.get("audiences"));
    let audiences = if asked.is_empty() { vec![ISSUER.to_owned()] } else { asked };
    Ok(match call.api.account_tokens.verify(token, &audiences).await {
        Ok((user, audiences)) => {
            json!({ "authenticated": true, "user": user.to_json(), "audiences": audiences })
        }
        Err(error) => json!({ "user": {}, "error": error.to_string() }),
    })
}

/// The user that a question is about.
fn subject(call: &Call<'_>, spec: &Value) -> Result<User, Status> {
    let user = User {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: texts(spec.get("groups")),
        ..User::default()
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        return Err(invalid(call, FieldError::invalid("spec.user", "", detail)));
    }
    Ok(user)
}

/// What a question is about.
fn asked(call: &Call<'_>, spec: &Value) -> Result<Attributes, Status> {
    let given = |field: &str| spec.get(field).filter(|value| !value.is_null());
    let own = |attributes: &Value, field: &str| text(attributes, field).to_owned();
    match (given("resourceAttributes"), given("nonResourceAttributes")) {
        (Some(of), None) => Ok(Attributes {
            verb: own(of, "verb"),
            group: own(of, "group"),
            version: own(of, "version"),
            resource: own(of, "resource"),
            subresource: own(of, "subresource"),
            namespace: own(of, "namespace"),
            name: own(of, "name"),
            path: String::new(),
        }),
        (None, Some(of)) => Ok(Attributes::of_path(text(of, "verb"), text(of, "path"))),
        (both, _) => {
            let field = if both.is_some() { "nonResourceAttributes" } else { "resourceAttributes" };
            let detail = if both.is_some() {
                "cannot be specified in combination with resourceAttributes"
            } else {
                "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            };
            let error = FieldError::invalid(format!("spec.{field}"), Value::Null, detail);
            Err(invalid(call, error))
        }
    }
}

fn decision(call: &Call<'_>, user: &User, asked: &Attributes) -> Value {
    let (allowed, reason) = match call.api.authorizer.authorize(user, asked) {
        Decision::Allow { reason } => (true, reason),
        Decision::NoOpinion { reason } => (false, reason),
    };
    if reason.is_empty() {
        json!({ "allowed": allowed })
    } else {
        json!({ "allowed": allowed, "reason": reason })
    }
}

fn rules(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let namespace = text(spec, "namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, missing) = call.api.authorizer.rules_for(call.user, namespace);
    let (paths, objects): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| !rule.paths.is_empty());
    let mut status = json!({
        "incomplete": false,
        "resourceRules": objects,
        "nonResourceRules": paths,
    });
    if let (false, Some(fields)) = (missing.is_empty(), status.as_object_mut()) {
        fields.insert("evaluationError".to_owned(), missing.join(", ").into());
    }
    Ok(status)
}

fn invalid(call: &Call<'_>, error: FieldError) -> Status {
    Status::invalid(call.resource, "", &[error])
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
