//! Creating objects.

use bramble_api::{Resource, Status, defaults, patch, strategy, validate};
use serde_json::Value;

use super::commit::Outcome;
use super::{Objects, WriteOptions, meta};
use crate::{clock, random};

/// Names that are tried for `generateName` before giving up.
const NAMES_MAX: usize = 8;
/// Longest base of a generated name, in bytes, so that the whole fits into a DNS label.
const GENERATE_NAME_LEN_MAX: usize = 58;

impl Objects {
    pub(super) async fn create_object(
        &self,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        check_namespace(resource, namespace, &mut object)?;
        if !meta::text(&object, "resourceVersion").is_empty() {
            return Err(Status::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let found = self.require_namespace(resource, namespace, &object).await?;
        let base = meta::text(&object, "generateName").to_owned();
        let generate = meta::text(&object, "name").is_empty() && !base.is_empty();
        strategy::prepare_create(resource, &mut object);
        set_system_fields(&mut object);
        defaults::apply(resource, &mut object);
        for _ in 0..NAMES_MAX {
            let mut candidate = object.clone();
            if generate {
                let end = base.floor_char_boundary(GENERATE_NAME_LEN_MAX);
                let name =
                    format!("{}{}", base.get(..end).unwrap_or_default(), random::name_suffix());
                meta::set(&mut candidate, "name", Value::from(name));
            }
            strategy::named(resource, &mut candidate);
            let name = meta::text(&candidate, "name").to_owned();
            let errors = validate::create(resource, &candidate);
            if !errors.is_empty() {
                return Err(Status::invalid(resource, &name, &errors));
            }
            if let Some(found) = &found {
                self.check_pod_security(resource, found, &candidate)?;
            }
            if let Some(manager) = &options.field_manager {
                let now = clock::timestamp();
                patch::apply::track_update(resource, None, &mut candidate, manager, None, &now);
            }
            match self.insert(resource, candidate, options).await? {
                Outcome::Stored(object) | Outcome::Removed(object) => return Ok(object),
                Outcome::Conflict if generate => {}
                Outcome::Conflict => return Err(Status::already_exists(resource, &name)),
            }
        }
        Err(Status::already_exists(resource, &base))
    }

    /// Refuses content for a namespace that does not exist or is being deleted; returns the
    /// namespace of content that has one.
    async fn require_namespace(
        &self,
        resource: &'static Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Option<Value>, Status> {
        if !resource.namespaced {
            return Ok(None);
        }
        let found = self.load(Self::resource("", "namespaces"), "", namespace).await?;
        if meta::deleting(&found.object) && !resource.strategy.outlives_namespace {
            let name = meta::text(object, "name");
            return Err(Status::namespace_terminating(resource, name, namespace));
        }
        Ok(Some(found.object))
    }
}

/// Makes the object's namespace that of the request, or refuses it.
pub(super) fn check_namespace(
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Status> {
    if meta::child(object, "metadata").is_none() {
        return Err(Status::bad_request("metadata is not an object"));
    }
    let written = meta::text(object, "namespace");
    if !resource.namespaced {
        meta::remove(object, "namespace");
    } else if written.is_empty() {
        meta::set(object, "namespace", Value::from(namespace));
    } else if written != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

fn set_system_fields(object: &mut Value) {
    meta::set(object, "uid", Value::from(random::uid()));
    meta::set(object, "creationTimestamp", Value::from(clock::timestamp()));
}
