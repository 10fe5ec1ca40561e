//! `node list`: the boards at a glance. What nobody told is `-`.
//!
//! Nodes come from the API, how their boards are from bramble's own list of them, which is live and
//! stored nowhere.

mod figure;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{JSON, Path};
use crate::command::NodeListArgs;
use crate::error::CliError;
use crate::object::{flag, items, name, text};
use crate::session::Session;
use crate::table::{TableWriter, cell};

/// How the boards are.
const HEADINGS: [&str; 9] =
    ["NAME", "LIVE", "RTT", "LOSS", "FENCE", "TEMP", "POWER", "BOOT", "CARD"];
/// What is shown of upgrades unless all of them went well.
const UPGRADE: [&str; 1] = ["UPGRADE"];
/// What they run and which they are.
const WIDE: [&str; 6] = ["SLOT", "VERSION", "UPGRADE", "ADDRESS", "BOARD", "BOOT-ID"];

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
    let vitals = match session.client.get(&Path::new("/bramble/v1/nodes"), JSON).await {
        Ok(vitals) => vitals,
        // Another API server than ours, or an older one.
        Err(error) if error.not_found() => Value::Null,
        Err(error) => return Err(error),
    };
    let rows = rows(nodes, &vitals, args.output.is_some());
    TableWriter::default().write(&rows, session.out)?;
    Ok(())
}

/// The whole table.
fn rows(nodes: &[Value], vitals: &Value, wide: bool) -> Vec<Vec<String>> {
    let vitals: BTreeMap<&str, &Value> =
        items(vitals, "/items").iter().map(|item| (text(item, "/name"), item)).collect();
    let of = |node: &Value| {
        let silent = Value::Null;
        board(node, vitals.get(name(node)).copied().unwrap_or(&silent))
    };
    let well = |node| matches!(annotation(node, "upgrade"), "" | "kept");
    let upgrades = !nodes.iter().all(well);
    let more: &[&str] = match (wide, upgrades) {
        (true, _) => &WIDE,
        (false, true) => &UPGRADE,
        (false, false) => &[],
    };
    let cells = |node: &Value| match (wide, upgrades) {
        (true, _) => system(node),
        (false, true) => vec![annotation(node, "upgrade").to_owned()],
        (false, false) => Vec::new(),
    };
    let heading = HEADINGS.iter().chain(more).map(|&heading| heading.to_owned()).collect();
    let row = |node: &Value| of(node).into_iter().chain(cells(node)).map(shown).collect();
    std::iter::once(heading).chain(nodes.iter().map(row)).collect()
}

fn shown(value: String) -> String {
    if value.is_empty() { "-".to_owned() } else { cell(&value) }
}

/// How a node's board is.
fn board(node: &Value, vitals: &Value) -> Vec<String> {
    let number = |field: &str| vitals.get(field).and_then(Value::as_u64);
    let figure = |field: &str, show: fn(u64) -> String| number(field).map(show).unwrap_or_default();
    let loss = number("heartbeatsLost").zip(number("heartbeatsSent"));
    let temperature = vitals.get("temperatureCelsius").and_then(Value::as_i64);
    vec![
        name(node).to_owned(),
        access(vitals).map_or_else(|| live(node), |access| format!("{}, {access}", live(node))),
        figure("roundTripMicroseconds", figure::round_trip),
        loss.map(|(lost, sent)| figure::loss(lost, sent)).unwrap_or_default(),
        annotation(node, "fence").to_owned(),
        temperature.map(|celsius| format!("{celsius} C")).unwrap_or_default(),
        power(vitals).to_owned(),
        figure("uptimeSeconds", figure::up),
        figure("cardBytesPerDay", figure::per_day),
    ]
}

/// What is out of the ordinary about who may speak for a node.
fn access(vitals: &Value) -> Option<&'static str> {
    match text(vitals, "/access") {
        "revoked" => Some("revoked"),
        "replaceable" => Some("may be replaced"),
        _ => None,
    }
}

/// The worst of what is wrong with a board's power.
fn power(vitals: &Value) -> &'static str {
    match () {
        () if vitals.get("power").is_none() => "",
        () if flag(vitals, "/power/underVoltage") => "under-voltage",
        () if flag(vitals, "/power/throttled") => "throttled",
        () => "ok",
    }
}

/// What a node runs and which board it is.
fn system(node: &Value) -> Vec<String> {
    let version = match annotation(node, "image-version") {
        "" => agent_version(node),
        version => version,
    };
    let addresses = items(node, "/status/addresses");
    let address = addresses.iter().find(|each| text(each, "/type") == "InternalIP");
    let boot = text(node, "/status/nodeInfo/bootID");
    [
        annotation(node, "slot"),
        version,
        annotation(node, "upgrade"),
        address.map_or("", |address| text(address, "/address")),
        annotation(node, "serial"),
        boot.split('-').next().unwrap_or_default(),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn annotation<'a>(node: &'a Value, name: &str) -> &'a str {
    text(node, &format!("/metadata/annotations/bramble.io~1{name}"))
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
    let conflict = conditions.iter().find(|it| text(it, "/type") == "IdentityConflict");
    let quarantined = conflict.is_some_and(|conflict| text(conflict, "/status") == "True");
    let quarantined = if quarantined { ", quarantined" } else { "" };
    let cordoned = if flag(node, "/spec/unschedulable") { ", cordoned" } else { "" };
    format!("{live}{quarantined}{cordoned}")
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

    fn node(name: &str, status: &str, annotations: &Value) -> Value {
        json!({
            "metadata": {"name": name, "annotations": annotations},
            "status": {
                "conditions": [{"type": "Ready", "status": status}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.2"}],
                "nodeInfo": {"bootID": "abababab-abab", "kubeletVersion": "v1.36.2+bramble.0.1.0"},
            },
        })
    }

    fn table(nodes: &[Value], vitals: &Value, wide: bool) -> String {
        let mut out = Vec::new();
        TableWriter::default().write(&rows(nodes, vitals, wide), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn two() -> [Value; 2] {
        [
            node("pi-2", "True", &json!({"bramble.io/fence": "watchdog"})),
            node("pi-3", "True", &json!({"bramble.io/fence": "watchdog"})),
        ]
    }

    #[test]
    fn boards_tell_how_they_are() {
        let vitals = json!({"items": [
            {
                "name": "pi-2", "heartbeatsSent": 600, "heartbeatsLost": 0,
                "uptimeSeconds": 7_425, "roundTripMicroseconds": 412, "temperatureCelsius": 51,
                "power": {"underVoltage": false, "throttled": false}, "cardBytesPerDay": 300_000,
            },
            {
                "name": "pi-3", "heartbeatsSent": 600, "heartbeatsLost": 12,
                "uptimeSeconds": 7_425, "roundTripMicroseconds": 3_100, "temperatureCelsius": 62,
                "power": {"underVoltage": true, "throttled": true}, "cardBytesPerDay": 600_000,
            },
        ]});
        insta::assert_snapshot!(table(&two(), &vitals, false), @"
        NAME   LIVE   RTT      LOSS   FENCE      TEMP   POWER           BOOT   CARD
        pi-2   yes    0.4 ms   0 %    watchdog   51 C   ok              2h3m   0.3 MB/day
        pi-3   yes    3.1 ms   2 %    watchdog   62 C   under-voltage   2h3m   0.6 MB/day
        ");
    }

    #[test]
    fn what_nobody_tells_is_a_dash() {
        let vitals = json!({"items": [{
            "name": "pi-3", "heartbeatsSent": 0, "heartbeatsLost": 0, "uptimeSeconds": 9,
            "power": {"underVoltage": false, "throttled": true},
        }]});
        let mut nodes = two();
        nodes[0]["status"]["conditions"][0]["status"] = json!("Unknown");
        nodes[1]["spec"] = json!({"unschedulable": true});
        insta::assert_snapshot!(table(&nodes, &vitals, false), @"
        NAME   LIVE            RTT   LOSS   FENCE      TEMP   POWER       BOOT   CARD
        pi-2   no              -     -      watchdog   -      -           -      -
        pi-3   yes, cordoned   -     -      watchdog   -      throttled   9s     -
        ");
        let old_server = table(&nodes, &Value::Null, false);
        assert!(old_server.contains("pi-2   no"), "{old_server}");
    }

    #[test]
    fn who_may_speak_for_a_node_is_told_if_that_is_out_of_the_ordinary() {
        let vitals = json!({"items": [
            {"name": "pi-2", "access": "revoked"},
            {"name": "pi-3", "access": "replaceable"},
        ]});
        let mut nodes = two();
        nodes[0]["status"]["conditions"][0]["status"] = json!("Unknown");
        nodes[1]["status"]["conditions"] = json!([
            {"type": "Ready", "status": "Unknown"},
            {"type": "IdentityConflict", "status": "True"},
        ]);
        insta::assert_snapshot!(table(&nodes, &vitals, false), @"
        NAME   LIVE                               RTT   LOSS   FENCE      TEMP   POWER   BOOT   CARD
        pi-2   no, revoked                        -     -      watchdog   -      -       -      -
        pi-3   no, quarantined, may be replaced   -     -      watchdog   -      -       -      -
        ");
    }

    #[test]
    fn an_upgrade_that_was_taken_back_is_told_and_one_that_went_well_only_if_asked() {
        let card = |upgrade: &str| {
            json!({
                "bramble.io/slot": "b", "bramble.io/image-version": "0.2.0",
                "bramble.io/upgrade": upgrade, "bramble.io/serial": "100000002",
            })
        };
        let nodes = [
            node("pc", "True", &json!({})),
            node("pi-2", "True", &card("rolled back: it did not start")),
        ];
        insta::assert_snapshot!(table(&nodes, &Value::Null, false), @"
        NAME   LIVE   RTT   LOSS   FENCE   TEMP   POWER   BOOT   CARD   UPGRADE
        pc     yes    -     -      -       -      -       -      -      -
        pi-2   yes    -     -      -       -      -       -      -      rolled back: it did not start
        ");
        let nodes = [node("pc", "True", &json!({})), node("pi-2", "True", &card("kept"))];
        assert!(!table(&nodes, &Value::Null, false).contains("UPGRADE"));
        insta::assert_snapshot!(table(&nodes, &Value::Null, true), @"
        NAME   LIVE   RTT   LOSS   FENCE   TEMP   POWER   BOOT   CARD   SLOT   VERSION   UPGRADE   ADDRESS     BOARD       BOOT-ID
        pc     yes    -     -      -       -      -       -      -      -      0.1.0     -         192.0.2.2   -           abababab
        pi-2   yes    -     -      -       -      -       -      -      b      0.2.0     kept      192.0.2.2   100000002   abababab
        ");
    }
}
