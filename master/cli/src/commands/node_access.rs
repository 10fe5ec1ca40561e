//! `node replace` and `node revoke`: who may speak for a node.

use serde_json::json;

use crate::client::Path;
use crate::command::{NodeReplaceArgs, NodeRevokeArgs};
use crate::error::CliError;
use crate::session::Session;

/// Lets another board take a node's name.
pub(super) async fn replace(
    args: &NodeReplaceArgs,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let node = plain(&args.node);
    let body = json!({"ttlSeconds": args.within.as_secs()});
    session.client.post(&path(node, "replace"), &body).await?;
    writeln!(
        session.out,
        "node/{node} may be replaced: the next board that joins as {node} within {} takes its place",
        humantime(args.within.as_secs())
    )?;
    Ok(())
}

/// Ends a node's access.
pub(super) async fn revoke(
    args: &NodeRevokeArgs,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let node = plain(&args.node);
    session.client.post(&path(node, "revoke"), &json!({})).await?;
    writeln!(
        session.out,
        "node/{node} revoked: its certificate is refused until `bramble node replace {node}`"
    )?;
    Ok(())
}

/// `node/pi-2` is what `get -o name` prints.
fn plain(node: &str) -> &str {
    node.strip_prefix("node/").unwrap_or(node)
}

fn path(node: &str, what: &str) -> Path {
    Path::new("/bramble/v1/nodes").join(node).join(what)
}

/// The largest unit that fits.
fn humantime(seconds: u64) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        _ if seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits() {
        let told = [0, 90, 600, 3_600, 86_400].map(humantime);
        assert_eq!(told, ["0 s", "90 s", "10 min", "1 h", "24 h"]);
    }

    #[test]
    fn names_are_taken_as_they_are_printed() {
        assert_eq!(plain("node/pi-2"), plain("pi-2"));
        assert_eq!(path("pi-2", "revoke").to_string(), "/bramble/v1/nodes/pi-2/revoke");
    }
}
