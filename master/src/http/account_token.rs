//! `serviceaccounts/X/token`: issues a token of a service account.

use bramble_api::decode::{self};
use bramble_api::status::FieldError;
use bramble_api::{Status, timestamp};
use bramble_master_core::access::claims::{
    EXPIRATION_DEFAULT_S, EXPIRATION_MAX_S, EXPIRATION_MIN_S,
};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::response::{self, Body};
use super::{Call, body};
use crate::access::{Asked, Bound, BoundKind};
use crate::clock;

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

/// Issues a token.
pub(super) async fn create(call: &Call<'_>, incoming: Incoming) -> Result<Response<Body>, Status> {
    let media = body::media_type(call.headers)?;
    let bytes = body::read(incoming).await?;
    let validation = call.query.field_validation;
    let mut request = decode::decode_kind((GROUP, "v1", KIND), &bytes, media, validation)?.object;
    let text = |pointer: &str| {
        request.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    for (sent, expected) in
        [(text("/metadata/name"), call.name), (text("/metadata/namespace"), call.namespace)]
    {
        if !sent.is_empty() && sent != expected {
            return Err(Status::bad_request(format!(
                "{sent:?} in the token request is not what the URL names, {expected:?}"
            )));
        }
    }
    let asked = Asked {
        namespace: call.namespace.to_owned(),
        account: call.name.to_owned(),
        audiences: texts(request.pointer("/spec/audiences")),
        expires_in_s: expiration(&request)?,
        bound: bound(request.pointer("/spec/boundObjectRef"))?,
    };
    let issued = call.api.account_tokens.issue(&asked).await?;
    let audiences = if asked.audiences.is_empty() {
        vec![crate::access::ISSUER.to_owned()]
    } else {
        asked.audiences
    };
    if let Some(fields) = request.as_object_mut() {
        fields.insert(
            "metadata".to_owned(),
            json!({
                "name": call.name,
                "namespace": call.namespace,
                "creationTimestamp": clock::timestamp(),
            }),
        );
        let spec = fields.entry("spec").or_insert_with(|| json!({}));
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("audiences".to_owned(), json!(audiences));
            spec.insert("expirationSeconds".to_owned(), asked.expires_in_s.into());
            spec.entry("boundObjectRef").or_insert(Value::Null);
        }
        let status = json!({
            "token": issued.token,
            "expirationTimestamp": timestamp::format(issued.expires_s),
        });
        fields.insert("status".to_owned(), status);
    }
    Ok(response::json(StatusCode::CREATED, &request))
}

fn expiration(request: &Value) -> Result<i64, Status> {
    let asked = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let asked = asked.unwrap_or(EXPIRATION_DEFAULT_S);
    let detail = if asked < EXPIRATION_MIN_S {
        "may not specify a duration less than 10 minutes"
    } else if asked > EXPIRATION_MAX_S {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(asked);
    };
    let error = FieldError::invalid("spec.expirationSeconds", asked, detail);
    Err(Status::invalid_kind(GROUP, KIND, "", &[error]))
}

fn bound(reference: Option<&Value>) -> Result<Option<Bound>, Status> {
    let Some(reference) = reference.filter(|reference| !reference.is_null()) else {
        return Ok(None);
    };
    let text =
        |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = match (text("apiVersion").as_str(), text("kind").as_str()) {
        ("v1", "Pod") => BoundKind::Pod,
        ("v1", "Secret") => BoundKind::Secret,
        ("v1", "Node") => BoundKind::Node,
        (version, kind) => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    Ok(Some(Bound { kind, name: text("name"), uid: text("uid") }))
}

/// The texts of a list.
pub(super) fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetime_has_bounds() {
        let check = |asked: Value, expected: Result<i64, &str>| {
            let found = expiration(&json!({"spec": {"expirationSeconds": asked}}));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(status), Err(expected)) => {
                    assert_eq!(status.code, 422);
                    assert!(status.message.contains(expected), "{}", status.message);
                }
                (found, _) => panic!("{asked}: {found:?}"),
            }
        };
        check(Value::Null, Ok(3_600));
        check(json!(600), Ok(600));
        check(json!(599), Err("may not specify a duration less than 10 minutes"));
        check(json!(1_i64 << 32), Ok(1 << 32));
        check(json!((1_i64 << 32) + 1), Err("may not specify a duration larger than 2^32 seconds"));
    }

    #[test]
    fn tokens_are_bound_to_pods_secrets_and_nodes_only() {
        let check =
            |kind: &str| bound(Some(&json!({"apiVersion": "v1", "kind": kind, "name": "a"})));
        assert_eq!(check("Pod").unwrap().unwrap().kind, BoundKind::Pod);
        assert_eq!(check("Secret").unwrap().unwrap().kind, BoundKind::Secret);
        assert_eq!(check("Node").unwrap().unwrap().kind, BoundKind::Node);
        assert_eq!(check("ConfigMap").unwrap_err().code, 400);
        assert!(bound(None).unwrap().is_none());
    }
}
