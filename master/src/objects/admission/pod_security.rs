//! What the pods of a namespace may ask of their node.
//!
//! The levels themselves are `bramble_api::pod_security`.

use async_trait::async_trait;
use bramble_api::Status;
use bramble_api::pod_security::{self, Level, Policies};
use serde_json::Value;

use super::{Attempt, Operation, Plugin, Verdict, is_pod};
use crate::objects::{Objects, meta};

/// The namespace that the master's own default level does not hold for: what runs the cluster
/// needs its nodes. Its labels hold as everywhere.
const SYSTEM: &str = "kube-system";
/// Where the audit log has what the namespace wants to be noted, as upstream.
const AUDIT: &str = "pod-security.kubernetes.io/audit-violations";

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct PodSecurity {
    /// Level of pods in namespaces that do not say.
    pub(super) default: Level,
}

#[async_trait]
impl Plugin for PodSecurity {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        // Of a pod whatever its part, of others the template.
        let written = is_pod(attempt.resource) || attempt.subresource.is_none();
        attempt.operation != Operation::Delete && attempt.resource.pod_spec.is_some() && written
    }

    async fn validate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &Value,
        verdict: &mut Verdict,
    ) -> Result<(), Status> {
        let pod = is_pod(attempt.resource);
        if pod && attempt.old.is_some_and(|old| !pod_security::significant(old, object)) {
            return Ok(());
        }
        let found = if pod {
            Some((part(object, "metadata"), part(object, "spec")))
        } else {
            pod_security::template(object)
        };
        let Some((metadata, spec)) = found else { return Ok(()) };
        let Some(namespace) = objects.namespace(attempt.namespace).await? else { return Ok(()) };
        let policies = self.policies(&namespace);
        if pod && let Some(found) = policies.enforce.violations(metadata, spec) {
            let name = meta::text(object, "name");
            return Err(Status::forbidden(attempt.resource, name, &format!("violates {found}")));
        }
        let would = |found| format!("would violate {found}");
        verdict.warnings.extend(policies.warn.violations(metadata, spec).map(would));
        let noted = policies.audit.violations(metadata, spec).map(would);
        verdict.audit.extend(noted.map(|text| (AUDIT, text)));
        Ok(())
    }
}

impl PodSecurity {
    fn policies(&self, namespace: &Value) -> Policies {
        let system = meta::text(namespace, "name") == SYSTEM;
        let default = if system { Level::Privileged } else { self.default };
        Policies::of_namespace(namespace, default)
    }
}

fn part<'a>(object: &'a Value, field: &str) -> &'a Value {
    object.get(field).unwrap_or(&Value::Null)
}
