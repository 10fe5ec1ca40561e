//! `cordon` and `uncordon`: whether the scheduler may use a node.

use serde_json::{Value, json};

use crate::client::{JSON, MERGE_PATCH, Path};
use crate::command::{CordonArgs, DryRun};
use crate::error::CliError;
use crate::object::{flag, items, name};
use crate::session::Session;

/// Sets all nodes that the arguments select.
pub(super) async fn run(
    args: &CordonArgs,
    cordoned: bool,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    for node in nodes(&args.nodes, args.selector.as_deref(), session).await? {
        set(&node, cordoned, args.dry_run, session).await?;
    }
    Ok(())
}

/// Path of a node.
pub(super) fn path_of(node: &str) -> Path {
    Path::new("/api/v1/nodes").join(node)
}

/// Nodes by name or by label. All must exist before anything is done to one of them.
pub(super) async fn nodes(
    names: &[String],
    selector: Option<&str>,
    session: &mut Session<'_>,
) -> Result<Vec<Value>, CliError> {
    if let Some(selector) = selector {
        let path = Path::new("/api/v1/nodes").with("labelSelector", selector);
        let list = session.client.get(&path, JSON).await?;
        let nodes = items(&list, "/items").to_vec();
        if nodes.is_empty() {
            writeln!(session.err, "No resources found")?;
        }
        return Ok(nodes);
    }
    let mut nodes = Vec::new();
    for name in names {
        // `node/pi-2` is what `get -o name` prints.
        let name =
            name.strip_prefix("node/").or_else(|| name.strip_prefix("nodes/")).unwrap_or(name);
        nodes.push(session.client.get(&path_of(name), JSON).await?);
    }
    Ok(nodes)
}

/// Sets one node, and says so.
pub(super) async fn set(
    node: &Value,
    cordoned: bool,
    dry_run: DryRun,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let verb = if cordoned { "cordoned" } else { "uncordoned" };
    let name = name(node);
    if flag(node, "/spec/unschedulable") == cordoned {
        writeln!(session.out, "node/{name} already {verb}{}", dry_run.suffix())?;
        return Ok(());
    }
    if dry_run != DryRun::Client {
        let value = if cordoned { Value::Bool(true) } else { Value::Null };
        let path = path_of(name).with_some("dryRun", dry_run.parameter());
        let patch = json!({"spec": {"unschedulable": value}});
        session.client.patch(&path, MERGE_PATCH, &patch).await?;
    }
    writeln!(session.out, "node/{name} {verb}{}", dry_run.suffix())?;
    Ok(session.out.flush()?)
}
