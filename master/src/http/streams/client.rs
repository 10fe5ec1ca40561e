//! The client's end of a WebSocket: one writer for all that has something to say, and a good end.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longest wait for a client to close the connection after the end.
const LINGER: Duration = Duration::from_secs(2);

/// A frame for the client, and whether it is the last one.
pub(super) type Out = (Bytes, bool);

/// Writes frames until the last one.
pub(super) async fn to_client(
    mut waiting: mpsc::Receiver<Out>,
    client: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    while let Some((frame, last)) = waiting.recv().await {
        client.write_all(&frame).await?;
        client.flush().await?;
        if last {
            break;
        }
    }
    Ok(())
}

/// Ends a connection after its last frame. What the client sends until it has read that would
/// otherwise reset the connection, and the frame be lost.
pub(super) async fn finish(
    client_in: &mut (impl AsyncRead + Unpin),
    client_out: &mut (impl AsyncWrite + Unpin),
) {
    let linger = async {
        let mut chunk = [0; 4096];
        while client_in.read(&mut chunk).await.is_ok_and(|len| len > 0) {}
    };
    let _ = client_out.shutdown().await;
    let _ = timeout(LINGER, linger).await;
}
