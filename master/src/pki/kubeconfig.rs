//! Writes a kubeconfig for one cluster and one user.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Issued;

/// Returns the text of a kubeconfig.
pub(crate) fn kubeconfig(cluster: &str, server: &str, ca_pem: &str, user: &Issued) -> String {
    let ca = STANDARD.encode(ca_pem);
    let certificate = STANDARD.encode(&user.certificate);
    let key = STANDARD.encode(&user.key);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {cluster}-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {cluster}-admin
current-context: {cluster}
"
    )
}
