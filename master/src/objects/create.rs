//! Creating objects.

use bramble_api::{Resource, Status, defaults, patch, strategy, validate};
use serde_json::Value;

use super::admission::Attempt;
use super::commit::{ATTEMPTS_MAX, Outcome};
use super::{Objects, WriteOptions, meta};
use crate::{clock, random};

/// Names that are tried for `generateName` before giving up.
const NAMES_MAX: usize = 8;
/// Longest base of a generated name, in bytes, so that the whole fits into a DNS label.
const GENERATE_NAME_LEN_MAX: usize = 58;

impl Objects {
    pub(super) async fn create_object(
        &self,
        resource: &Resource,
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
        let base = meta::text(&object, "generateName").to_owned();
        let generate = meta::text(&object, "name").is_empty() && !base.is_empty();
        strategy::prepare_create(resource, &mut object);
        set_system_fields(&mut object);
        defaults::apply(resource, &mut object);
        let attempt = Attempt::create(resource, namespace, options);
        self.admission.mutate(self, &attempt, &mut object).await?;
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
            if let Some(manager) = &options.field_manager {
                let now = clock::timestamp();
                patch::apply::track_update(resource, None, &mut candidate, manager, None, &now);
            }
            match self.admit_new(&attempt, candidate, options).await? {
                Outcome::Stored(object) | Outcome::Removed(object) => return Ok(object),
                Outcome::Conflict if generate => {}
                Outcome::Conflict | Outcome::Outdated => {
                    return Err(Status::already_exists(resource, &name));
                }
            }
        }
        Err(Status::already_exists(resource, &base))
    }

    /// Stores a valid new object if it is admitted; asks again when what was taken for it is gone.
    async fn admit_new(
        &self,
        attempt: &Attempt<'_>,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        for _ in 0..ATTEMPTS_MAX {
            let verdict = self.admission.validate(self, attempt, &object).await?;
            let exchange = &verdict.exchange;
            let outcome = self.insert(attempt.resource, object.clone(), exchange, options).await?;
            match outcome {
                Outcome::Outdated => {}
                Outcome::Conflict => return Ok(Outcome::Conflict),
                Outcome::Stored(_) | Outcome::Removed(_) => {
                    options.notes.add(verdict);
                    return Ok(outcome);
                }
            }
        }
        Err(Status::conflict_modified(attempt.resource, meta::text(&object, "name")))
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
