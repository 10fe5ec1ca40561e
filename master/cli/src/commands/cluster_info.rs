//! `cluster-info`: where the cluster is and how it does.

use serde_json::Value;

use crate::client::{JSON, Path};
use crate::error::CliError;
use crate::object::{items, name, text};
use crate::session::Session;

/// Shows the address, the version and how many nodes are ready.
pub(super) async fn run(session: &mut Session<'_>) -> Result<(), CliError> {
    let version = session.client.get(&Path::new("/version"), JSON).await?;
    writeln!(session.out, "Kubernetes control plane is running at {}", session.client.server())?;
    writeln!(session.out, "Version {}", text(&version, "/gitVersion"))?;
    let nodes = session.client.get(&Path::new("/api/v1/nodes"), JSON).await?;
    let nodes = items(&nodes, "/items");
    let (ready, other): (Vec<&Value>, Vec<&Value>) = nodes.iter().partition(|node| ready(node));
    writeln!(session.out, "Nodes: {}, of which {} Ready", nodes.len(), ready.len())?;
    if !other.is_empty() {
        let names: Vec<_> = other.into_iter().map(name).collect();
        writeln!(session.out, "Not Ready: {}", names.join(", "))?;
        writeln!(session.out, "\nSee why with: bramble describe node {}", names.join(" "))?;
    }
    Ok(())
}

/// Whether a node's condition `Ready` is true.
fn ready(node: &Value) -> bool {
    items(node, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
    })
}
