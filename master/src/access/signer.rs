//! Signs approved requests for client certificates (`kubernetes.io/kube-apiserver-client`).
//!
//! Whoever may approve them decides; this only does what was decided, and says why it cannot.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bramble_api::Status;
use bramble_store::{RangeRequest, StoreError};
use embassy_time::{Duration, Timer};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::clock;
use crate::objects::{Objects, Part, WriteOptions};
use crate::pki::{Identity, RequestedSubject, SignError};
use crate::telemetry::Chain;

/// The signer that this is.
pub(crate) const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// What its certificates may be used for.
const USAGES: [&str; 3] = ["client auth", "digital signature", "key encipherment"];
/// Seconds that a certificate is valid unless the request says otherwise, as upstream: a year.
const VALID_S: i64 = 365 * 86_400;
/// Pause before the store is read again after its watch failed.
const RETRY: Duration = Duration::from_millis(200);

/// Why a request is not signed.
#[derive(Debug, thiserror::Error)]
enum RefuseError {
    /// It is no request.
    #[error("the request cannot be read")]
    Unreadable,
    /// It asks for what this signer does not give.
    #[error("{0}")]
    Terms(&'static str),
    /// It could not be signed.
    #[error("the request could not be signed")]
    Sign(#[from] SignError),
}

/// The subject that a request object asks for; none if it cannot be read.
pub(crate) fn requested_subject(object: &Value) -> Option<RequestedSubject> {
    RequestedSubject::of(&request(object)?).ok()
}

/// Signs what is approved, for ever.
pub(crate) async fn follow(objects: Objects, identity: Arc<Identity>) {
    loop {
        if let Err(error) = follow_watch(&objects, &identity).await {
            if let StoreError::Stopped { .. } = error {
                return;
            }
            tracing::warn!(error = %Chain(&error), "requests for certificates are read anew");
        }
        Timer::after(RETRY).await;
    }
}

async fn follow_watch(objects: &Objects, identity: &Identity) -> Result<(), StoreError> {
    let prefix = requests().prefix();
    let request = RangeRequest { prefix: prefix.clone(), ..RangeRequest::default() };
    let reply = objects.store().range(request).await?;
    for entry in &reply.entries {
        settle(objects, identity, &entry.value).await;
    }
    let mut watch = objects.store().watch(&prefix, reply.revision).await?;
    loop {
        let batch = watch.next().await?;
        for entry in batch.iter().filter_map(|event| event.current.as_ref()) {
            settle(objects, identity, &entry.value).await;
        }
    }
}

fn requests() -> &'static Arc<bramble_api::Resource> {
    Objects::resource("certificates.k8s.io", "certificatesigningrequests")
}

async fn settle(objects: &Objects, identity: &Identity, stored: &[u8]) {
    let Ok(object) = serde_json::from_slice::<Value>(stored) else { return };
    if !due(&object) {
        return;
    }
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let now_s = clock::time_of_day_s();
    let signed = sign(identity, &object, now_s);
    let change = |object: &mut Value| -> Result<(), Status> {
        if due(object) {
            put(object, &signed);
        }
        Ok(())
    };
    let options = WriteOptions::default();
    let written = objects.modify(requests(), "", name, Part::Status, &options, &change).await;
    match written {
        Ok(_) => {
            tracing::info!(name, ok = signed.is_ok(), "a request for a certificate was settled")
        }
        Err(status) => tracing::warn!(name, %status, "a certificate could not be handed out"),
    }
}

/// Whether a request waits for this signer.
fn due(object: &Value) -> bool {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let has = |wanted: &[&str]| {
        conditions.into_iter().flatten().any(|condition| {
            let kind = condition.get("type").and_then(Value::as_str);
            kind.is_some_and(|kind| wanted.contains(&kind))
        })
    };
    text("/spec/signerName") == CLIENT_SIGNER
        && text("/status/certificate").is_empty()
        && has(&["Approved"])
        && !has(&["Denied", "Failed"])
}

/// The request itself (PKCS#10, DER).
fn request(object: &Value) -> Option<Vec<u8>> {
    let pem = STANDARD.decode(object.pointer("/spec/request")?.as_str()?).ok()?;
    CertificateSigningRequestDer::from_pem_slice(&pem).ok().map(|der| der.to_vec())
}

/// Returns the certificate, PEM.
fn sign(identity: &Identity, object: &Value, now_s: i64) -> Result<String, RefuseError> {
    let request = request(object).ok_or(RefuseError::Unreadable)?;
    let usages = object.pointer("/spec/usages").and_then(Value::as_array);
    let usages: Vec<&str> = usages.into_iter().flatten().filter_map(Value::as_str).collect();
    if !usages.contains(&"client auth") || usages.iter().any(|usage| !USAGES.contains(usage)) {
        return Err(RefuseError::Terms(
            "usages must be \"client auth\" and may be \"digital signature\" and \"key encipherment\"",
        ));
    }
    let subject = RequestedSubject::of(&request)?;
    if subject.user.is_empty() || subject.alternatives {
        return Err(RefuseError::Terms("a user's name is needed, and nothing beside it"));
    }
    if subject.groups.len() > 1 {
        return Err(RefuseError::Terms("only one organization, which is a group, can be signed"));
    }
    let asked = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let ends_s = now_s.saturating_add(asked.unwrap_or(VALID_S));
    Ok(identity.authority.sign_user(&request, &subject, ends_s)?)
}

fn put(object: &mut Value, signed: &Result<String, RefuseError>) {
    let Some(fields) = object.as_object_mut() else { return };
    let status = fields.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return };
    match signed {
        Ok(certificate) => {
            status.insert("certificate".to_owned(), STANDARD.encode(certificate).into());
        }
        Err(error) => {
            let conditions = status.entry("conditions").or_insert_with(|| json!([]));
            if let Some(conditions) = conditions.as_array_mut() {
                let now = clock::timestamp();
                conditions.push(json!({
                    "type": "Failed",
                    "status": "True",
                    "reason": "SignerValidationFailure",
                    "message": error.to_string(),
                    "lastUpdateTime": now,
                    "lastTransitionTime": now,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;
    use crate::pki::{IdentityError, Origin};

    fn identity() -> Identity {
        let folder = tempfile::tempdir().unwrap();
        Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap()
    }

    fn object(user: &str, group: &str, alternatives: &[&str]) -> Value {
        let names: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, user);
        let key = KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        json!({
            "spec": { "request": STANDARD.encode(pem), "signerName": CLIENT_SIGNER,
                "usages": ["client auth"], "expirationSeconds": 3_600 },
            "status": { "conditions": [{ "type": "Approved", "status": "True" }] },
        })
    }

    #[test]
    fn approved_request_becomes_a_certificate_of_its_subject() {
        let mut object = object("eve", "shop", &[]);
        assert!(due(&object));
        let signed = sign(&identity(), &object, 1_000_000_000);
        let pem = signed.as_ref().unwrap().clone();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert_eq!(certificate.subject().to_string(), "O=shop, CN=eve");
        assert_eq!(certificate.validity().not_after.timestamp(), 1_000_003_600);
        put(&mut object, &signed);
        assert!(!due(&object));
    }

    #[test]
    fn what_this_signer_does_not_give_fails() {
        let check = |mut object: Value, change: &dyn Fn(&mut Value)| {
            change(&mut object);
            let signed = sign(&identity(), &object, 0);
            assert!(signed.is_err(), "{object}");
            put(&mut object, &signed);
            assert!(!due(&object), "it is not tried again");
        };
        check(object("eve", "shop", &["evil.example"]), &|_| {});
        check(object("", "shop", &[]), &|_| {});
        check(object("eve", "shop", &[]), &|it| it["spec"]["usages"] = json!(["server auth"]));
        check(object("eve", "shop", &[]), &|it| it["spec"]["request"] = json!("YQ=="));
    }

    #[test]
    fn only_approved_requests_of_this_signer_are_due() {
        let check = |change: &dyn Fn(&mut Value)| {
            let mut object = object("eve", "shop", &[]);
            change(&mut object);
            assert!(!due(&object), "{object}");
        };
        check(&|it| it["status"] = json!({}));
        check(&|it| it["spec"]["signerName"] = json!("example.com/other"));
        check(&|it| it["status"]["certificate"] = json!("YQ=="));
        check(&|it| {
            it["status"]["conditions"].as_array_mut().unwrap().push(json!({"type": "Denied"}));
        });
    }
}
