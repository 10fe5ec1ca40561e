//! Changing objects by patches: JSON, merge, strategic merge, apply.

use std::sync::Arc;

use bramble_api::decode::{self, FieldValidation};
use bramble_api::{Resource, Status, patch};
use serde_json::Value;

use super::commit::{ATTEMPTS_MAX, Loaded, Outcome};
use super::create::check_namespace;
use super::update::check_precondition;
use super::{Objects, Part, WriteOptions, meta};
use crate::clock;

/// A patch as a client sent it.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 6902: a list of operations.
    Json(Value),
    /// RFC 7386: fields to set, null to remove.
    Merge(Value),
    /// Merge by the keys of Kubernetes's lists.
    Strategic(Value),
    /// Server-side apply: all that the manager wants to own.
    Apply {
        /// What is applied.
        applied: Value,
        /// Takes fields from other managers.
        force: bool,
    },
}

/// A patch, and what to do about fields that do not exist.
#[derive(Clone, Debug)]
pub(crate) struct PatchRequest {
    /// The patch.
    pub(crate) patch: Patch,
    /// What to do about unknown fields in the result.
    pub(crate) validation: FieldValidation,
}

/// What a patch did.
#[derive(Debug)]
pub(crate) struct Patched {
    /// The object as it is now.
    pub(crate) object: Value,
    /// It did not exist before.
    pub(crate) created: bool,
    /// For the client's eyes.
    pub(crate) warnings: Vec<String>,
}

impl Objects {
    pub(super) async fn patch_object(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        part: Part,
        request: &PatchRequest,
        options: &WriteOptions,
    ) -> Result<Patched, Status> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(old) = self.find(resource, namespace, name).await? else {
                if !matches!(request.patch, Patch::Apply { .. }) || part != Part::Main {
                    return Err(Status::not_found(resource, name));
                }
                return self.create_applied(resource, namespace, name, request, options).await;
            };
            let patched = patched(resource, &old, part, &request.patch, options)?;
            let decoded = decode::check(resource, patched, request.validation)?;
            let mut new = decoded.object;
            check_name(name, &mut new)?;
            check_namespace(resource, namespace, &mut new)?;
            check_precondition(resource, &old.object, &new)?;
            // Apply has written its own entry already.
            let tracked = matches!(request.patch, Patch::Apply { .. });
            let field_manager = options.field_manager.clone().filter(|_| !tracked);
            let write = WriteOptions { field_manager, ..options.clone() };
            let new = self.prepared(resource, &old, new, part, &write).await?;
            match self.admit_next(resource, &old, new, part, options).await? {
                Outcome::Stored(object) | Outcome::Removed(object) => {
                    return Ok(Patched { object, created: false, warnings: decoded.warnings });
                }
                Outcome::Conflict | Outcome::Outdated => {}
            }
        }
        Err(Status::conflict_modified(resource, name))
    }

    async fn create_applied(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        request: &PatchRequest,
        options: &WriteOptions,
    ) -> Result<Patched, Status> {
        let Patch::Apply { applied, force } = &request.patch else {
            return Err(Status::not_found(resource, name));
        };
        if !meta::text(applied, "uid").is_empty() {
            return Err(Status::conflict(
                resource,
                name,
                "uid mismatch: the provided object specified a uid, and no existing object was found",
            ));
        }
        let object = applied_to(resource, None, applied, *force, Part::Main, options)?;
        let mut decoded = decode::check(resource, object, request.validation)?;
        check_name(name, &mut decoded.object)?;
        let write = WriteOptions { field_manager: None, ..options.clone() };
        let object = self.create(resource, namespace, decoded.object, &write).await?;
        Ok(Patched { object, created: true, warnings: decoded.warnings })
    }
}

/// Gives an object without a name the one of its path; refuses another one.
fn check_name(name: &str, object: &mut Value) -> Result<(), Status> {
    match meta::text(object, "name") {
        "" => meta::set(object, "name", Value::from(name)),
        same if same == name => {}
        other => {
            let other = patch::bounds::shortened(other);
            return Err(Status::bad_request(format!(
                "the name of the object ({other}) does not match the name on the URL ({name})"
            )));
        }
    }
    Ok(())
}

fn patched(
    resource: &Resource,
    old: &Loaded,
    part: Part,
    patch: &Patch,
    options: &WriteOptions,
) -> Result<Value, Status> {
    match patch {
        // Upstream reads null as a patch that changes nothing.
        Patch::Json(Value::Null) | Patch::Strategic(Value::Null) => Ok(old.object.clone()),
        Patch::Json(operations) => patch::json::apply(&old.object, operations),
        Patch::Merge(fields) if !fields.is_object() => {
            Err(Status::bad_request("Invalid JSON Patch"))
        }
        Patch::Merge(fields) => {
            let mut object = old.object.clone();
            patch::merge::apply(&mut object, fields);
            Ok(object)
        }
        Patch::Strategic(fields) => patch::strategic::apply(resource, &old.object, fields),
        Patch::Apply { applied, force } => {
            applied_to(resource, Some(&old.object), applied, *force, part, options)
        }
    }
}

fn applied_to(
    resource: &Resource,
    live: Option<&Value>,
    applied: &Value,
    force: bool,
    part: Part,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let manager = options.field_manager.as_deref().unwrap_or("unknown");
    let request = patch::apply::Request {
        applied,
        manager,
        force,
        subresource: part.subresource(),
        now: &clock::timestamp(),
    };
    patch::apply::apply(resource, live, &request)
}
