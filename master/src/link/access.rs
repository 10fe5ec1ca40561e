//! What administrators decide about who may speak for a node, carried out at once.

use bramble_api::Status;

use super::NodeLink;
use crate::clock;
use crate::control::events::{Involved, Occurrence};
use crate::objects::{Objects, store_status};
use crate::token::TokenError;

/// Name of the reporter in events.
const COMPONENT: &str = "node-link";

impl NodeLink {
    /// Ends the access of a node: what is durable first, so that nobody slips in between, then its
    /// keys, then its session.
    pub(super) async fn end_access(&self, node: &str) -> Result<(), Status> {
        self.existing(node).await?;
        self.tokens.revoke_node(node).await.map_err(token_status)?;
        self.forget_board(node);
        self.record(node, "AccessRevoked", "an administrator ended the access of this node", false)
            .await;
        Ok(())
    }

    /// Lets another board have a node's name; returns until when. Whatever was in doubt about the
    /// node's identity is decided by it.
    pub(super) async fn let_replace(&self, node: &str, ttl_s: u64) -> Result<u64, Status> {
        self.existing(node).await?;
        let permitted = self.tokens.permit(node, ttl_s, clock::time_of_day_ms()).await;
        let until_ms = permitted.map_err(token_status)?;
        let decided = self.heartbeats.decide(node);
        let message = if decided {
            "an administrator decided that the board which is left is this node"
        } else {
            "an administrator lets another board take the place of this node"
        };
        self.record(node, "ReplacePermitted", message, false).await;
        Ok(until_ms)
    }

    /// Ends a node's session and forgets its keys and whom it was: another board may come.
    pub(super) fn forget_board(&self, node: &str) {
        self.heartbeats.cut_off(node);
        self.active.disconnect(node);
    }

    /// Ends the sessions of nodes with which two boards speak.
    pub(crate) fn end_quarantined(&self) {
        let contacts = self.heartbeats.contacts();
        for (node, _) in contacts.nodes.iter().filter(|(_, contact)| contact.quarantined) {
            self.active.disconnect(node);
        }
    }

    /// Tells administrators that a board was refused that has a token or a certificate of the
    /// cluster: in the log, and as an event of the node if there is one.
    pub(super) async fn tell_refusal(&self, node: &str, reason: &'static str, why: &str) {
        if !self.lock_refusals().tell(node, reason, clock::monotonic()) {
            return;
        }
        tracing::warn!(node = %node.escape_debug(), reason, %why, "a board was refused");
        self.record(node, reason, why, true).await;
    }

    /// Fails if there is neither a Node object nor a key of that name.
    async fn existing(&self, node: &str) -> Result<(), Status> {
        let nodes = Objects::resource("", "nodes");
        match self.objects.get(nodes, "", node).await {
            Err(status) if status.code == 404 => {
                let known = self.tokens.knows(node).await.map_err(token_status)?;
                if known { Ok(()) } else { Err(status) }
            }
            other => other.map(|_| ()),
        }
    }

    /// Records an event of a node that exists.
    async fn record(&self, node: &str, reason: &str, message: &str, warning: bool) {
        let nodes = Objects::resource("", "nodes");
        let Ok(object) = self.objects.get(nodes, "", node).await else { return };
        let uid = object.pointer("/metadata/uid").and_then(serde_json::Value::as_str);
        let involved = Involved {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: node.to_owned(),
            uid: uid.unwrap_or_default().to_owned(),
            ..Involved::default()
        };
        let occurrence = Occurrence {
            involved,
            warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
            component: COMPONENT.to_owned(),
            host: String::new(),
        };
        self.events.record(occurrence).await;
    }
}

fn token_status(error: TokenError) -> Status {
    match error {
        TokenError::Store(source) => store_status(source),
        TokenError::Conflict => Status::unavailable(error.to_string(), 1),
        TokenError::Damaged { .. } | TokenError::NotFound { .. } => {
            Status::internal(error.to_string())
        }
    }
}
