//! Reads datagrams and sends acknowledgements; says nothing to whatever is not authentic.

use std::sync::Arc;

use bramble_shared::limits::DATAGRAM_LEN_MAX;
use tokio::net::UdpSocket;

use super::Heartbeats;

/// Datagrams that are read before other tasks get their turn.
const BURST_MAX: usize = 64;

/// Serves the socket for ever.
pub(super) async fn run(socket: UdpSocket, heartbeats: Arc<Heartbeats>) {
    // One byte more than a packet may have: what is longer is seen to be, and dropped.
    let mut datagram = [0; DATAGRAM_LEN_MAX + 1];
    let mut reply = [0; DATAGRAM_LEN_MAX];
    loop {
        if let Err(error) = socket.readable().await {
            tracing::error!(%error, "heartbeat socket failed");
            return;
        }
        for _ in 0..BURST_MAX {
            // An error here is another's unreachable port, told by ICMP, or nothing to read.
            let Ok((len, peer)) = socket.try_recv_from(&mut datagram) else { break };
            let received = datagram.get_mut(..len).unwrap_or_default();
            let Some(len) = heartbeats.handle_datagram(received, &mut reply) else { continue };
            // A full socket buffer loses an acknowledgement, like the network does.
            let _ = socket.try_send_to(reply.get(..len).unwrap_or_default(), peer);
        }
        tokio::task::yield_now().await;
    }
}
