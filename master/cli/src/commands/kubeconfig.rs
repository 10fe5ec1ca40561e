//! `kubeconfig create`: gives a person a certificate of his own, and the file that goes with it.
//!
//! The key is made here and never sent. The certificate is asked for, approved and fetched through
//! the API, so that it needs no more than the rights to do so. What the person may do is decided by
//! roles, afterwards or before.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path as FilePath;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use crate::client::{JSON, MERGE_PATCH, Path};
use crate::command::KubeconfigCreateArgs;
use crate::error::CliError;
use crate::session::Session;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// Pause between two looks whether the certificate is there.
const PAUSE: Duration = Duration::from_millis(100);
/// Looks before giving up: 10 s.
const LOOKS_MAX: u32 = 100;

/// Makes a kubeconfig for a person.
pub(super) async fn create(
    args: &KubeconfigCreateArgs,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let (key, request) = request(&args.user, args.group.as_deref())?;
    let wanted = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "generateName": "bramble-kubeconfig-" },
        "spec": {
            "request": STANDARD.encode(request),
            "signerName": SIGNER,
            "usages": ["client auth", "digital signature"],
            "expirationSeconds": args.days.saturating_mul(86_400),
        },
    });
    let made = session.client.post(&Path::new(REQUESTS), &wanted).await?;
    let name = made.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let path = Path::new(REQUESTS).join(name);
    let certificate = fetch(session, &path).await;
    // It has done its work, whatever came of it; a failure of this is no failure of that.
    let _ = session.client.delete(&path, &json!({})).await;
    let text = kubeconfig(session, &args.user, &certificate?, &key);
    match &args.output {
        Some(file) => {
            write_private(file, &text)?;
            writeln!(session.err, "kubeconfig of {} written to {}", args.user, file.display())?;
        }
        None => write!(session.out, "{text}")?,
    }
    Ok(())
}

/// A key and a request for a certificate of it, both PEM.
fn request(user: &str, group: Option<&str>) -> Result<(String, String), CliError> {
    let failed = |error: rcgen::Error| CliError::Usage(format!("could not make a key: {error}"));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, user);
    let key = KeyPair::generate().map_err(failed)?;
    let request = params.serialize_request(&key).and_then(|request| request.pem());
    Ok((key.serialize_pem(), request.map_err(failed)?))
}

/// Approves the request and waits for its certificate, base64 of PEM.
async fn fetch(session: &Session<'_>, path: &Path) -> Result<String, CliError> {
    let approved = json!({ "status": { "conditions": [{
        "type": "Approved",
        "status": "True",
        "reason": "BrambleKubeconfigCreate",
        "message": "Approved by bramble kubeconfig create.",
    }] } });
    session.client.patch(&path.clone().join("approval"), MERGE_PATCH, &approved).await?;
    for _ in 0..LOOKS_MAX {
        let found = session.client.get(path, JSON).await?;
        if let Some(certificate) = found.pointer("/status/certificate").and_then(Value::as_str) {
            return Ok(certificate.to_owned());
        }
        let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        if let Some(failed) = conditions.find(|it| it.get("type") == Some(&json!("Failed"))) {
            let why = failed.get("message").and_then(Value::as_str).unwrap_or("no reason given");
            return Err(CliError::Incomplete(format!("the certificate was not signed: {why}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(CliError::TimedOut { what: "the certificate to be signed".to_owned() })
}

fn kubeconfig(session: &Session<'_>, user: &str, certificate: &str, key: &str) -> String {
    let authority = session.authority.as_ref().map_or_else(String::new, |pem| {
        format!("    certificate-authority-data: {}\n", STANDARD.encode(pem))
    });
    // JSON is YAML: a name with odd letters stays one text.
    let name = Value::from(user);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: bramble
  cluster:
    server: {server}
{authority}users:
- name: {name}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: bramble
  context:
    cluster: bramble
    user: {name}
current-context: bramble
",
        server = session.client.server(),
        key = STANDARD.encode(key),
    )
}

/// Writes a file that only its owner reads; refuses to write over one that is there.
fn write_private(path: &FilePath, text: &str) -> Result<(), CliError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| CliError::Write { source })
}

#[cfg(test)]
mod tests {
    #[test]
    fn request_is_pem_and_its_key_too() {
        let (key, request) = super::request("eve", Some("shop")).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "{key}");
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");
    }
}
