//! Join tokens over HTTP: what `bramble token` talks to.
//!
//! Private to bramble; not part of the Kubernetes API.

use std::sync::Arc;

use bramble_api::Status;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::response::{self, Body};
use super::{Api, body};
use crate::clock;
use crate::token::{CardRecord, DeletedToken, TTL_S_MAX, Token, TokenError};

/// Path of all tokens.
pub(crate) const PATH: &str = "/bramble/v1/tokens";
/// Most uses of one token.
const USES_MAX: u32 = 1_000;

/// What a token is to be like.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateTokenRequest {
    /// Life, in seconds.
    pub(crate) ttl_seconds: u64,
    /// How many boards may use it.
    pub(crate) uses: u32,
    /// What it is for.
    #[serde(default)]
    pub(crate) description: String,
}

/// A token that was made, with its secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedToken {
    /// Public part.
    pub(crate) id: String,
    /// All of it; shown only here.
    pub(crate) token: String,
    /// End of its life; time of day in milliseconds.
    pub(crate) expires_ms: u64,
}

/// All tokens, without secrets.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenList {
    /// Tokens.
    pub(crate) items: Vec<ListedToken>,
}

/// A token without its secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedToken {
    /// Public part.
    pub(crate) id: String,
    /// What it is for.
    pub(crate) description: String,
    /// End of its life, time of day in milliseconds; none for a card's.
    pub(crate) expires_ms: Option<u64>,
    /// How many boards may use it.
    pub(crate) uses: u32,
    /// How many have used it.
    pub(crate) used: usize,
}

impl From<Token> for ListedToken {
    fn from(token: Token) -> Self {
        Self {
            used: token.used_by.len(),
            id: token.id,
            description: token.description,
            expires_ms: Some(token.expires_ms),
            uses: token.uses,
        }
    }
}

impl From<CardRecord> for ListedToken {
    fn from(card: CardRecord) -> Self {
        let used = usize::from(!card.node.is_empty());
        let description = match (used, card.revoked) {
            (0, _) => "card, revoked before it was used".to_owned(),
            (_, revoked) => {
                let revoked = if revoked { ", revoked" } else { "" };
                format!("card {} of {}{revoked}", card.generation, card.node)
            }
        };
        Self { id: card.id, description, expires_ms: None, uses: 1, used }
    }
}

/// Answers a request about tokens.
pub(super) async fn handle(
    api: &Arc<Api>,
    request: Request<Incoming>,
    id: Option<&str>,
) -> Result<Response<Body>, Status> {
    let now_ms = clock::time_of_day_ms();
    match (request.method(), id) {
        (&Method::GET, None) => {
            let tokens = api.tokens.list(now_ms).await.map_err(token_status)?;
            let cards = api.tokens.list_cards().await.map_err(token_status)?;
            let tokens = tokens.into_iter().map(ListedToken::from);
            let items = tokens.chain(cards.into_iter().map(ListedToken::from)).collect();
            answer(StatusCode::OK, &TokenList { items })
        }
        (&Method::POST, None) => {
            let bytes = body::read(request.into_body()).await?;
            let wanted: CreateTokenRequest = serde_json::from_slice(&bytes)
                .map_err(|error| Status::bad_request(error.to_string()))?;
            if wanted.ttl_seconds == 0 || wanted.ttl_seconds > TTL_S_MAX {
                return Err(Status::bad_request(format!("ttlSeconds must be 1 to {TTL_S_MAX}")));
            }
            if wanted.uses == 0 || wanted.uses > USES_MAX {
                return Err(Status::bad_request(format!("uses must be 1 to {USES_MAX}")));
            }
            let (token, text) = api
                .tokens
                .create(wanted.ttl_seconds, wanted.uses, &wanted.description, now_ms)
                .await
                .map_err(token_status)?;
            let created = CreatedToken { id: token.id, token: text, expires_ms: token.expires_ms };
            answer(StatusCode::CREATED, &created)
        }
        (&Method::DELETE, Some(id)) => {
            let deleted = api.tokens.delete(id).await.map_err(token_status)?;
            let mut answer = Status::success();
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("message".to_owned(), Value::from(told(id, &deleted)));
            }
            Ok(response::json(StatusCode::OK, &answer))
        }
        _ => Err(Status::not_found_path()),
    }
}

/// What was done, and what was not.
fn told(id: &str, deleted: &DeletedToken) -> String {
    let mut text = if deleted.card {
        format!("token {id} revoked: no board joins with that card any more")
    } else {
        format!("token {id} deleted")
    };
    for node in &deleted.nodes {
        // Tokens let in; what keeps a node in is its key.
        text.push_str(&format!(
            "\nnode {node} joined with it and keeps its access; to end that: bramble node revoke {node}"
        ));
    }
    text
}

fn answer(code: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Status> {
    let value: Value =
        serde_json::to_value(value).map_err(|error| Status::internal(error.to_string()))?;
    Ok(response::json(code, &value))
}

pub(super) fn token_status(error: TokenError) -> Status {
    match error {
        TokenError::NotFound { .. } => {
            Status { code: 404, message: error.to_string(), ..Status::not_found_path() }
        }
        TokenError::Store(source) => crate::objects::store_status(source),
        TokenError::Damaged { .. } => Status::internal(error.to_string()),
        TokenError::Conflict => Status::unavailable(error.to_string(), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleting_a_used_token_says_what_it_does_not_do() {
        let unused = DeletedToken::default();
        assert_eq!(told("abc", &unused), "token abc deleted");
        let card = DeletedToken { card: true, nodes: vec!["pi-2".to_owned()] };
        let text = told("abc", &card);
        assert!(text.contains("revoked") && text.contains("bramble node revoke pi-2"), "{text}");
    }
}
