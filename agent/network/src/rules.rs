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
    let failed = |source| NetworkError::RunNft { source };
    let mut child = Command::new("nft")
        .args(["-f", "-"])
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
