//! Lets a board without a certificate become a node: one request, one reply.
//!
//! The board has checked the master's CA before it sends its secret. Knows nothing of the node
//! link that follows.

use std::net::SocketAddr;
use std::time::Duration;

use bramble_shared::limits::NODE_NAME_LEN_MAX;
use bramble_shared::link::{JoinReply, JoinRequest};
use bramble_shared::node_name::valid_node_name;
use data_encoding::HEXLOWER;
use futures_util::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::NodeLink;
use super::framed::{self, FrameReader};
use crate::clock;
use crate::pki::request_key_sha256;
use crate::telemetry::Chain;
use crate::token::{Admission, Joining, RedeemTokenError};

/// Longest request, in bytes: a token, a name and a certificate request are less than 2 KiB.
const REQUEST_LEN_MAX: usize = 16 * 1024;
/// Time that a board has for its request, and we for the reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves one board. `voucher` is the SHA-256 of the public key of the certificate that it showed.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    voucher: Option<[u8; 32]>,
    link: &NodeLink,
) {
    let served = tokio::time::timeout(PATIENCE, exchange(stream, peer, voucher, link)).await;
    if served.is_err() {
        tracing::warn!(%peer, "board did not finish its join in time");
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    voucher: Option<[u8; 32]>,
    link: &NodeLink,
) {
    let request = FrameReader::with_len_max(&mut stream, REQUEST_LEN_MAX).read().await;
    let reply = match request {
        Ok(Some(request)) => decide(&request, peer, voucher, link).await,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%peer, error = %Chain(&error), "malformed join");
            return;
        }
    };
    if let Err(error) = framed::write(&mut stream, &reply).await {
        tracing::warn!(%peer, error = %Chain(&error), "could not answer a join");
        return;
    }
    // The board has its answer; it may have closed first.
    let _ = stream.close().await;
}

async fn decide(
    request: &JoinRequest,
    peer: SocketAddr,
    voucher: Option<[u8; 32]>,
    link: &NodeLink,
) -> JoinReply {
    let node = &request.node_name;
    match admit(request, peer, voucher, link).await {
        Ok(certificate) => {
            tracing::info!(%node, %peer, "board joined");
            JoinReply::Accepted { certificate, ca: link.identity.authority.ca_der().to_vec() }
        }
        Err(reason) => {
            tracing::warn!(node = %node.escape_debug(), %peer, %reason, "join refused");
            JoinReply::Refused { reason }
        }
    }
}

/// The certificate, or what to tell the person at the board.
async fn admit(
    request: &JoinRequest,
    peer: SocketAddr,
    voucher: Option<[u8; 32]>,
    link: &NodeLink,
) -> Result<Vec<u8>, String> {
    check_name(&request.node_name)?;
    let node = request.node_name.as_str();
    let key = request_key_sha256(&request.csr).map_err(|error| Chain(&error).to_string())?;
    let (key, voucher) = (HEXLOWER.encode(&key), voucher.map(|key| HEXLOWER.encode(&key)));
    let present = link.registration.present(node).await;
    let present = present.map_err(|error| Chain(&error).to_string())?;
    let joining = Joining {
        node,
        key: &key,
        voucher: voucher.as_deref(),
        taken: present.is_some_and(|present| present.known),
        now_ms: clock::time_of_day_ms(),
    };
    let admission = match link.tokens.redeem(&request.token, &joining, peer.ip()).await {
        Ok(admission) => admission,
        Err(error) => {
            let told = Chain(&error).to_string();
            // The token was right, so this is no noise from the network.
            if matches!(error, RedeemTokenError::Name(_) | RedeemTokenError::Card(_)) {
                link.tell_refusal(node, "JoinRefused", &told).await;
            }
            return Err(told);
        }
    };
    if admission == Admission::Replaced {
        // Before the certificate leaves: the board comes back with it at once.
        link.forget_board(node);
    }
    link.identity
        .authority
        .sign_node(&request.csr, &request.node_name)
        .map_err(|error| Chain(&error).to_string())
}

/// Node names are DNS labels (RFC 1123), since they are host names, too.
fn check_name(name: &str) -> Result<(), String> {
    if valid_node_name(name) {
        return Ok(());
    }
    let name = name.escape_debug();
    Err(format!(
        "node name `{name}` must have at most {NODE_NAME_LEN_MAX} small letters, digits and \
         hyphens, and begin and end with a letter or digit"
    ))
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn node_names_are_dns_labels() {
        for name in ["pi-1", "a", "0", &"x".repeat(63)] {
            check_name(name).unwrap();
        }
        for name in ["", "-pi", "pi-", "Pi", "p.i", "pi/1", "\u{e4}", &"x".repeat(64)] {
            check_name(name).unwrap_err();
        }
    }
}
