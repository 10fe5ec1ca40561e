//! `apply`: the cluster gets what the files say, and keeps what they do not speak of.
//!
//! The server is asked to do it (server-side apply). One that cannot is given a merge patch, worked
//! out in [`super::apply::merge`] from what was applied last, as kubectl does on its side.

mod merge;

use serde_json::{Value, json};

use crate::client::{APPLY_PATCH, JSON, MERGE_PATCH, Path};
use crate::command::{ApplyArgs, DryRun};
use crate::discovery::{Discovery, Resource};
use crate::error::CliError;
use crate::manifest::{self, Manifest};
use crate::object::{name, namespace, text};
use crate::output::{self, ObjectFormat, hide_managed_fields, joined};
use crate::session::{Scope, Session};

/// Who set the fields, for the server's book-keeping.
const FIELD_MANAGER: &str = "bramble";

/// What happened to one object.
struct Applied {
    object: Value,
    verb: &'static str,
}

/// Applies all objects of the files, in their order.
pub(super) async fn run(args: &ApplyArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let manifests = manifest::read_all(&args.filename, args.recursive)?;
    let mut apply = Apply { discovery: session.discover().await?, server_side: true, args };
    let mut shown = Vec::new();
    let mut failures = 0_usize;
    for manifest in &manifests {
        let (resource, applied) = match apply.one(manifest, session).await {
            Ok(done) => done,
            // What the server refuses must not keep the rest from being applied.
            Err(error @ (CliError::Server { .. } | CliError::Usage(_))) => {
                failures += 1;
                if manifests.len() == 1 {
                    return Err(error);
                }
                writeln!(session.err, "{}: {error}", manifest.origin)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let reference = resource.reference(name(&manifest.object));
        match args.output {
            None => {
                let suffix = args.dry_run.suffix();
                writeln!(session.out, "{reference} {}{suffix}", applied.verb)?;
            }
            Some(ObjectFormat::Name) => writeln!(session.out, "{reference}")?,
            Some(ObjectFormat::Yaml | ObjectFormat::Json) => {
                let mut object = applied.object;
                hide_managed_fields(&mut object);
                shown.push(object);
            }
        }
        session.out.flush()?;
    }
    if !shown.is_empty() {
        let shown = joined(shown, false);
        match args.output {
            Some(ObjectFormat::Json) => output::json(&shown, session.out)?,
            Some(ObjectFormat::Yaml | ObjectFormat::Name) | None => {
                output::yaml(&shown, session.out)?;
            }
        }
    }
    match failures {
        0 => Ok(()),
        count => Err(CliError::Incomplete(format!(
            "{count} of {} objects could not be applied",
            manifests.len()
        ))),
    }
}

struct Apply<'a> {
    discovery: Discovery,
    /// False once the server has said that it cannot.
    server_side: bool,
    args: &'a ApplyArgs,
}

impl Apply<'_> {
    async fn one(
        &mut self,
        manifest: &Manifest,
        session: &mut Session<'_>,
    ) -> Result<(Resource, Applied), CliError> {
        let resource = self.resource_of(&manifest.object, session).await?;
        let mut object = manifest.object.clone();
        let namespace = place(&resource, &mut object, session)?;
        let collection = resource.collection(&Scope::Namespace(namespace));
        let path = collection.clone().join(name(&object));
        let existing = match session.client.get(&path, JSON).await {
            Ok(existing) => Some(existing),
            // A namespace that does not exist is reported by the creation, in clearer words.
            Err(error) if error.not_found() => None,
            Err(error) => return Err(error),
        };
        if self.args.dry_run == DryRun::Client {
            let verb = if existing.is_some() { "configured" } else { "created" };
            return Ok((resource, Applied { object, verb }));
        }
        let applied = self.send(&object, existing.as_ref(), &collection, &path, session).await?;
        let revision = |object: &Value| text(object, "/metadata/resourceVersion").to_owned();
        let verb = match &existing {
            None => "created",
            Some(before) if revision(before) == revision(&applied) => "unchanged",
            Some(_) => "configured",
        };
        Ok((resource, Applied { object: applied, verb }))
    }

    /// The resource of an object; asks again if it may have come with an earlier object.
    async fn resource_of(
        &mut self,
        object: &Value,
        session: &mut Session<'_>,
    ) -> Result<Resource, CliError> {
        let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
        if self.discovery.of_kind(version, kind).is_err() {
            self.discovery = session.discover().await?;
        }
        self.discovery.of_kind(version, kind).cloned()
    }

    async fn send(
        &mut self,
        object: &Value,
        existing: Option<&Value>,
        collection: &Path,
        path: &Path,
        session: &mut Session<'_>,
    ) -> Result<Value, CliError> {
        let dry_run = self.args.dry_run.parameter();
        if self.server_side {
            // The file has the last word, as with a plain `kubectl apply`.
            let path = path
                .clone()
                .with("fieldManager", FIELD_MANAGER)
                .with("force", "true")
                .with_some("dryRun", dry_run);
            match session.client.patch(&path, APPLY_PATCH, object).await {
                // 415: no such patch; 404: it can patch what exists, but not create.
                Err(error) if error.code() == Some(415) => self.server_side = false,
                Err(error) if error.not_found() && existing.is_none() => {}
                other => return other,
            }
        }
        let query = |path: &Path| {
            path.clone().with("fieldManager", FIELD_MANAGER).with_some("dryRun", dry_run)
        };
        let wanted = merge::with_last_applied(object);
        let Some(existing) = existing else {
            return session.client.post(&query(collection), &wanted).await;
        };
        let patch = merge::patch(&merge::last_applied(existing), &wanted, existing);
        if patch == json!({}) {
            return Ok(existing.clone());
        }
        session.client.patch(&query(path), MERGE_PATCH, &patch).await
    }
}

/// Puts an object into the command's namespace if it names none, and returns its namespace.
fn place(
    resource: &Resource,
    object: &mut Value,
    session: &Session<'_>,
) -> Result<String, CliError> {
    if !resource.namespaced {
        return Ok(String::new());
    }
    let given = namespace(object).to_owned();
    if given.is_empty() {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), json!(session.namespace));
        }
        return Ok(session.namespace.clone());
    }
    if session.namespace_given && given != session.namespace {
        return Err(CliError::Usage(format!(
            "the namespace from the provided object \"{given}\" does not match the namespace \
             \"{}\". You must pass '--namespace={given}' to perform this operation.",
            session.namespace
        )));
    }
    Ok(given)
}
