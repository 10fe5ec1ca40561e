//! Writing: create, update and patch.

use std::sync::Arc;

use bramble_api::Status;
use bramble_api::decode::{self, MediaType};
use bramble_api::status::FieldError;
use http::header::USER_AGENT;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;

use super::query::invalid_options;
use super::response::{self, Body};
use super::{Call, Query, accept, body, read};
use crate::objects::{Part, Patch, PatchRequest, WriteOptions};

/// Longest name of a field manager, in characters, as upstream.
const FIELD_MANAGER_LEN_MAX: usize = 128;

/// Creates an object.
pub(super) async fn create(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Status> {
    let form = accept::form(call.headers)?;
    let (object, mut warnings) = read_object(call, body).await?;
    let namespace = match call.namespace {
        "" if call.resource.namespaced => {
            return Err(Status::method_not_supported(call.resource, "create"));
        }
        namespace => namespace,
    };
    let options = options(call)?;
    let created = call.api.objects.create(call.resource, namespace, object, &options).await?;
    warnings.extend(options.notes.take_warnings());
    let answer = read::answer_object(call, form, StatusCode::CREATED, created)?;
    Ok(response::with_warnings(answer, &warnings))
}

/// Replaces an object or its status.
pub(super) async fn update(
    call: &Call<'_>,
    part: Part,
    body: Incoming,
) -> Result<Response<Body>, Status> {
    let form = accept::form(call.headers)?;
    let (object, mut warnings) = read_object(call, body).await?;
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    if name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let options = options(call)?;
    let objects = &call.api.objects;
    let updated = objects.update(call.resource, call.namespace, part, object, &options).await?;
    warnings.extend(options.notes.take_warnings());
    let answer = read::answer_object(call, form, StatusCode::OK, updated)?;
    Ok(response::with_warnings(answer, &warnings))
}

/// Patches an object or its status.
pub(super) async fn patch(
    call: &Call<'_>,
    part: Part,
    body: Incoming,
) -> Result<Response<Body>, Status> {
    let form = accept::form(call.headers)?;
    let (patch, mut warnings) = read_patch(call.headers, call.query, body).await?;
    if matches!(patch, Patch::Strategic(_)) && !call.resource.merges_strategically() {
        return Err(Status::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ]));
    }
    let options = options(call)?;
    let applies = matches!(patch, Patch::Apply { .. });
    if applies && call.query.field_manager.is_none() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(invalid_options("PatchOptions", error));
    }
    if !applies && call.query.force {
        let detail = "may not be specified for non-apply patch";
        return Err(invalid_options("PatchOptions", FieldError::forbidden("force", detail)));
    }
    let request = PatchRequest { patch, validation: call.query.field_validation };
    let patched = call
        .api
        .objects
        .patch(call.resource, call.namespace, call.name, part, &request, &options)
        .await?;
    warnings.extend(patched.warnings);
    let code = if patched.created { StatusCode::CREATED } else { StatusCode::OK };
    warnings.extend(options.notes.take_warnings());
    let answer = read::answer_object(call, form, code, patched.object)?;
    Ok(response::with_warnings(answer, &warnings))
}

/// Reads a patch of any type.
pub(super) async fn read_patch(
    headers: &HeaderMap,
    query: &Query,
    body: Incoming,
) -> Result<(Patch, Vec<String>), Status> {
    let bytes = body::read(body).await?;
    let parse = |media| body::parse_as(media, &bytes, query.field_validation);
    Ok(match body::content_type(headers) {
        "application/json-patch+json" => {
            let (value, warnings) = parse(MediaType::Json)?;
            (Patch::Json(value), warnings)
        }
        "application/merge-patch+json" => {
            let (value, warnings) = parse(MediaType::Json)?;
            (Patch::Merge(value), warnings)
        }
        "application/strategic-merge-patch+json" => {
            let (value, warnings) = parse(MediaType::Json)?;
            (Patch::Strategic(value), warnings)
        }
        "application/apply-patch+yaml" => {
            let (applied, warnings) = parse(MediaType::Yaml)?;
            (Patch::Apply { applied, force: query.force }, warnings)
        }
        _ => {
            return Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ]));
        }
    })
}

/// Returns how this request writes.
pub(super) fn options(call: &Call<'_>) -> Result<WriteOptions, Status> {
    let field_manager = match &call.query.field_manager {
        Some(manager) if manager.chars().count() > FIELD_MANAGER_LEN_MAX => {
            let error = FieldError::too_long("fieldManager", FIELD_MANAGER_LEN_MAX);
            return Err(invalid_options("PatchOptions", error));
        }
        Some(manager) => manager.clone(),
        None => default_field_manager(call.headers),
    };
    Ok(WriteOptions {
        dry_run: call.query.dry_run,
        class: None,
        field_manager: Some(field_manager),
        user: Some(Arc::clone(call.user)),
        notes: call.notes.clone(),
    })
}

/// Names a client that does not name itself by its program, as upstream.
fn default_field_manager(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    match agent.split('/').next().unwrap_or("") {
        "" => "unknown".to_owned(),
        program => program.chars().take(FIELD_MANAGER_LEN_MAX).collect(),
    }
}

async fn read_object(call: &Call<'_>, body: Incoming) -> Result<(Value, Vec<String>), Status> {
    let media = body::media_type(call.headers)?;
    let bytes = body::read(body).await?;
    let validation = call.query.field_validation;
    let decoded = decode::decode(call.resource, &bytes, media, validation)?;
    body::check_depth(&decoded.object)?;
    Ok((decoded.object, decoded.warnings))
}
