//! Which cluster is meant and who asks: finding and reading kubeconfig files.
//!
//! Several files are merged as kubectl does: the first to name something has the say. Reads files
//! and nothing else; opens no connection.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::CliError;

/// Where the master leaves the administrator's kubeconfig, by preference.
const ON_THE_MASTER: [&str; 2] =
    ["/etc/bramble/admin.kubeconfig", "/var/lib/bramble/admin.kubeconfig"];

/// What the surroundings say about kubeconfigs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `$KUBECONFIG`: one or more files, separated by colons.
    pub(crate) kubeconfig: Option<String>,
    /// `$HOME`.
    pub(crate) home: Option<PathBuf>,
    /// Files that exist on a master.
    pub(crate) on_the_master: Vec<PathBuf>,
}

impl Surroundings {
    /// Of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            kubeconfig: env::var("KUBECONFIG").ok().filter(|value| !value.is_empty()),
            home: env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
            on_the_master: ON_THE_MASTER.map(PathBuf::from).to_vec(),
        }
    }
}

/// How to reach one cluster as one user.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// File or files that it comes from.
    pub(crate) origin: String,
    /// Name of the context.
    pub(crate) context: String,
    /// Such as `https://10.0.0.1:6443`.
    pub(crate) server: String,
    /// Name in the server's certificate, if it is not that of the address.
    pub(crate) tls_server_name: Option<String>,
    /// Certificates that may sign the server's, in PEM.
    pub(crate) authority: Option<Vec<u8>>,
    /// The user's certificate and key, in PEM.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The user's bearer token.
    pub(crate) token: Option<String>,
    /// Namespace of the context.
    pub(crate) namespace: Option<String>,
}

/// Does not show the key and the token.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("server", &self.server).finish_non_exhaustive()
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Document {
    current_context: String,
    clusters: Option<Vec<Named>>,
    users: Option<Vec<Named>>,
    contexts: Option<Vec<Named>>,
}

#[derive(Clone, Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    cluster: Option<Cluster>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    context: Option<Context>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    tls_server_name: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    // The one key that kubectl spells in camel case.
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

/// Everything that the files name, each beside the folder that its relative paths start from.
#[derive(Default)]
struct Merged {
    origin: String,
    current_context: String,
    clusters: BTreeMap<String, (PathBuf, Cluster)>,
    users: BTreeMap<String, (PathBuf, User)>,
    contexts: BTreeMap<String, Context>,
}

/// Finds the kubeconfig and picks a context of it; without `context` the current one.
pub(crate) fn load(
    explicit: Option<&Path>,
    context: Option<&str>,
    surroundings: &Surroundings,
) -> Result<Target, CliError> {
    let mut merged = Merged::default();
    let files = files(explicit, surroundings)?;
    let origins: Vec<_> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    merged.origin = origins.join(":");
    for (path, text) in files {
        merged.add(&path, &text)?;
    }
    merged.pick(context)
}

fn files(
    explicit: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Vec<(PathBuf, String)>, CliError> {
    if let Some(path) = explicit {
        let text = fs::read_to_string(path)
            .map_err(|source| CliError::ReadFile { path: path.to_owned(), source })?;
        return Ok(vec![(path.to_owned(), text)]);
    }
    if let Some(list) = &surroundings.kubeconfig {
        let paths: Vec<_> =
            list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        // Some may be missing, as with kubectl, but not all.
        let mut found = Vec::new();
        for path in &paths {
            found.extend(read_if_present(path)?.map(|text| (path.clone(), text)));
        }
        return if found.is_empty() {
            Err(CliError::NoKubeconfig { looked_at: paths })
        } else {
            Ok(found)
        };
    }
    let home = surroundings.home.iter().map(|home| home.join(".kube/config"));
    let candidates: Vec<_> = home.chain(surroundings.on_the_master.iter().cloned()).collect();
    for path in &candidates {
        if let Some(text) = read_if_present(path)? {
            return Ok(vec![(path.clone(), text)]);
        }
    }
    Err(CliError::NoKubeconfig { looked_at: candidates })
}

fn read_if_present(path: &Path) -> Result<Option<String>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CliError::ReadFile { path: path.to_owned(), source }),
    }
}

impl Merged {
    fn add(&mut self, path: &Path, text: &str) -> Result<(), CliError> {
        let wrong =
            |problem: String| CliError::Kubeconfig { origin: path.display().to_string(), problem };
        // An empty file, as `kubectl config` may leave it, says nothing and is no error.
        let document: Option<Document> =
            yaml_serde::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let document = document.unwrap_or_default();
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        if self.current_context.is_empty() {
            self.current_context = document.current_context;
        }
        for named in document.clusters.into_iter().flatten() {
            let cluster = named.cluster.unwrap_or_default();
            self.clusters.entry(named.name).or_insert_with(|| (folder.clone(), cluster));
        }
        for named in document.users.into_iter().flatten() {
            let user = named.user.unwrap_or_default();
            self.users.entry(named.name).or_insert_with(|| (folder.clone(), user));
        }
        for named in document.contexts.into_iter().flatten() {
            self.contexts.entry(named.name).or_insert_with(|| named.context.unwrap_or_default());
        }
        Ok(())
    }

    fn wrong(&self, problem: impl Into<String>) -> CliError {
        CliError::Kubeconfig { origin: self.origin.clone(), problem: problem.into() }
    }

    fn pick(&self, context: Option<&str>) -> Result<Target, CliError> {
        let name = context.unwrap_or(&self.current_context);
        if name.is_empty() {
            return Err(self.wrong("no current-context is set; choose one with --context"));
        }
        let context = self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            self.wrong(format!(
                "context \"{name}\" does not exist; there are: {}",
                known.join(", ")
            ))
        })?;
        let (cluster_folder, cluster) = self.clusters.get(&context.cluster).ok_or_else(|| {
            self.wrong(format!("cluster \"{}\" of context \"{name}\" is missing", context.cluster))
        })?;
        let nobody = (PathBuf::new(), User::default());
        let (user_folder, user) = match self.users.get(&context.user) {
            Some(user) => user,
            None if context.user.is_empty() => &nobody,
            None => {
                let problem = format!("user \"{}\" of context \"{name}\" is missing", context.user);
                return Err(self.wrong(problem));
            }
        };
        self.check_supported(cluster, user, name)?;
        let data = |inline: &Option<String>, file: &Option<PathBuf>, folder: &Path, what: &str| {
            self.data(inline.as_deref(), file.as_deref(), folder, what)
        };
        let certificate = data(
            &user.client_certificate_data,
            &user.client_certificate,
            user_folder,
            "client-certificate-data",
        )?;
        let key = data(&user.client_key_data, &user.client_key, user_folder, "client-key-data")?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(self.wrong("a client certificate and its key must come together"));
            }
        };
        Ok(Target {
            origin: self.origin.clone(),
            context: name.to_owned(),
            server: cluster.server.trim_end_matches('/').to_owned(),
            tls_server_name: cluster.tls_server_name.clone(),
            authority: data(
                &cluster.certificate_authority_data,
                &cluster.certificate_authority,
                cluster_folder,
                "certificate-authority-data",
            )?,
            identity,
            token: self.token(user, user_folder)?,
            namespace: context.namespace.clone().filter(|namespace| !namespace.is_empty()),
        })
    }

    fn check_supported(&self, cluster: &Cluster, user: &User, name: &str) -> Result<(), CliError> {
        if cluster.server.is_empty() {
            return Err(self.wrong(format!("the cluster of context \"{name}\" has no server")));
        }
        if cluster.insecure_skip_tls_verify {
            return Err(self.wrong(
                "insecure-skip-tls-verify is not supported; give certificate-authority-data instead",
            ));
        }
        if user.exec.is_some() || user.auth_provider.is_some() || user.username.is_some() {
            return Err(self.wrong(
                "the user logs in with a plug-in or a password, which bramble's own client does not \
                 support; use kubectl, or a client certificate or token",
            ));
        }
        Ok(())
    }

    fn token(&self, user: &User, folder: &Path) -> Result<Option<String>, CliError> {
        match (&user.token, &user.token_file) {
            (Some(token), _) if !token.is_empty() => Ok(Some(token.clone())),
            (_, Some(file)) => {
                let path = folder.join(file);
                let text = fs::read_to_string(&path)
                    .map_err(|source| CliError::ReadFile { path, source })?;
                Ok(Some(text.trim().to_owned()))
            }
            (Some(_) | None, None) => Ok(None),
        }
    }

    fn data(
        &self,
        inline: Option<&str>,
        file: Option<&Path>,
        folder: &Path,
        what: &str,
    ) -> Result<Option<Vec<u8>>, CliError> {
        if let Some(inline) = inline.filter(|inline| !inline.is_empty()) {
            let decoded = STANDARD.decode(inline.trim());
            return decoded.map(Some).map_err(|_| self.wrong(format!("{what} is not base64")));
        }
        let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else { return Ok(None) };
        let path = folder.join(file);
        fs::read(&path).map(Some).map_err(|source| CliError::ReadFile { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
apiVersion: v1
kind: Config
current-context: home
clusters:
- name: bramble-5f2c
  cluster: {server: "https://10.0.0.1:6443/", certificate-authority-data: Q0E=}
contexts:
- name: home
  context: {cluster: bramble-5f2c, user: admin, namespace: web}
- name: bare
  context: {cluster: bramble-5f2c, user: ""}
users:
- name: admin
  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}
"#;

    fn merged(texts: &[&str]) -> Merged {
        let mut merged = Merged { origin: "test".to_owned(), ..Merged::default() };
        for text in texts {
            merged.add(Path::new("/folder/config"), text).unwrap();
        }
        merged
    }

    fn problem(texts: &[&str], context: Option<&str>) -> String {
        merged(texts).pick(context).unwrap_err().to_string()
    }

    #[test]
    fn current_context_is_resolved() {
        let target = merged(&[ONE]).pick(None).unwrap();
        assert_eq!(target.server, "https://10.0.0.1:6443");
        assert_eq!(target.authority.as_deref(), Some(b"CA".as_slice()));
        assert_eq!(target.identity, Some((b"CERT".to_vec(), b"KEY".to_vec())));
        assert_eq!(target.namespace.as_deref(), Some("web"));
        let bare = merged(&[ONE]).pick(Some("bare")).unwrap();
        assert_eq!((bare.identity, bare.token, bare.namespace), (None, None, None));
    }

    #[test]
    fn first_file_has_the_say() {
        let other = "current-context: bare\nclusters:\n- name: bramble-5f2c\n  cluster: {server: x}\n\
                     users:\n- name: late\n  user: {token: t}\n";
        let target = merged(&["", ONE, other]).pick(None).unwrap();
        assert_eq!(target.server, "https://10.0.0.1:6443");
        let target = merged(&[other, ONE]).pick(None).unwrap();
        assert_eq!((target.context.as_str(), target.server.as_str()), ("bare", "x"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(problem(&[""], None).contains("no current-context"));
        let text = problem(&[ONE], Some("office"));
        assert!(text.contains("\"office\" does not exist; there are: bare, home"), "{text}");
        let text = problem(&[&ONE.replace("name: admin", "name: other")], None);
        assert!(text.contains("user \"admin\""), "{text}");
        let text = problem(&[&ONE.replace("Q0E=", "'***'")], None);
        assert!(text.contains("certificate-authority-data is not base64"), "{text}");
        let text = problem(&[&ONE.replace(", client-key-data: S0VZ", "")], None);
        assert!(text.contains("come together"), "{text}");
    }

    #[test]
    fn unsupported_log_in_is_said_so() {
        let exec = "{exec: {command: login}}";
        let text = ONE.replace("{client-certificate-data: Q0VSVA==, client-key-data: S0VZ}", exec);
        assert!(problem(&[&text], None).contains("use kubectl"));
    }

    #[test]
    fn missing_kubeconfig_says_what_to_do() {
        let surroundings =
            Surroundings { home: Some(PathBuf::from("/nonexistent")), ..Surroundings::default() };
        let text = load(None, None, &surroundings).unwrap_err().to_string();
        assert!(text.contains("/nonexistent/.kube/config") && text.contains("as root"), "{text}");
        let listed = Surroundings {
            kubeconfig: Some("/nonexistent/a:/nonexistent/b".to_owned()),
            ..surroundings
        };
        let text = load(None, None, &listed).unwrap_err().to_string();
        assert!(text.contains("/nonexistent/a, /nonexistent/b"), "{text}");
    }

    #[test]
    fn token_is_not_shown_in_debug_output() {
        let target =
            Target { token: Some("secret".to_owned()), ..merged(&[ONE]).pick(None).unwrap() };
        assert!(!format!("{target:?}").contains("secret"));
    }
}
