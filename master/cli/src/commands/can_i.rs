//! `auth can-i` and `auth whoami`: what the server thinks of whoever asks.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::client::Path;
use crate::command::CanIArgs;
use crate::error::CliError;
use crate::session::Session;

/// Says yes or no; the exit code says it, too.
pub(super) async fn can_i(
    args: &CanIArgs,
    session: &mut Session<'_>,
) -> Result<ExitCode, CliError> {
    let spec = if args.what.starts_with('/') {
        json!({ "nonResourceAttributes": { "verb": args.verb, "path": args.what } })
    } else {
        let (what, name) = args.what.split_once('/').unwrap_or((&args.what, ""));
        let discovery = session.discover().await?;
        let found = discovery.find(what).ok().and_then(|found| found.first().copied());
        // It need not exist; the answer is about the words then.
        let (plural, group, namespaced) = found.map_or_else(
            || (what.to_owned(), String::new(), true),
            |found| (found.plural.clone(), found.group.clone(), found.namespaced),
        );
        let namespace = if namespaced && !args.all_namespaces { &session.namespace } else { "" };
        json!({ "resourceAttributes": {
            "verb": args.verb, "group": group, "resource": plural, "name": name,
            "subresource": args.subresource.as_deref().unwrap_or_default(),
            "namespace": namespace,
        } })
    };
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec,
    });
    let path = Path::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
    let answer = session.client.post(&path, &question).await?;
    let allowed = answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(false);
    writeln!(session.out, "{}", if allowed { "yes" } else { "no" })?;
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says who one is.
pub(super) async fn whoami(session: &mut Session<'_>) -> Result<(), CliError> {
    let question = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let path = Path::new("/apis/authentication.k8s.io/v1/selfsubjectreviews");
    let answer = session.client.post(&path, &question).await?;
    let user = answer.pointer("/status/userInfo").cloned().unwrap_or_default();
    let name = user.get("username").and_then(Value::as_str).unwrap_or_default();
    writeln!(session.out, "Username: {name}")?;
    let groups = user.get("groups").and_then(Value::as_array).into_iter().flatten();
    let groups: Vec<&str> = groups.filter_map(Value::as_str).collect();
    writeln!(session.out, "Groups:   {}", groups.join(", "))?;
    Ok(())
}
