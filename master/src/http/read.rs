//! Reading: get and list.

use std::sync::Arc;
use std::time::Duration;

use bramble_api::Status;
use bramble_api::selector::{FieldSelector, Selector};
use bramble_api::table::{self, IncludeObject};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::accept::{self, Form};
use super::collection::{self, Printer};
use super::compress::Expected;
use super::response::{self, Body};
use super::{Call, Query};
use crate::clock;
use crate::objects::{ListOptions, Page, Shape, append, store_status};

/// Longest wait for a revision that is not there yet, as upstream.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// Answers with one object.
pub(super) async fn get(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let form = accept::form(call.headers)?;
    reach(call, revision(call.query)?).await?;
    let entry = call.api.objects.get_entry(call.resource, call.namespace, call.name).await?;
    let mut out = Vec::with_capacity(entry.value.len() + 128);
    match form {
        Form::Object => append(&mut out, &entry, Shape::Object)?,
        Form::Metadata => append(&mut out, &entry, Shape::Metadata)?,
        Form::Table => printer(call, form)?.append_table(&mut out, &entry, true)?,
    }
    Ok(response::whole(StatusCode::OK, "application/json", out.into()))
}

/// Answers with a page of objects.
pub(super) async fn list(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let printer = printer(call, accept::form(call.headers)?)?;
    let mut options = list_options(call)?;
    options.limit = call.query.limit;
    options.continue_token.clone_from(&call.query.continue_token);
    options.revision = list_revision(call).await?;
    let page = call.api.objects.page(call.resource, call.namespace, &options).await?;
    let bytes: usize = page.entries.iter().map(|entry| entry.value.len()).sum();
    let pieces = collection::pieces(printer, &list_metadata(&page), page.entries);
    let mut answer = response::stream("application/json", futures_util::stream::iter(pieces));
    answer.extensions_mut().insert(Expected(u64::try_from(bytes).unwrap_or(u64::MAX)));
    Ok(answer)
}

pub(super) fn printer(call: &Call<'_>, form: Form) -> Result<Printer, Status> {
    let include = include_object(call.query)?;
    Ok(Printer { resource: Arc::clone(call.resource), form, include, now: clock::time_of_day_s() })
}

/// Waits until a revision is there that the client has seen elsewhere.
async fn reach(call: &Call<'_>, asked: u64) -> Result<(), Status> {
    let newest = call.api.objects.revision();
    if asked <= newest {
        return Ok(());
    }
    match timeout(WAIT_MAX, call.api.objects.store().wait_for(asked)).await {
        Ok(result) => result.map_err(store_status),
        Err(_) => Err(Status::revision_too_large(asked, newest)),
    }
}

/// Answers with an object in the form that the client wants.
pub(super) fn answer_object(
    call: &Call<'_>,
    form: Form,
    code: StatusCode,
    object: Value,
) -> Result<Response<Body>, Status> {
    let value = match form {
        Form::Object => object,
        Form::Metadata => metadata_only(object),
        Form::Table => {
            let metadata = revision_only(&object);
            let include = include_object(call.query)?;
            let now = clock::time_of_day_s();
            table::table(call.resource, &[object], &metadata, include, true, now)
        }
    };
    Ok(response::json(code, &value))
}

/// Reads the selectors of a list, watch or collection delete.
pub(super) fn list_options(call: &Call<'_>) -> Result<ListOptions, Status> {
    let labels = call
        .query
        .label_selector
        .as_deref()
        .map(Selector::parse)
        .transpose()
        .map_err(|error| Status::bad_request(error.to_string()))?;
    let fields = call
        .query
        .field_selector
        .as_deref()
        .map(|text| FieldSelector::parse(call.resource, text))
        .transpose()?;
    Ok(ListOptions { labels, fields, ..ListOptions::default() })
}

/// Reads `resourceVersion` as a number; 0 when it is absent.
pub(super) fn revision(query: &Query) -> Result<u64, Status> {
    match query.resource_version.as_deref() {
        None | Some("") => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| Status::bad_request(format!("invalid resource version: {text:?}"))),
    }
}

/// Returns the revision at which a list is to be read; 0 for now.
///
/// Everything here is as new as can be, so "not older than" is now, once that revision exists.
async fn list_revision(call: &Call<'_>) -> Result<u64, Status> {
    let asked = revision(call.query)?;
    match call.query.resource_version_match.as_deref() {
        Some("Exact") if asked != 0 => Ok(asked),
        Some("NotOlderThan") | None => {
            reach(call, asked).await?;
            Ok(0)
        }
        Some(other) => Err(Status::bad_request(format!(
            "resourceVersionMatch {other:?} is forbidden with resourceVersion {asked}"
        ))),
    }
}

/// Reads `includeObject`, which says how much of each object a table carries.
pub(super) fn include_object(query: &Query) -> Result<IncludeObject, Status> {
    match query.include_object.as_deref() {
        None | Some("Metadata") => Ok(IncludeObject::Metadata),
        Some("None") => Ok(IncludeObject::None),
        Some("Object") => Ok(IncludeObject::Object),
        Some(other) => Err(Status::bad_request(format!("unknown includeObject {other:?}"))),
    }
}

/// Returns list metadata with the resource version of an object.
pub(super) fn revision_only(object: &Value) -> Value {
    json!({ "resourceVersion": object.pointer("/metadata/resourceVersion") })
}

/// Reduces an object to its metadata.
pub(super) fn metadata_only(mut object: Value) -> Value {
    let metadata = object.get_mut("metadata").map(Value::take).unwrap_or_default();
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
    })
}

fn list_metadata(list: &Page) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), Value::from(list.revision.to_string()));
    if let Some(token) = &list.continue_token {
        metadata.insert("continue".to_owned(), Value::from(token.as_str()));
    }
    if let Some(remaining) = list.remaining {
        metadata.insert("remainingItemCount".to_owned(), Value::from(remaining));
    }
    Value::Object(metadata)
}
