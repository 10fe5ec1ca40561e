//! Requests for certificates: who asks is noted, and only who may sign or approve for a signer does.

use std::sync::Arc;

use async_trait::async_trait;
use bramble_api::{Resource, Status};
use bramble_master_core::access::attributes::Attributes;
use bramble_master_core::access::user::{MASTERS, User};
use serde_json::{Value, json};

use super::{Attempt, Operation, Plugin, Verdict};
use crate::access::{Authorizer, CLIENT_SIGNER, requested_subject};
use crate::objects::{Objects, meta};

/// As upstream's plug-ins CertificateApproval, CertificateSigning and CertificateSubjectRestriction.
#[derive(Debug)]
pub(super) struct SigningRequests {
    /// Says what somebody may do.
    pub(super) authorizer: Arc<Authorizer>,
}

#[async_trait]
impl Plugin for SigningRequests {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        let requests = Objects::resource("certificates.k8s.io", "certificatesigningrequests");
        attempt.of(requests) && attempt.operation != Operation::Delete
    }

    async fn mutate(
        &self,
        _: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        if attempt.operation != Operation::Create {
            return Ok(());
        }
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            // What a client says of itself does not count.
            for field in ["username", "uid", "groups", "extra"] {
                spec.remove(field);
            }
            let Some(user) = attempt.user else { return Ok(()) };
            spec.insert("username".to_owned(), user.name.as_str().into());
            spec.insert("groups".to_owned(), json!(user.groups));
            if !user.uid.is_empty() {
                spec.insert("uid".to_owned(), user.uid.as_str().into());
            }
            if !user.extra.is_empty() {
                spec.insert("extra".to_owned(), json!(user.extra));
            }
        }
        Ok(())
    }

    async fn validate(
        &self,
        _: &Objects,
        attempt: &Attempt<'_>,
        object: &Value,
        _: &mut Verdict,
    ) -> Result<(), Status> {
        let signer = meta::text_at(object, "/spec/signerName");
        let name = meta::text(object, "name");
        let refuse = |why: &str| Err(Status::forbidden(attempt.resource, name, why));
        let Some(old) = attempt.old else {
            let groups = requested_subject(object).map_or_else(Vec::new, |subject| subject.groups);
            if signer == CLIENT_SIGNER && groups.iter().any(|group| group == MASTERS) {
                return refuse(&format!(
                    "use of {signer} signer with {MASTERS} group is not allowed"
                ));
            }
            return Ok(());
        };
        let Some(user) = attempt.user else { return Ok(()) };
        let changed = |of: &dyn Fn(&Value) -> Value| of(old) != of(object);
        let decided = |object: &Value| conditions(object, &["Approved", "Denied"]);
        if changed(&decided) && !self.may(user, attempt.resource, "approve", signer) {
            let why = format!("user not permitted to approve requests with signerName {signer:?}");
            return refuse(&why);
        }
        let signed = |object: &Value| {
            let certificate = object.pointer("/status/certificate").cloned().unwrap_or_default();
            json!([certificate, conditions(object, &["Failed"])])
        };
        if changed(&signed) && !self.may(user, attempt.resource, "sign", signer) {
            let why = format!("user not permitted to sign requests with signerName {signer:?}");
            return refuse(&why);
        }
        Ok(())
    }
}

impl SigningRequests {
    /// Whether a user may do something for a signer, or for all of its domain.
    fn may(&self, user: &User, requests: &Resource, verb: &str, signer: &str) -> bool {
        let domain = signer.split('/').next().unwrap_or_default();
        [signer.to_owned(), format!("{domain}/*")].into_iter().any(|name| {
            let asked = Attributes {
                verb: verb.to_owned(),
                group: requests.group.to_string(),
                version: "*".to_owned(),
                resource: "signers".to_owned(),
                name,
                ..Attributes::default()
            };
            self.authorizer.check(user, &asked).is_ok()
        })
    }
}

fn conditions(object: &Value, kinds: &[&str]) -> Value {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let wanted = all.into_iter().flatten().filter(|condition| {
        let kind = condition.get("type").and_then(Value::as_str);
        kind.is_some_and(|kind| kinds.contains(&kind))
    });
    wanted.cloned().collect()
}
