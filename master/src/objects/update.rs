//! Replacing objects and their status.

use bramble_api::status::{Cause, FieldError};
use bramble_api::{Resource, Status, defaults, patch, strategy, validate};
use serde_json::Value;

use super::admission::Attempt;
use super::commit::{ATTEMPTS_MAX, Loaded, Outcome};
use super::create::check_namespace;
use super::{Objects, Part, WriteOptions, meta};
use crate::clock;

impl Part {
    /// Name of the subresource, none for the object itself.
    pub(super) fn subresource(self) -> Option<&'static str> {
        match self {
            Self::Main => None,
            Self::Status => Some("status"),
            Self::Resize => Some("resize"),
            Self::EphemeralContainers => Some("ephemeralcontainers"),
        }
    }
}

impl Objects {
    pub(super) async fn update_object(
        &self,
        resource: &Resource,
        namespace: &str,
        part: Part,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        check_namespace(resource, namespace, &mut object)?;
        let name = meta::text(&object, "name").to_owned();
        let asked = meta::text(&object, "resourceVersion").to_owned();
        if asked.is_empty() && !resource.strategy.unconditional_update {
            // The value as upstream writes it: a number without a sign.
            let detail = "0x0: must be specified for an update".to_owned();
            let field = "metadata.resourceVersion".to_owned();
            let error = FieldError { cause: Cause::Invalid, field, detail };
            return Err(Status::invalid(resource, &name, &[error]));
        }
        for _ in 0..ATTEMPTS_MAX {
            let old = self.load(resource, namespace, &name).await?;
            check_precondition(resource, &old.object, &object)?;
            let new = self.prepared(resource, &old, object.clone(), part, options).await?;
            match self.admit_next(resource, &old, new, part, options).await? {
                Outcome::Stored(object) | Outcome::Removed(object) => return Ok(object),
                Outcome::Conflict | Outcome::Outdated if asked.is_empty() => {}
                Outcome::Conflict | Outcome::Outdated => {
                    return Err(Status::conflict_modified(resource, &name));
                }
            }
        }
        Err(Status::conflict_modified(resource, &name))
    }

    pub(super) async fn modify_object(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        part: Part,
        options: &WriteOptions,
        change: &(dyn Fn(&mut Value) -> Result<(), Status> + Send + Sync),
    ) -> Result<Value, Status> {
        for _ in 0..ATTEMPTS_MAX {
            let old = self.load(resource, namespace, name).await?;
            let mut new = old.object.clone();
            change(&mut new)?;
            let new = self.prepared(resource, &old, new, part, options).await?;
            match self.admit_next(resource, &old, new, part, options).await? {
                Outcome::Stored(object) | Outcome::Removed(object) => return Ok(object),
                Outcome::Conflict | Outcome::Outdated => {}
            }
        }
        Err(Status::conflict_modified(resource, name))
    }

    /// Makes of what was asked for what is to be stored: keeps what this part may not change,
    /// fills in defaults, has it changed by those who admit it, checks it.
    pub(super) async fn prepared(
        &self,
        resource: &Resource,
        old: &Loaded,
        mut new: Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let subresource = part.subresource();
        keep_system_fields(&old.object, &mut new);
        self.addresses.carry_over(resource, &old.object, &mut new);
        // First the defaults: what a client leaves to them is no change that a generation counts.
        defaults::apply(resource, &mut new);
        strategy::prepare_update(resource, &old.object, &mut new, subresource);
        let attempt = Attempt::update(resource, subresource, &old.object, options);
        self.admission.mutate(self, &attempt, &mut new).await?;
        let errors = match part {
            Part::Main => validate::update(resource, &old.object, &new),
            Part::Status => validate::status_update(resource, &old.object, &new),
            Part::Resize => validate::resize(resource, &old.object, &new),
            Part::EphemeralContainers => validate::ephemeral(resource, &old.object, &new),
        };
        if !errors.is_empty() {
            return Err(Status::invalid(resource, meta::text(&new, "name"), &errors));
        }
        if let Some(manager) = &options.field_manager {
            let now = clock::timestamp();
            let old = Some(&old.object);
            patch::apply::track_update(resource, old, &mut new, manager, subresource, &now);
        }
        Ok(new)
    }
}

/// Refuses a write that was decided on another state or another object.
pub(super) fn check_precondition(
    resource: &Resource,
    old: &Value,
    new: &Value,
) -> Result<(), Status> {
    let name = meta::text(old, "name");
    let asked = meta::text(new, "resourceVersion");
    if !asked.is_empty() && asked != meta::text(old, "resourceVersion") {
        return Err(Status::conflict_modified(resource, name));
    }
    let (asked, present) = (meta::text(new, "uid"), meta::text(old, "uid"));
    if !asked.is_empty() && asked != present {
        let detail = format!(
            "Precondition failed: UID in precondition: {asked}, UID in object meta: {present}"
        );
        return Err(Status::conflict(resource, name, &detail));
    }
    Ok(())
}

/// Restores the fields of `metadata` that no client may change.
fn keep_system_fields(old: &Value, new: &mut Value) {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
        "resourceVersion",
    ] {
        match old.get("metadata").and_then(|meta| meta.get(field)) {
            Some(value) => meta::set(new, field, value.clone()),
            None => meta::remove(new, field),
        }
    }
}
