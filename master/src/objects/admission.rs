//! What is decided about a write beside whether its object is valid: namespaces that must stay, and
//! what the pods of a namespace may ask of their node.
//!
//! The rules themselves are `bramble_api`'s.

use bramble_api::pod_security::{self, Level, Policies};
use bramble_api::{Resource, Status};
use serde_json::Value;

use super::{Objects, meta};

/// The namespace that the master's own default level does not hold for: what runs the cluster
/// needs its nodes. Its labels hold as everywhere.
const SYSTEM: &str = "kube-system";

/// Refuses to delete what must stay.
pub(super) fn check_delete(resource: &Resource, name: &str) -> Result<(), Status> {
    if resource.strategy.immortal.contains(&name) {
        let why = format!("this {} may not be deleted", resource.singular);
        return Err(Status::forbidden(resource, name, &why));
    }
    Ok(())
}

impl Objects {
    /// Refuses a pod that goes beyond what its namespace enforces.
    pub(super) fn check_pod_security(
        &self,
        resource: &Resource,
        namespace: &Value,
        pod: &Value,
    ) -> Result<(), Status> {
        if !is_pod(resource) {
            return Ok(());
        }
        let policy = self.policies(namespace).enforce;
        let (metadata, spec) = (part(pod, "metadata"), part(pod, "spec"));
        match policy.violations(metadata, spec) {
            None => Ok(()),
            Some(found) => {
                let name = meta::text(pod, "name");
                Err(Status::forbidden(resource, name, &format!("violates {found}")))
            }
        }
    }

    /// Checks the next state of a pod against what its namespace enforces.
    pub(super) async fn check_pod_update(
        &self,
        resource: &'static Resource,
        old: &Value,
        new: &Value,
    ) -> Result<(), Status> {
        if !is_pod(resource) || !pod_security::significant(old, new) {
            return Ok(());
        }
        match self.namespace_of(new).await? {
            Some(namespace) => self.check_pod_security(resource, &namespace, new),
            None => Ok(()),
        }
    }

    /// What users are to be warned of: what the namespace of a pod, or of the pods that an object
    /// makes, would rather not have.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn pod_security_warnings(
        &self,
        resource: &'static Resource,
        object: &Value,
    ) -> Result<Vec<String>, Status> {
        let found = if is_pod(resource) {
            Some((part(object, "metadata"), part(object, "spec")))
        } else {
            pod_security::template(object)
        };
        let Some((metadata, spec)) = found else {
            return Ok(Vec::new());
        };
        let Some(namespace) = self.namespace_of(object).await? else {
            return Ok(Vec::new());
        };
        let warn = self.policies(&namespace).warn;
        let found = warn.violations(metadata, spec);
        Ok(found.map(|found| format!("would violate {found}")).into_iter().collect())
    }

    async fn namespace_of(&self, object: &Value) -> Result<Option<Value>, Status> {
        let namespaces = Self::resource("", "namespaces");
        let found = self.find(namespaces, "", meta::text(object, "namespace")).await?;
        Ok(found.map(|found| found.object))
    }

    fn policies(&self, namespace: &Value) -> Policies {
        let system = meta::text(namespace, "name") == SYSTEM;
        let default = if system { Level::Privileged } else { self.pod_security_default };
        Policies::of_namespace(namespace, default)
    }
}

fn is_pod(resource: &Resource) -> bool {
    // Its specification is that of a pod itself, and not of pods that it makes.
    resource.pod_spec == Some("/spec")
}

fn part<'a>(object: &'a Value, field: &str) -> &'a Value {
    object.get(field).unwrap_or(&Value::Null)
}
