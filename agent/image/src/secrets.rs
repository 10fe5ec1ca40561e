//! The credentials that a pod brings for its images.
//!
//! Knows Kubernetes' two secret formats and which entry fits which image; sends nothing. An entry
//! is only ever offered to the host that it was written for.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{
    digest::Hasher,
    reference::{DOCKER_HUB, Reference},
};

/// The entries of all pull secrets of one pod, in order.
#[derive(Clone, Default)]
pub struct PullSecrets {
    entries: Vec<(Scope, Credentials)>,
}

impl PullSecrets {
    /// Adds the data of a secret of type `kubernetes.io/dockerconfigjson`.
    ///
    /// # Errors
    /// The data is not JSON of that form, or an entry has no user name and password.
    pub fn add_dockerconfigjson(&mut self, data: &[u8]) -> Result<(), ParsePullSecretError> {
        let file: DockerConfigJson =
            serde_json::from_slice(data).map_err(|_| ParsePullSecretError::Json)?;
        self.add(file.auths)
    }

    /// Adds the data of a secret of type `kubernetes.io/dockercfg`.
    ///
    /// # Errors
    /// The data is not JSON of that form, or an entry has no user name and password.
    pub fn add_dockercfg(&mut self, data: &[u8]) -> Result<(), ParsePullSecretError> {
        self.add(serde_json::from_slice(data).map_err(|_| ParsePullSecretError::Json)?)
    }

    fn add(&mut self, auths: BTreeMap<String, AuthEntry>) -> Result<(), ParsePullSecretError> {
        for (key, entry) in auths {
            if let Some(credentials) = entry.credentials(&key)? {
                self.entries.push((Scope::parse(&key), credentials));
            }
        }
        Ok(())
    }

    /// Returns the credentials to try at `host` for `repository`, most exact first.
    pub(crate) fn matching(&self, host: &str, repository: &str) -> Vec<Credentials> {
        let mut found: Vec<_> =
            self.entries.iter().filter(|(scope, _)| scope.covers(host, repository)).collect();
        found.sort_by_key(|(scope, _)| std::cmp::Reverse(scope.path.len()));
        let mut credentials: Vec<Credentials> = Vec::new();
        for (_, each) in found {
            if !credentials.contains(each) {
                credentials.push(each.clone());
            }
        }
        credentials
    }

    /// Returns the fingerprints of what could be tried for an image.
    pub(crate) fn fingerprints(&self, reference: &Reference) -> Vec<String> {
        let matching = self.matching(reference.registry(), reference.repository());
        matching.iter().map(Credentials::fingerprint).collect()
    }
}

impl fmt::Debug for PullSecrets {
    /// Tells the hosts and never the credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.entries.iter().map(|(scope, _)| &scope.host)).finish()
    }
}

/// A user name with a password, or a token that replaces them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Credentials {
    /// Returns the value of the `Authorization` header.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }

    /// Returns what the image store remembers of credentials that were accepted.
    ///
    /// It is a digest, so a stolen card does not hold the password itself.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = Hasher::new();
        for part in ["bramble pull credentials", &self.user, &self.password] {
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finish().hex()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials")
    }
}

/// Why the data of a pull secret could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePullSecretError {
    /// Not JSON, or not of the expected form. The cause is left out: it could quote a password.
    #[error("pull secret is not well-formed JSON of its type")]
    Json,
    /// `auth` is not the base64 of `user:password`.
    #[error("pull secret has a malformed `auth` for `{registry}`")]
    Auth {
        /// The entry's key.
        registry: String,
    },
}

#[derive(Deserialize)]
struct DockerConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
}

#[derive(Deserialize)]
struct AuthEntry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

impl AuthEntry {
    fn credentials(self, key: &str) -> Result<Option<Credentials>, ParsePullSecretError> {
        if self.auth.is_empty() {
            let empty = self.username.is_empty() && self.password.is_empty();
            return Ok(
                (!empty).then_some(Credentials { user: self.username, password: self.password })
            );
        }
        let malformed = || ParsePullSecretError::Auth { registry: key.to_owned() };
        let decoded = BASE64_STANDARD.decode(self.auth.trim()).map_err(|_| malformed())?;
        let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
        let (user, password) = decoded.split_once(':').ok_or_else(malformed)?;
        // Some tools pad the password with zero bytes.
        let password = password.trim_end_matches('\0');
        Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// What an entry's key covers: a host, perhaps with `*` labels, and a path before the repository.
#[derive(Clone)]
struct Scope {
    host: String,
    path: String,
}

impl Scope {
    fn parse(key: &str) -> Self {
        let rest =
            key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        // Docker wrote its hub's key as the address of an interface: `https://index.docker.io/v1/`.
        let path = path.trim_end_matches('/');
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        Self { host: hub_as_one(host).to_owned(), path: path.to_owned() }
    }

    fn covers(&self, host: &str, repository: &str) -> bool {
        let path_covers = self.path.is_empty()
            || repository == self.path
            || repository.strip_prefix(&self.path).is_some_and(|rest| rest.starts_with('/'));
        path_covers && host_matches(&self.host, hub_as_one(host))
    }
}

fn hub_as_one(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

/// Compares label by label, so that `*` never stands for more than one of them.
fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern, pattern_port) = pattern.split_once(':').unwrap_or((pattern, ""));
    let (host, port) = host.split_once(':').unwrap_or((host, ""));
    let labels: Vec<&str> = host.split('.').collect();
    let patterns: Vec<&str> = pattern.split('.').collect();
    pattern_port == port
        && labels.len() == patterns.len()
        && patterns.iter().zip(&labels).all(|(pattern, label)| label_matches(pattern, label))
}

fn label_matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => {
            label.len() >= before.len() + after.len()
                && label.starts_with(before)
                && label.ends_with(after)
        }
        None => pattern == label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(json: &str) -> PullSecrets {
        let mut secrets = PullSecrets::default();
        secrets.add_dockerconfigjson(json.as_bytes()).unwrap();
        secrets
    }

    #[track_caller]
    fn check(key: &str, image: &str, expected: bool) {
        let secrets =
            secrets(&format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p"}}}}}}"#));
        let reference = Reference::parse(image).unwrap();
        let found = secrets.matching(reference.registry(), reference.repository());
        assert_eq!(!found.is_empty(), expected, "{key} for {image}");
    }

    #[test]
    fn credentials_are_offered_to_their_own_host_only() {
        check("https://index.docker.io/v1/", "busybox", true);
        check("docker.io", "busybox", true);
        check("docker.io", "evil.io/busybox", false);
        check("r.io", "r.io:5000/a", false);
        check("r.io:5000", "r.io:5000/a", true);
        check("*.r.io", "a.r.io/b", true);
        check("*.r.io", "a.b.r.io/b", false);
        check("*", "r.io/b", false);
        check("r.io/team", "r.io/team/app", true);
        check("r.io/team", "r.io/teammate/app", false);
    }

    #[test]
    fn most_exact_entry_comes_first() {
        let secrets = secrets(
            r#"{"auths":{"r.io":{"username":"a","password":"1"},"r.io/team":{"auth":"Yjoy"}}}"#,
        );
        let users: Vec<_> =
            secrets.matching("r.io", "team/app").into_iter().map(|found| found.user).collect();
        assert_eq!(users, ["b", "a"]);
    }

    #[test]
    fn secrets_are_never_printed() {
        let secrets = secrets(r#"{"auths":{"r.io":{"username":"user","password":"hunter2"}}}"#);
        let printed = format!("{secrets:?} {:?}", secrets.matching("r.io", "a"));
        assert!(!printed.contains("hunter2") && !printed.contains("user"), "{printed}");
    }

    #[test]
    fn malformed_secrets_are_refused() {
        let mut secrets = PullSecrets::default();
        assert_eq!(secrets.add_dockerconfigjson(b"nope"), Err(ParsePullSecretError::Json));
        let auth = ParsePullSecretError::Auth { registry: "r.io".into() };
        assert_eq!(secrets.add_dockercfg(br#"{"r.io":{"auth":"!"}}"#), Err(auth));
    }
}
