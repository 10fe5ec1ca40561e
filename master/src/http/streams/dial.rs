//! Opens connections to ports of pods.

use std::time::Duration;

use bramble_shared::link::{DialReply, StreamRequest};
use tokio::time::timeout;

use crate::link::framed::FrameReader;
use crate::node_port::{NodePort, NodeStream};

/// Longest wait for a pod to take a connection.
const DIAL_TIME_MAX: Duration = Duration::from_secs(15);
/// Longest frame of a node before the connection stands.
const REPLY_LEN_MAX: usize = 4 * 1024;

/// A connection that stands.
pub(super) struct Dialled {
    pub(super) stream: NodeStream,
    /// What the pod has said already.
    pub(super) first: Vec<u8>,
}

/// Opens a connection by a request that is answered by [`DialReply`].
///
/// # Errors
///
/// Why there is none.
pub(super) async fn connect(
    nodes: &dyn NodePort,
    node: &str,
    request: StreamRequest,
) -> Result<Dialled, String> {
    let opened = nodes.open_stream(node, request).await;
    let stream = opened.map_err(|status| status.message)?;
    let mut reader = FrameReader::with_len_max(stream, REPLY_LEN_MAX);
    match timeout(DIAL_TIME_MAX, reader.read::<DialReply>()).await {
        Ok(Ok(Some(DialReply::Open))) => {
            let (stream, first) = reader.into_parts();
            Ok(Dialled { stream, first })
        }
        Ok(Ok(Some(DialReply::Failed { message, .. }))) => Err(message),
        Ok(Ok(None)) => Err("the node's connection has ended".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the node did not answer in time".to_owned()),
    }
}
