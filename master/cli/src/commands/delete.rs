//! `delete`: objects go, and the command waits until they are gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{JSON, Path};
use crate::clock;
use crate::command::{Cascade, DeleteArgs, DryRun};
use crate::discovery::Resource;
use crate::error::CliError;
use crate::manifest;
use crate::object::{items, name, namespace, text};
use crate::selection;
use crate::session::{Scope, Session};

/// How often it is looked whether an object is gone. A pod takes seconds to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After this long without a word the user is told what is waited for.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// One object to delete.
struct Doomed {
    resource: Resource,
    name: String,
    /// Empty for an object without namespace.
    namespace: String,
}

impl Doomed {
    fn path(&self) -> Path {
        self.resource.collection(&Scope::Namespace(self.namespace.clone())).join(&self.name)
    }
}

/// Deletes what the arguments select.
pub(super) async fn run(args: &DeleteArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let options = options(args)?;
    let doomed = if args.filename.is_empty() {
        selected(args, session).await?
    } else {
        of_files(args, session).await?
    };
    if args.force && args.grace_period == 0 {
        writeln!(
            session.err,
            "Warning: the object is forgotten at once; a pod may go on running on a node that \
             does not answer."
        )?;
    }
    let mut waiting = Vec::new();
    for object in doomed {
        if args.dry_run != DryRun::Client {
            let path = object.path().with_some("dryRun", args.dry_run.parameter());
            match session.client.delete(&path, &options).await {
                Ok(answer) => waiting.push((object.path(), uid(&answer), reference(&object))),
                Err(error) if error.not_found() && args.ignore_not_found => continue,
                Err(error) => return Err(error),
            }
        }
        report(args, &object, session)?;
    }
    session.out.flush()?;
    if args.wait && args.dry_run == DryRun::None {
        let deadline = (!args.timeout.is_zero()).then(|| clock::now() + args.timeout);
        for (path, uid, reference) in waiting {
            wait_until_gone(&path, &uid, &reference, deadline, session).await?;
        }
    }
    Ok(())
}

fn options(args: &DeleteArgs) -> Result<Value, CliError> {
    let mut options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": match args.cascade {
            Cascade::Background => "Background",
            Cascade::Foreground => "Foreground",
            Cascade::Orphan => "Orphan",
        },
    });
    let grace = match (args.grace_period, args.now, args.force) {
        (0, false, false) => {
            return Err(CliError::Usage(
                "--grace-period=0 forgets a pod that may still run; if you mean it add --force, \
                 else use --now"
                    .to_owned(),
            ));
        }
        (0 | ..0, false, true) => Some(0),
        (1.., _, true) => {
            return Err(CliError::Usage(
                "--force means --grace-period=0, so no other can be given".to_owned(),
            ));
        }
        (_, true, _) => Some(1),
        (seconds @ 1.., false, false) => Some(seconds),
        (..0, false, false) => None,
    };
    if let (Some(seconds), Some(fields)) = (grace, options.as_object_mut()) {
        fields.insert("gracePeriodSeconds".to_owned(), json!(seconds));
    }
    Ok(options)
}

async fn selected(args: &DeleteArgs, session: &mut Session<'_>) -> Result<Vec<Doomed>, CliError> {
    let by_query =
        args.all || args.selectors.selector.is_some() || args.selectors.field_selector.is_some();
    let discovery = session.discover().await?;
    let mut doomed = Vec::new();
    for selection in selection::parse(&args.what)? {
        for resource in discovery.find(&selection.resource)? {
            let one = |name: &str, namespace: &str| Doomed {
                resource: resource.clone(),
                name: name.to_owned(),
                namespace: namespace.to_owned(),
            };
            if !selection.names.is_empty() {
                if by_query || args.all_namespaces {
                    return Err(CliError::Usage(
                        "name cannot be provided when a selector, --all or -A is specified"
                            .to_owned(),
                    ));
                }
                let namespace = session.namespace.as_str();
                doomed.extend(selection.names.iter().map(|name| one(name, namespace)));
                continue;
            }
            if !by_query {
                return Err(CliError::Usage(format!(
                    "say which {}: a name, -l LABELS, or --all",
                    resource.plural
                )));
            }
            let path = resource
                .collection(&session.scope(args.all_namespaces))
                .with_some("labelSelector", args.selectors.selector.as_deref())
                .with_some("fieldSelector", args.selectors.field_selector.as_deref());
            let list = session.client.get(&path, JSON).await?;
            let found = items(&list, "/items");
            doomed.extend(found.iter().map(|object| one(name(object), namespace(object))));
        }
    }
    if doomed.is_empty() {
        writeln!(session.err, "No resources found")?;
    }
    Ok(doomed)
}

async fn of_files(args: &DeleteArgs, session: &mut Session<'_>) -> Result<Vec<Doomed>, CliError> {
    let manifests = manifest::read_all(&args.filename, args.recursive)?;
    let discovery = session.discover().await?;
    let mut doomed = Vec::new();
    for manifest in manifests {
        let object = &manifest.object;
        let kind = discovery.of_kind(text(object, "/apiVersion"), text(object, "/kind"));
        // What the server has never heard of is not there.
        let resource = match kind {
            Ok(resource) => resource.clone(),
            Err(_) if args.ignore_not_found => continue,
            Err(error) => return Err(error),
        };
        let namespace = match namespace(object) {
            "" => session.namespace.clone(),
            given => given.to_owned(),
        };
        doomed.push(Doomed { resource, name: name(object).to_owned(), namespace });
    }
    Ok(doomed)
}

fn reference(object: &Doomed) -> String {
    object.resource.reference(&object.name)
}

/// Uid of what was deleted: the object itself, or a status that names it.
fn uid(answer: &Value) -> String {
    let own = text(answer, "/metadata/uid");
    if own.is_empty() { text(answer, "/details/uid").to_owned() } else { own.to_owned() }
}

fn report(args: &DeleteArgs, object: &Doomed, session: &mut Session<'_>) -> Result<(), CliError> {
    if args.output.is_some() {
        writeln!(session.out, "{}", reference(object))?;
        return Ok(());
    }
    let force = if args.force && args.grace_period == 0 { "force " } else { "" };
    let place = if object.resource.namespaced {
        format!(" from {} namespace", object.namespace)
    } else {
        String::new()
    };
    writeln!(
        session.out,
        "{} \"{}\" {force}deleted{place}{}",
        object.resource.singular_with_group(),
        object.name,
        args.dry_run.suffix()
    )?;
    Ok(())
}

/// Waits until an object is gone, or another one has taken its name.
pub(super) async fn wait_until_gone(
    path: &Path,
    uid: &str,
    reference: &str,
    deadline: Option<Instant>,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let started = clock::now();
    let mut told = false;
    loop {
        match session.client.get(path, JSON).await {
            Err(error) if error.not_found() => return Ok(()),
            Err(error) => return Err(error),
            Ok(object) if !uid.is_empty() && text(&object, "/metadata/uid") != uid => return Ok(()),
            Ok(object) => {
                let now = clock::now();
                if deadline.is_some_and(|deadline| now >= deadline) {
                    return Err(CliError::TimedOut { what: format!("{reference} to be gone") });
                }
                if !told && now.duration_since(started) >= SILENT_MAX {
                    told = true;
                    writeln!(session.err, "{}", what_holds(&object, reference))?;
                    session.err.flush()?;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn what_holds(object: &Value, reference: &str) -> String {
    let finalizers: Vec<_> =
        items(object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect();
    if !finalizers.is_empty() {
        return format!("waiting for {reference}: finalizers {}", finalizers.join(", "));
    }
    match object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64) {
        Some(seconds) => format!("waiting for {reference} to end; it has {seconds} s"),
        None => format!("waiting for {reference} to be gone"),
    }
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches as _, Subcommand as _};

    use super::*;
    use crate::command::ClientCommand;

    fn check(line: &str, wanted: Option<Option<i64>>) {
        let command = ClientCommand::augment_subcommands(clap::Command::new("bramble"));
        let words = ["bramble", "delete", "pod", "a"].into_iter().chain(line.split_whitespace());
        let matches = command.try_get_matches_from(words).unwrap();
        let ClientCommand::Delete(args) = ClientCommand::from_arg_matches(&matches).unwrap() else {
            panic!("not a deletion");
        };
        let seconds = options(&args)
            .ok()
            .map(|options| options.get("gracePeriodSeconds").and_then(Value::as_i64));
        assert_eq!(seconds, wanted, "{line}");
    }

    #[test]
    fn grace_period_follows_the_flags() {
        check("", Some(None));
        check("--grace-period=30", Some(Some(30)));
        check("--now", Some(Some(1)));
        check("--force", Some(Some(0)));
        check("--force --grace-period=0", Some(Some(0)));
        check("--grace-period=0", None);
        check("--force --grace-period=5", None);
    }
}
