//! `drain`: moves all pods off nodes, so that they can be switched off.
//!
//! Which pods may go is decided for all nodes before anything is done.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{cordon, delete};
use crate::client::{JSON, Path};
use crate::clock;
use crate::command::{DrainArgs, DryRun};
use crate::error::CliError;
use crate::object::{controller, items, name, namespace, terminating, text};
use crate::session::Session;

/// How long to leave a pod alone that its disruption budget protects, as kubectl does.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What becomes of a pod.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is moved.
    Evict,
    /// It stays, perhaps with a remark.
    Leave(Option<String>),
    /// The node cannot be drained without a further flag.
    Refuse(String),
}

/// Drains all nodes that the arguments select.
pub(super) async fn run(args: &DrainArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let deadline = (!args.timeout.is_zero()).then(|| clock::now() + args.timeout);
    let nodes = cordon::nodes(&args.nodes, args.selector.as_deref(), session).await?;
    for node in &nodes {
        cordon::set(node, true, args.dry_run, session).await?;
    }
    let mut work = Vec::new();
    for node in &nodes {
        work.push((name(node), to_evict(args, name(node), session).await?));
    }
    for (node, pods) in work {
        for pod in &pods {
            let shown = format!("{}/{}", namespace(pod), name(pod));
            writeln!(session.out, "evicting pod {shown}{}", args.dry_run.suffix())?;
            session.out.flush()?;
            if args.dry_run != DryRun::Client {
                evict(args, pod, deadline, session).await?;
            }
        }
        if args.dry_run == DryRun::None {
            for pod in &pods {
                let reference = format!("pod/{}", name(pod));
                let uid = text(pod, "/metadata/uid");
                delete::wait_until_gone(&path_of(pod), uid, &reference, deadline, session).await?;
                writeln!(session.out, "{reference} evicted")?;
                session.out.flush()?;
            }
        }
        writeln!(session.out, "node/{node} drained{}", args.dry_run.suffix())?;
    }
    Ok(())
}

fn path_of(pod: &Value) -> Path {
    Path::new("/api/v1/namespaces").join(namespace(pod)).join("pods").join(name(pod))
}

async fn to_evict(
    args: &DrainArgs,
    node: &str,
    session: &mut Session<'_>,
) -> Result<Vec<Value>, CliError> {
    let path = Path::new("/api/v1/pods")
        .with("fieldSelector", &format!("spec.nodeName={node}"))
        .with_some("labelSelector", args.pod_selector.as_deref());
    let list = session.client.get(&path, JSON).await?;
    let mut evicted = Vec::new();
    let mut refused = Vec::new();
    for pod in items(&list, "/items") {
        match verdict(args, pod) {
            Verdict::Evict => evicted.push(pod.clone()),
            Verdict::Leave(None) => {}
            Verdict::Leave(Some(remark)) => writeln!(session.err, "Warning: {remark}")?,
            Verdict::Refuse(reason) => refused.push(reason),
        }
    }
    if refused.is_empty() {
        return Ok(evicted);
    }
    Err(CliError::Incomplete(format!(
        "unable to drain node \"{node}\" (it stays cordoned; `bramble uncordon {node}` takes that \
         back):\n{}",
        refused.join("\n")
    )))
}

fn verdict(args: &DrainArgs, pod: &Value) -> Verdict {
    let shown = format!("{}/{}", namespace(pod), name(pod));
    if pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some() {
        return Verdict::Leave(None);
    }
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return Verdict::Evict;
    }
    let controller = controller(pod);
    if controller.is_some_and(|owner| text(owner, "/kind") == "DaemonSet") {
        return if args.ignore_daemonsets {
            Verdict::Leave(Some(format!("ignoring pod {shown} of a DaemonSet")))
        } else {
            Verdict::Refuse(format!(
                "cannot delete pod {shown} of a DaemonSet (use --ignore-daemonsets to ignore)"
            ))
        };
    }
    // What goes already need not be asked for.
    if terminating(pod) {
        return Verdict::Evict;
    }
    if controller.is_none() && !args.force {
        return Verdict::Refuse(format!(
            "cannot delete pod {shown}: no controller would start it elsewhere (use --force to \
             override)"
        ));
    }
    let volumes = items(pod, "/spec/volumes");
    if volumes.iter().any(|volume| volume.get("emptyDir").is_some()) && !args.delete_emptydir_data {
        return Verdict::Refuse(format!(
            "cannot delete pod {shown} with local storage (use --delete-emptydir-data to override)"
        ));
    }
    Verdict::Evict
}

async fn evict(
    args: &DrainArgs,
    pod: &Value,
    deadline: Option<Instant>,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    if let Some(fields) = options.as_object_mut() {
        // Never a later pod of the same name.
        if let Some(uid) = pod.pointer("/metadata/uid") {
            fields.insert("preconditions".to_owned(), json!({ "uid": uid }));
        }
        if args.grace_period >= 0 {
            fields.insert("gracePeriodSeconds".to_owned(), json!(args.grace_period));
        }
        if let Some(dry_run) = args.dry_run.parameter() {
            fields.insert("dryRun".to_owned(), json!([dry_run]));
        }
    }
    if args.disable_eviction {
        return delete_pod(pod, &options, session).await;
    }
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name(pod), "namespace": namespace(pod)},
        "deleteOptions": options,
    });
    loop {
        match session.client.post(&path_of(pod).join("eviction"), &eviction).await {
            Ok(_) => return Ok(()),
            // A disruption budget forbids it at the moment.
            Err(error) if error.code() == Some(429) => {
                let reference = format!("pod {}/{}", namespace(pod), name(pod));
                if deadline.is_some_and(|deadline| clock::now() + RETRY_AFTER >= deadline) {
                    return Err(CliError::TimedOut { what: format!("{reference}: {error}") });
                }
                let seconds = RETRY_AFTER.as_secs();
                writeln!(session.err, "{reference} (will retry after {seconds}s): {error}")?;
                session.err.flush()?;
                tokio::time::sleep(RETRY_AFTER).await;
            }
            // Either the pod is gone, or the server knows no evictions; deleting settles both.
            Err(error) if matches!(error.code(), Some(404 | 405)) => {
                return delete_pod(pod, &options, session).await;
            }
            // Another pod has taken the name.
            Err(error) if error.code() == Some(409) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

async fn delete_pod(
    pod: &Value,
    options: &Value,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    match session.client.delete(&path_of(pod), options).await {
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ConnectionArgs;

    fn args() -> DrainArgs {
        DrainArgs {
            nodes: vec![],
            selector: None,
            ignore_daemonsets: false,
            delete_emptydir_data: false,
            force: false,
            pod_selector: None,
            disable_eviction: false,
            grace_period: -1,
            timeout: Duration::ZERO,
            dry_run: DryRun::None,
            connection: ConnectionArgs::default(),
        }
    }

    fn pod(owner: Option<&str>, more: Value) -> Value {
        let owners: Vec<_> =
            owner.iter().map(|kind| json!({"kind": kind, "controller": true})).collect();
        let mut pod =
            json!({"metadata": {"name": "a", "namespace": "n", "ownerReferences": owners}});
        for (field, value) in more.as_object().unwrap() {
            pod[field] = value.clone();
        }
        pod
    }

    #[test]
    fn pods_that_come_back_elsewhere_are_evicted() {
        let owned = pod(Some("ReplicaSet"), json!({}));
        assert_eq!(verdict(&args(), &owned), Verdict::Evict);
        let bare = pod(None, json!({}));
        assert!(
            matches!(verdict(&args(), &bare), Verdict::Refuse(text) if text.contains("--force"))
        );
        assert_eq!(verdict(&DrainArgs { force: true, ..args() }, &bare), Verdict::Evict);
    }

    #[test]
    fn pods_of_daemon_sets_stay() {
        let daemon = pod(Some("DaemonSet"), json!({}));
        assert!(matches!(verdict(&args(), &daemon), Verdict::Refuse(_)));
        let ignoring = DrainArgs { ignore_daemonsets: true, ..args() };
        assert!(matches!(verdict(&ignoring, &daemon), Verdict::Leave(Some(_))));
    }

    #[test]
    fn local_data_is_not_lost_without_a_word() {
        let volumes = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let local = pod(Some("ReplicaSet"), volumes);
        assert!(matches!(verdict(&args(), &local), Verdict::Refuse(_)));
        let deleting = DrainArgs { delete_emptydir_data: true, ..args() };
        assert_eq!(verdict(&deleting, &local), Verdict::Evict);
    }

    #[test]
    fn finished_pods_hold_up_nothing() {
        assert_eq!(
            verdict(&args(), &pod(None, json!({"status": {"phase": "Failed"}}))),
            Verdict::Evict
        );
    }
}
