//! Gives a node the tokens of its own pods' service accounts.

use bramble_shared::link::{TokenAnswer, TokenReply, TokenRequest};

use crate::access::AccountTokens;

/// Answers a node.
pub(super) async fn answer(
    tokens: &AccountTokens,
    node: &str,
    request: &TokenRequest,
) -> TokenReply {
    let TokenRequest { number, namespace, pod, uid, audience, expires_in_s } = request;
    let pod = (namespace.as_str(), pod.as_str(), uid.as_str());
    let answer = match tokens.issue_to_node(node, pod, audience, *expires_in_s).await {
        Ok(issued) => TokenAnswer::Token {
            token: issued.token,
            expires_in_s: u64::try_from(issued.expires_in_s).unwrap_or(0),
        },
        Err(status) => TokenAnswer::Refused { message: status.message },
    };
    TokenReply { number: *number, answer }
}
