//! `node list`: the boards at a glance. What nobody told is `-`.

use serde_json::Value;

use crate::client::{JSON, Path};
use crate::command::NodeListArgs;
use crate::error::CliError;
use crate::object::{flag, items, name, text};
use crate::session::Session;
use crate::table::{TableWriter, cell};

const HEADINGS: [&str; 9] =
    ["NAME", "LIVE", "SLOT", "VERSION", "UPGRADE", "FENCE", "ADDRESS", "BOARD", "BOOT"];

/// Shows all nodes that the arguments select.
pub(super) async fn run(args: &NodeListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let path = Path::new("/api/v1/nodes")
        .with_some("labelSelector", args.selectors.selector.as_deref())
        .with_some("fieldSelector", args.selectors.field_selector.as_deref());
    let list = session.client.get(&path, JSON).await?;
    let nodes = items(&list, "/items");
    if nodes.is_empty() {
        writeln!(session.err, "No resources found")?;
        return Ok(());
    }
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(nodes.iter().map(row));
    TableWriter::default().write(&rows, session.out)?;
    Ok(())
}

fn row(node: &Value) -> Vec<String> {
    let annotation = |name: &str| text(node, &format!("/metadata/annotations/bramble.io~1{name}"));
    let version = match annotation("image-version") {
        "" => agent_version(node),
        version => version,
    };
    let addresses = items(node, "/status/addresses");
    let address = addresses.iter().find(|each| text(each, "/type") == "InternalIP");
    let boot = text(node, "/status/nodeInfo/bootID");
    [
        name(node),
        &live(node),
        annotation("slot"),
        version,
        annotation("upgrade"),
        annotation("fence"),
        address.map_or("", |address| text(address, "/address")),
        annotation("serial"),
        boot.split('-').next().unwrap_or_default(),
    ]
    .map(|value| if value.is_empty() { "-".to_owned() } else { cell(value) })
    .to_vec()
}

/// What heartbeats say of a node, and whether it takes new pods.
pub(super) fn live(node: &Value) -> String {
    let conditions = items(node, "/status/conditions");
    let ready = conditions.iter().find(|condition| text(condition, "/type") == "Ready");
    let live = match ready.map(|ready| text(ready, "/status")) {
        Some("True") => "yes",
        Some("False") => "not ready",
        Some(_) => "no",
        None => return String::new(),
    };
    let cordoned = if flag(node, "/spec/unschedulable") { ", cordoned" } else { "" };
    format!("{live}{cordoned}")
}

/// The agent's version is part of the version that Kubernetes shows.
fn agent_version(node: &Value) -> &str {
    let shown = text(node, "/status/nodeInfo/kubeletVersion");
    shown.split_once("+bramble.").map_or("", |(_, version)| version)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_card_tells_more_than_an_installed_agent() {
        let card = json!({
            "metadata": {"name": "pi-2", "annotations": {
                "bramble.io/slot": "b", "bramble.io/image-version": "0.2.0",
                "bramble.io/upgrade": "kept", "bramble.io/fence": "watchdog",
                "bramble.io/serial": "100000002",
            }},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.2"}],
                "nodeInfo": {"bootID": "abababab-abab", "kubeletVersion": "v1.36.2+bramble.0.2.0"},
            },
        });
        assert_eq!(
            row(&card),
            [
                "pi-2",
                "yes, cordoned",
                "b",
                "0.2.0",
                "kept",
                "watchdog",
                "192.0.2.2",
                "100000002",
                "abababab",
            ]
        );
        let installed = json!({
            "metadata": {"name": "pc"},
            "status": {
                "conditions": [{"type": "Ready", "status": "Unknown"}],
                "nodeInfo": {"kubeletVersion": "v1.36.2+bramble.0.1.0"},
            },
        });
        assert_eq!(row(&installed), ["pc", "no", "-", "0.1.0", "-", "-", "-", "-", "-"]);
    }
}
