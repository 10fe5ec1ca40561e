//! The node's nftables rules: one text, applied as one transaction by `nft`.
//!
//! Knows nothing of what the rules mean; that is planned in `bramble-agent-core`.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::NetworkError;

/// Applies `text` as one transaction: all of it, or nothing.
///
/// # Errors
/// `nft` is missing or refuses the text.
pub(crate) async fn apply(text: &str) -> Result<(), NetworkError> {
    nft(&["-f", "-"], text).await
}

/// Checks `text` and changes nothing.
///
/// # Errors
/// `nft` is missing or refuses the text.
pub(crate) async fn check(text: &str) -> Result<(), NetworkError> {
    nft(&["-c", "-f", "-"], text).await
}

/// What `iptables -S FORWARD` prints; none without iptables.
pub(crate) async fn forward_rules() -> Option<String> {
    let mut command = Command::new("iptables");
    command.args(["-w", "2", "-S", "FORWARD"]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Puts a rule before all others of `FORWARD`.
///
/// # Errors
/// iptables refuses.
pub(crate) async fn allow_forwarding(rule: &[String]) -> Result<(), NetworkError> {
    let mut command = Command::new("iptables");
    command.args(["-w", "2", "-I", "FORWARD"]).args(rule).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|source| NetworkError::RunNft { source })?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NetworkError::Rules { message })
}

async fn nft(args: &[&str], text: &str) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::RunNft { source };
    let mut child = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A refusal shows as a broken pipe here and as words below.
        let _ = input.write_all(text.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NetworkError::Rules { message })
}
