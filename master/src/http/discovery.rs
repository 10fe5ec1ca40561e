//! Documents about the API itself: versions, groups, resources, OpenAPI.

use std::fmt::Write as _;
use std::sync::Arc;

use bramble_api::{Status, discovery, openapi};
use bytes::Bytes;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::path::Document;
use super::response::{self, Body};
use super::{Api, accept};

/// Type of aggregated discovery documents.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers with a document.
///
/// # Errors
///
/// 404 when there is no such group or version.
pub(super) fn handle(
    api: &Arc<Api>,
    document: &Document,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let aggregated = accept::clauses(headers).iter().any(|clause| {
        clause.group == "apidiscovery.k8s.io"
            && clause.version == "v2"
            && clause.as_kind == "APIGroupDiscoveryList"
    });
    let plain = "application/json";
    let (content_type, value) = match document {
        Document::Paths => (plain, paths()),
        Document::CoreVersions if aggregated => (AGGREGATED, discovery::aggregated_core()),
        Document::CoreVersions => (plain, discovery::api_versions(&api.advertised)),
        Document::Groups if aggregated => (AGGREGATED, discovery::aggregated_groups()),
        Document::Groups => (plain, discovery::api_groups()),
        Document::Group(group) => {
            (plain, discovery::api_group(group).ok_or_else(Status::not_found_path)?)
        }
        Document::Resources(group, version) => {
            (plain, discovery::api_resources(group, version).ok_or_else(Status::not_found_path)?)
        }
        Document::OpenApiIndex => (plain, openapi::index()),
        Document::OpenApi(group, version) => {
            (plain, openapi::document(group, version).ok_or_else(Status::not_found_path)?)
        }
    };
    Ok(cacheable(content_type, &value, headers))
}

/// Answers with a document, or with 304 to a client that has it already.
fn cacheable(content_type: &'static str, value: &Value, headers: &HeaderMap) -> Response<Body> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut tag = String::from("\"");
    for byte in digest(&SHA256, &bytes).as_ref() {
        let _ = write!(tag, "{byte:02X}");
    }
    tag.push('"');
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut answer = if known {
        response::whole(StatusCode::NOT_MODIFIED, content_type, Bytes::new())
    } else {
        response::whole(StatusCode::OK, content_type, Bytes::from(bytes))
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

fn paths() -> Value {
    json!({
        "paths": [
            "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz",
            "/version",
        ],
    })
}
