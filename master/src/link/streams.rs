//! Opens streams to a node: to programs in its containers, and to ports of its pods.

use std::time::Duration;

use bramble_api::Status;
use bramble_shared::link::StreamRequest;

use super::framed;
use super::logs::gone;
use super::mux::Opener;
use crate::node_port::NodeStream;
use crate::telemetry::Chain;

/// How long a node may take to open a stream.
const OPEN: Duration = Duration::from_secs(10);

/// Opens a stream and asks for something on it; the answer is for the caller to read.
///
/// # Errors
///
/// 503 when the node is gone.
pub(super) async fn open(opener: &Opener, request: &StreamRequest) -> Result<NodeStream, Status> {
    let opened = tokio::time::timeout(OPEN, opener.open()).await.ok().flatten();
    let mut stream = opened.ok_or_else(gone)?;
    framed::write(&mut stream, request).await.map_err(|error| {
        Status::unavailable(format!("could not ask the node: {}", Chain(&error)), 1)
    })?;
    Ok(stream)
}
