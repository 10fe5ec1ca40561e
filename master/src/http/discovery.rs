//! Documents about the API itself: versions, groups, resources, OpenAPI.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bramble_api::{Registry, Status, discovery, openapi};
use bramble_process::panics;
use bytes::Bytes;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::path::Document;
use super::response::{self, Body};
use super::{Api, accept};
use crate::access::ISSUER;

const JSON: &str = "application/json";
/// Type of the keys that sign tokens.
const JWK_SET: &str = "application/jwk-set+json";
/// Type of OpenAPI version 2 in protobuf, and its spelling of old, which is no valid media type.
const OPENAPI_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const OPENAPI_PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// Type of aggregated discovery documents.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Documents that are asked for often and cost much to make.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// The index of OpenAPI version 3, and of which set it is.
    index: Mutex<Option<(Arc<Registry>, Bytes)>>,
}

impl Documents {
    fn index(&self, registry: &Arc<Registry>) -> Bytes {
        let mut kept = self.index.lock().unwrap_or_else(|_| panics::torn("the OpenAPI index"));
        match &*kept {
            Some((of, index)) if Arc::ptr_eq(of, registry) => index.clone(),
            Some(_) | None => {
                let index = Bytes::from(openapi::v3_index(registry));
                *kept = Some((Arc::clone(registry), index.clone()));
                index
            }
        }
    }
}

/// Answers with a document.
///
/// # Errors
///
/// 404 when there is no such group or version.
pub(super) fn handle(
    api: &Arc<Api>,
    registry: &Arc<Registry>,
    document: &Document,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let aggregated = accept::clauses(headers).iter().any(|clause| {
        clause.group == "apidiscovery.k8s.io"
            && clause.version == "v2"
            && clause.as_kind == "APIGroupDiscoveryList"
    });
    let value = match document {
        Document::Paths => paths(),
        Document::CoreVersions if aggregated => {
            return Ok(cacheable(
                AGGREGATED,
                encode(&discovery::aggregated_core(registry)),
                headers,
            ));
        }
        Document::CoreVersions => discovery::api_versions(&api.advertised),
        Document::Groups if aggregated => {
            return Ok(cacheable(
                AGGREGATED,
                encode(&discovery::aggregated_groups(registry)),
                headers,
            ));
        }
        Document::Groups => discovery::api_groups(registry),
        Document::Group(group) => {
            discovery::api_group(registry, group).ok_or_else(Status::not_found_path)?
        }
        Document::Resources(group, version) => {
            discovery::api_resources(registry, group, version).ok_or_else(Status::not_found_path)?
        }
        Document::TokenIssuer => return Ok(cacheable(JSON, encode(&token_issuer(api)), headers)),
        Document::TokenKeys => {
            let keys = json!({ "keys": [api.account_tokens.jwk()] });
            return Ok(cacheable(JWK_SET, encode(&keys), headers));
        }
        Document::OpenApiV2 => return openapi_v2(registry, headers),
        Document::OpenApiIndex => {
            return Ok(cacheable(JSON, api.documents.index(registry), headers));
        }
        Document::OpenApi(group, version) => {
            let text =
                openapi::v3_json(registry, group, version).ok_or_else(Status::not_found_path)?;
            return Ok(cacheable(JSON, text.into(), headers));
        }
    };
    Ok(cacheable(JSON, encode(&value), headers))
}

/// Answers with the document of OpenAPI version 2 in the first form of the client's list that we
/// have.
///
/// # Errors
///
/// 406 when we have none of them.
fn openapi_v2(registry: &Registry, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let clauses = accept::clauses(headers);
    let protobuf = if clauses.is_empty() {
        false
    } else {
        clauses
            .iter()
            .find_map(|clause| match clause.media {
                JSON | "application/*" | "*/*" => Some(false),
                OPENAPI_PROTOBUF | OPENAPI_PROTOBUF_OLD => Some(true),
                _ => None,
            })
            .ok_or_else(|| Status::not_acceptable(&[JSON, OPENAPI_PROTOBUF]))?
    };
    Ok(if protobuf {
        cacheable(OPENAPI_PROTOBUF, openapi::v2_protobuf(registry).into(), headers)
    } else {
        cacheable(JSON, openapi::v2_json(registry).into(), headers)
    })
}

/// Says who signs the tokens of service accounts, as OpenID Connect has it.
fn token_issuer(api: &Api) -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("https://{}/openid/v1/jwks", api.advertised),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

fn encode(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Answers with a document, or with 304 to a client that has it already.
fn cacheable(content_type: &'static str, bytes: Bytes, headers: &HeaderMap) -> Response<Body> {
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
        response::whole(StatusCode::OK, content_type, bytes)
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
            "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2",
            "/openapi/v3", "/readyz", "/version",
        ],
    })
}

#[cfg(test)]
mod tests {
    use bramble_api::registry;
    use http::header::{ACCEPT, CONTENT_TYPE};

    use super::*;

    fn headers(accept: &str, known: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ACCEPT, accept), (IF_NONE_MATCH, known)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        headers
    }

    #[track_caller]
    fn check(accept: &str, expected: Option<&str>) {
        let answer = openapi_v2(registry::built_in(), &headers(accept, ""));
        let found = match &answer {
            Ok(answer) => Some(answer.headers()[CONTENT_TYPE].to_str().unwrap()),
            Err(status) => {
                assert_eq!(status.code, 406);
                None
            }
        };
        assert_eq!(found, expected, "{accept}");
    }

    #[test]
    fn openapi_v2_comes_in_the_first_known_form() {
        check("", Some(JSON));
        check("*/*", Some(JSON));
        check("application/json", Some(JSON));
        check(OPENAPI_PROTOBUF, Some(OPENAPI_PROTOBUF));
        check(OPENAPI_PROTOBUF_OLD, Some(OPENAPI_PROTOBUF));
        check(&format!("{OPENAPI_PROTOBUF}, application/json"), Some(OPENAPI_PROTOBUF));
        check(&format!("text/html, application/json, {OPENAPI_PROTOBUF}"), Some(JSON));
        check("text/html", None);
        check("application/vnd.kubernetes.protobuf", None);
    }

    #[test]
    fn known_document_is_not_sent_again() {
        for form in [JSON, OPENAPI_PROTOBUF] {
            let answer = openapi_v2(registry::built_in(), &headers(form, "")).unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let tag = answer.headers()[ETAG].to_str().unwrap();
            let again = openapi_v2(registry::built_in(), &headers(form, tag)).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            let other = openapi_v2(registry::built_in(), &headers(form, "\"other\"")).unwrap();
            assert_eq!(other.status(), StatusCode::OK);
        }
    }
}
