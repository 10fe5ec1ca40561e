//! Who may speak for a node: what `bramble node replace` and `bramble node revoke` talk to.
//!
//! Private to bramble; not part of the Kubernetes API. For administrators only, as all of it.

use std::sync::Arc;

use bramble_api::Status;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::path::NodeAccess;
use super::response::{self, Body};
use super::{Api, body};

/// Longest that another board may wait to take a name, in seconds: a day. Whoever waits longer says
/// it again.
const TTL_S_MAX: u64 = 86_400;

/// How long another board may take a name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReplaceRequest {
    /// In seconds.
    ttl_seconds: u64,
}

/// Answers `POST /bramble/v1/nodes/<node>/{replace,revoke}`.
pub(super) async fn handle(
    api: &Arc<Api>,
    node: &str,
    access: NodeAccess,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    if request.method() != Method::POST {
        return Err(Status::not_found_path());
    }
    match access {
        NodeAccess::Revoke => {
            api.nodes.revoke(node).await?;
            tracing::info!(%node, "access revoked");
            Ok(response::json(StatusCode::OK, &Status::success()))
        }
        NodeAccess::Replace => {
            let bytes = body::read(request.into_body()).await?;
            let ReplaceRequest { ttl_seconds } = serde_json::from_slice(&bytes)
                .map_err(|error| Status::bad_request(error.to_string()))?;
            if ttl_seconds == 0 || ttl_seconds > TTL_S_MAX {
                return Err(Status::bad_request(format!("ttlSeconds must be 1 to {TTL_S_MAX}")));
            }
            let until_ms = api.nodes.permit_replace(node, ttl_seconds).await?;
            tracing::info!(%node, "another board may take its place");
            Ok(response::json(StatusCode::OK, &json!({"untilMs": until_ms})))
        }
    }
}
