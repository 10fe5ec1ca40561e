//! `node upgrade`: sends a new system to a node's card and waits for how it ends.
//!
//! The node writes it to the slot that does not run and tries it once. It keeps it if it becomes
//! Ready with it; otherwise its old system is back after a restart.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cordon::path_of;
use super::node_list::live;
use crate::client::{Chunks, JSON, Path, Upload};
use crate::clock;
use crate::command::NodeUpgradeArgs;
use crate::error::CliError;
use crate::object::{number, text};
use crate::session::Session;

/// Interval at which the node is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Lines for each stage, where there is no terminal.
const LINES: i64 = 4;

/// What the node says last.
struct Written {
    slot: String,
    version: String,
}

/// How a restart went so far.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Not known yet; what is being waited for.
    Waiting(&'static str),
    /// The new system runs and stays.
    Kept,
    /// The old one is back, and why.
    RolledBack(String),
}

/// Upgrades one node.
pub(super) async fn run(args: &NodeUpgradeArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let node = args.node.strip_prefix("node/").unwrap_or(&args.node);
    let file = Upload::open(&args.image)
        .map_err(|source| CliError::ReadFile { path: args.image.clone(), source })?;
    let before = session.client.get(&path_of(node), JSON).await?;
    let boot = text(&before, "/status/nodeInfo/bootID").to_owned();
    writeln!(session.out, "sending {} MiB to node {node}", file.len().div_ceil(1 << 20))?;
    session.out.flush()?;
    let path = Path::new("/bramble/v1/nodes").join(node).join("upgrade");
    let mut answer = session.client.upload(&path, file).await?;
    let written = follow(&mut answer, node, session).await?;
    drop(answer);
    let Written { slot, version } = &written;
    writeln!(session.out, "{node} restarts to try bramble {version} in slot {slot}")?;
    session.out.flush()?;
    wait(node, &boot, &written, clock::now() + args.timeout, session).await?;
    writeln!(session.out, "{node} runs bramble {version} (slot {slot})")?;
    Ok(())
}

/// Shows how far it is until the node's last word.
async fn follow(
    answer: &mut Chunks,
    node: &str,
    session: &mut Session<'_>,
) -> Result<Written, CliError> {
    let terminal = std::io::stdout().is_terminal();
    let mut shown = (String::new(), -1);
    while let Some(line) = answer.next_json().await? {
        let stage = text(&line, "/stage");
        match stage {
            "restarting" => {
                if terminal && shown.1 >= 0 {
                    writeln!(session.out)?;
                }
                let value = |name| text(&line, name).to_owned();
                return Ok(Written { slot: value("/slot"), version: value("/version") });
            }
            "failed" => {
                if terminal && shown.1 >= 0 {
                    writeln!(session.out)?;
                }
                return Err(CliError::Incomplete(format!(
                    "node \"{node}\" was not upgraded and goes on as before: {}",
                    text(&line, "/message")
                )));
            }
            stage => {
                let percent = number(&line, "/bytes") * 100 / number(&line, "/of").max(1);
                let step = if terminal { percent } else { percent * LINES / 100 };
                if (stage, step) != (shown.0.as_str(), shown.1) {
                    show(stage, percent, terminal, session)?;
                    shown = (stage.to_owned(), step);
                }
            }
        }
    }
    Err(CliError::Incomplete(format!(
        "the upgrade of node \"{node}\" broke off; see `bramble node list` for what it runs"
    )))
}

fn show(
    stage: &str,
    percent: i64,
    terminal: bool,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    if terminal {
        let done = usize::try_from(percent.clamp(0, 100) / 4).unwrap_or(0);
        let bar = format!("{}{}", "#".repeat(done), ".".repeat(25 - done));
        write!(session.out, "\r  {stage:<10} [{bar}] {percent:>3} %")?;
    } else {
        writeln!(session.out, "  {stage} {percent} %")?;
    }
    Ok(session.out.flush()?)
}

/// Waits until the node has kept the new system, or has its old one back.
async fn wait(
    node: &str,
    boot: &str,
    written: &Written,
    deadline: Instant,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut waiting = "it goes down";
    loop {
        // A master that upgrades its own board does not answer for a while.
        if let Ok(found) = session.client.get(&path_of(node), JSON).await {
            match outcome(&found, boot, written) {
                Outcome::Kept => return Ok(()),
                Outcome::RolledBack(reason) => {
                    return Err(CliError::Incomplete(format!(
                        "node \"{node}\" runs its old system again: {reason}"
                    )));
                }
                Outcome::Waiting(what) => waiting = what,
            }
        }
        if clock::now() >= deadline {
            return Err(CliError::TimedOut {
                what: format!("node \"{node}\" with its new system; still waiting until {waiting}"),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn outcome(node: &Value, boot: &str, written: &Written) -> Outcome {
    let annotation = |name: &str| text(node, &format!("/metadata/annotations/bramble.io~1{name}"));
    if text(node, "/status/nodeInfo/bootID") == boot {
        return Outcome::Waiting("it restarts");
    }
    let upgrade = annotation("upgrade");
    if annotation("slot") != written.slot {
        let reason = upgrade.strip_prefix("rolled back").unwrap_or_default();
        let reason = reason.trim_start_matches(':').trim();
        let reason = if reason.is_empty() { "it did not say why" } else { reason };
        return Outcome::RolledBack(reason.to_owned());
    }
    if upgrade != "kept" {
        return Outcome::Waiting("it keeps the new system");
    }
    if !live(node).starts_with("yes") {
        return Outcome::Waiting("it is ready");
    }
    Outcome::Kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(boot: &str, slot: &str, upgrade: &str, ready: &str) -> Value {
        json!({
            "metadata": {"name": "pi-2", "annotations": {
                "bramble.io/slot": slot, "bramble.io/upgrade": upgrade,
            }},
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "nodeInfo": {"bootID": boot},
            },
        })
    }

    #[test]
    fn an_upgrade_ends_when_the_new_system_is_kept_or_the_old_one_is_back() {
        let written = Written { slot: "b".to_owned(), version: "0.2.0".to_owned() };
        let check = |found: Value, expected| {
            assert_eq!(outcome(&found, "old", &written), expected, "{found}");
        };
        check(node("old", "a", "", "True"), Outcome::Waiting("it restarts"));
        // An earlier upgrade was kept in the same slot.
        check(node("old", "b", "kept", "True"), Outcome::Waiting("it restarts"));
        check(node("new", "b", "trying", "True"), Outcome::Waiting("it keeps the new system"));
        check(node("new", "b", "kept", "Unknown"), Outcome::Waiting("it is ready"));
        check(node("new", "b", "kept", "True"), Outcome::Kept);
        let reason = "rolled back: not Ready within 120 s";
        check(
            node("new", "a", reason, "True"),
            Outcome::RolledBack("not Ready within 120 s".to_owned()),
        );
        check(node("new", "a", "", "True"), Outcome::RolledBack("it did not say why".to_owned()));
    }
}
