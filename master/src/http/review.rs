//! Reviews: questions about who one is and what one may do, asked by creating an object.

use bramble_api::Status;
use bramble_api::decode::MediaType;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::access::User;
use super::body;
use super::path::ResourcePath;
use super::response::{self, Body};

/// Tells whether a path is that of a review.
pub(super) fn is_review(path: &ResourcePath) -> bool {
    path.version == "v1"
        && path.name.is_empty()
        && matches!(
            (path.group.as_str(), path.resource.as_str()),
            ("authentication.k8s.io", "selfsubjectreviews")
                | ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
        )
}

/// Answers a review.
pub(super) async fn handle(
    user: &User,
    path: &ResourcePath,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    if request.method() != Method::POST {
        return Err(Status::not_found_path());
    }
    let (parts, incoming) = request.into_parts();
    let bytes = body::read(incoming).await?;
    let question = match body::media_type(&parts.headers)? {
        // What is asked changes nothing about the answer, so that it need not be understood.
        MediaType::Protobuf => Value::Null,
        MediaType::Json | MediaType::Yaml => {
            body::parse(&parts.headers, &bytes)?.unwrap_or_default()
        }
    };
    let answer = answer(user, &path.resource, &question);
    Ok(response::json(StatusCode::CREATED, &answer))
}

fn answer(user: &User, resource: &str, question: &Value) -> Value {
    let allowed = user.administrator();
    let all = json!(["*"]);
    match resource {
        "selfsubjectreviews" => json!({
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": { "creationTimestamp": null },
            "status": {
                "userInfo": {
                    "username": user.name,
                    "groups": user.groups.iter().map(String::as_str)
                        .chain(["system:authenticated"]).collect::<Vec<_>>(),
                },
            },
        }),
        "selfsubjectrulesreviews" => json!({
            "kind": "SelfSubjectRulesReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": { "creationTimestamp": null },
            "spec": question.get("spec").cloned().unwrap_or_else(|| json!({})),
            "status": {
                "incomplete": false,
                "resourceRules": if allowed {
                    json!([{ "verbs": all, "apiGroups": all, "resources": all }])
                } else {
                    json!([])
                },
                "nonResourceRules": if allowed {
                    json!([{ "verbs": all, "nonResourceURLs": all }])
                } else {
                    json!([])
                },
            },
        }),
        _ => json!({
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": { "creationTimestamp": null },
            "spec": question.get("spec").cloned().unwrap_or_else(|| json!({})),
            "status": { "allowed": allowed },
        }),
    }
}
