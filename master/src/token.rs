//! Join tokens: made by an administrator, used by boards without a certificate.
//!
//! ```text
//! BR1<SHA-256 of the CA's SubjectPublicKeyInfo, base32>::<id>.<128-bit secret, base32>
//! ```
//!
//! Only a hash of the secret is kept, under a prefix of the store that the API does not serve.
//! A use is the first public key that comes with the token; the same key may come again while
//! the token lives, so that a power cut in between locks no board out.

mod attempts;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bramble_store::{Class, Compare, Op, RangeRequest, Store, StoreError, Txn, TxnReply};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::random;
use attempts::Attempts;

/// What every token begins with; the digit is the version.
const TOKEN_PREFIX: &str = "BR1";
/// Where tokens are kept.
const STORE_PREFIX: &str = "/bramble/tokens/";
/// Longest that a token may live, in seconds: a year.
pub(crate) const TTL_S_MAX: u64 = 366 * 86_400;

/// All join tokens of the cluster.
#[derive(Debug)]
pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    ca_spki_sha256: [u8; 32],
    attempts: Mutex<Attempts>,
}

/// A token as it is kept: without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    /// Public part.
    pub(crate) id: String,
    /// SHA-256 of the secret, hexadecimal.
    secret_sha256: String,
    /// What it is for.
    pub(crate) description: String,
    /// End of its life; time of day in milliseconds.
    pub(crate) expires_ms: u64,
    /// How many boards may use it.
    pub(crate) uses: u32,
    /// SHA-256 of the public keys that used it, hexadecimal.
    pub(crate) used_by: Vec<String>,
}

/// Why a token operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The store failed.
    #[error("could not reach the token's record")]
    Store(#[from] StoreError),
    /// The record cannot be read.
    #[error("the record of token `{id}` is damaged")]
    Damaged { id: String },
    /// There is none with this id.
    #[error("there is no token `{id}`")]
    NotFound { id: String },
    /// Someone else wrote the record at the same time.
    #[error("the token's record was changed at the same time, try again")]
    Conflict,
}

/// Why a board may not join with this token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeemTokenError {
    /// More than five tries in a minute from this address.
    #[error("too many tries from `{address}`, wait a minute")]
    TooMany { address: IpAddr },
    /// Unknown id, wrong secret or expired: which of them is not told.
    #[error("the token is wrong or expired; make a new one with `bramble token create`")]
    Refused,
    /// Other boards used it up.
    #[error("the token was used by another board; make a new one with `bramble token create`")]
    UsedUp,
    /// The store failed.
    #[error("could not check the token")]
    Record(#[from] TokenError),
}

impl Tokens {
    /// Serves the tokens in `store`, which pin a CA with this key.
    pub(crate) fn new(store: Arc<dyn Store>, ca_spki_sha256: [u8; 32]) -> Self {
        Self { store, ca_spki_sha256, attempts: Mutex::default() }
    }

    /// Makes a token; the text is never shown again.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub(crate) async fn create(
        &self,
        ttl_s: u64,
        uses: u32,
        description: &str,
        now_ms: u64,
    ) -> Result<(Token, String), TokenError> {
        let id = BASE32_NOPAD.encode(&random::bytes::<5>()).to_lowercase();
        let secret = BASE32_NOPAD.encode(&random::bytes::<16>()).to_lowercase();
        let token = Token {
            id,
            secret_sha256: hash(&secret),
            description: description.to_owned(),
            expires_ms: now_ms.saturating_add(ttl_s.min(TTL_S_MAX) * 1_000),
            uses,
            used_by: Vec::new(),
        };
        self.put(&token, 0).await?;
        let ca = BASE32_NOPAD.encode(&self.ca_spki_sha256);
        let text = format!("{TOKEN_PREFIX}{ca}::{}.{secret}", token.id);
        Ok((token, text))
    }

    /// Returns all tokens; expired ones are removed on the way.
    ///
    /// # Errors
    ///
    /// When the store fails or a record is damaged.
    pub(crate) async fn list(&self, now_ms: u64) -> Result<Vec<Token>, TokenError> {
        let request = RangeRequest { prefix: STORE_PREFIX.to_owned(), ..RangeRequest::default() };
        let mut tokens = Vec::new();
        for entry in self.store.range(request).await?.entries {
            let token = decode(&entry.key, &entry.value)?;
            if token.expires_ms > now_ms {
                tokens.push(token);
            } else {
                self.store.txn(removal(entry.key.to_string(), entry.mod_revision)).await?;
            }
        }
        Ok(tokens)
    }

    /// Deletes a token.
    ///
    /// # Errors
    ///
    /// When there is none with this id, or the store fails.
    pub(crate) async fn delete(&self, id: &str) -> Result<(), TokenError> {
        let not_found = || TokenError::NotFound { id: id.to_owned() };
        let (_, revision) = self.find(id).await?.ok_or_else(not_found)?;
        match self.store.txn(removal(key(id), revision)).await? {
            TxnReply::Committed { .. } => Ok(()),
            TxnReply::Conflict { .. } => Err(TokenError::Conflict),
        }
    }

    /// Lets a board in, or not: `secret` is `<id>.<secret>`, `key_sha256` the hash of its public
    /// key, `address` where it comes from.
    ///
    /// # Errors
    ///
    /// When the board may not join; the text is fit for the board.
    pub(crate) async fn redeem(
        &self,
        secret: &str,
        key_sha256: &[u8; 32],
        address: IpAddr,
        now_ms: u64,
    ) -> Result<Token, RedeemTokenError> {
        let allowed = match self.attempts.lock() {
            Ok(mut attempts) => attempts.allow(address, now_ms),
            Err(poisoned) => poisoned.into_inner().allow(address, now_ms),
        };
        if !allowed {
            return Err(RedeemTokenError::TooMany { address });
        }
        let (id, secret) = secret.split_once('.').ok_or(RedeemTokenError::Refused)?;
        let Some((mut token, revision)) = self.find(id).await? else {
            return Err(RedeemTokenError::Refused);
        };
        if !same(&token.secret_sha256, &hash(secret)) || token.expires_ms <= now_ms {
            return Err(RedeemTokenError::Refused);
        }
        let board = HEXLOWER.encode(key_sha256);
        if token.used_by.contains(&board) {
            return Ok(token);
        }
        if token.used_by.len() >= usize::try_from(token.uses).unwrap_or(usize::MAX) {
            return Err(RedeemTokenError::UsedUp);
        }
        token.used_by.push(board);
        self.put(&token, revision).await?;
        Ok(token)
    }

    async fn find(&self, id: &str) -> Result<Option<(Token, u64)>, TokenError> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        let Some(entry) = self.store.get(&key(id)).await? else {
            return Ok(None);
        };
        Ok(Some((decode(id, &entry.value)?, entry.mod_revision)))
    }

    async fn put(&self, token: &Token, revision: u64) -> Result<(), TokenError> {
        let value =
            serde_json::to_vec(token).map_err(|_| TokenError::Damaged { id: token.id.clone() })?;
        let key = key(&token.id);
        let txn = Txn {
            compares: vec![Compare { key: key.clone(), mod_revision: revision }],
            ops: vec![Op::Put { key, value: value.into(), class: Class::Intent }],
        };
        match self.store.txn(txn).await? {
            TxnReply::Committed { .. } => Ok(()),
            TxnReply::Conflict { .. } => Err(TokenError::Conflict),
        }
    }
}

fn key(id: &str) -> String {
    format!("{STORE_PREFIX}{id}")
}

fn removal(key: String, revision: u64) -> Txn {
    Txn {
        compares: vec![Compare { key: key.clone(), mod_revision: revision }],
        ops: vec![Op::Delete { key }],
    }
}

fn decode(id: &str, value: &[u8]) -> Result<Token, TokenError> {
    serde_json::from_slice(value).map_err(|_| TokenError::Damaged { id: id.to_owned() })
}

fn hash(secret: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// Compares without telling by its duration where the difference is.
fn same(a: &str, b: &str) -> bool {
    let difference = a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use bramble_store::MemoryStore;

    use super::{RedeemTokenError, Token, Tokens};

    const NOW_MS: u64 = 1_000_000;
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn token(uses: u32) -> (Tokens, Token, String) {
        let tokens = Tokens::new(Arc::new(MemoryStore::new()), [7; 32]);
        let (token, text) = tokens.create(60, uses, "", NOW_MS).await.unwrap();
        let (pin, secret) = text.split_once("::").unwrap();
        assert_eq!(pin.len(), "BR1".len() + 52);
        (tokens, token, secret.to_owned())
    }

    #[tokio::test]
    async fn token_belongs_to_the_first_key_that_uses_it() {
        let (tokens, _, secret) = token(1).await;
        tokens.redeem(&secret, &[1; 32], HERE, NOW_MS).await.unwrap();
        tokens.redeem(&secret, &[1; 32], HERE, NOW_MS).await.unwrap();
        let other = tokens.redeem(&secret, &[2; 32], HERE, NOW_MS).await;
        assert!(matches!(other, Err(RedeemTokenError::UsedUp)));
    }

    #[tokio::test]
    async fn token_for_two_boards_takes_two_keys() {
        let (tokens, _, secret) = token(2).await;
        tokens.redeem(&secret, &[1; 32], HERE, NOW_MS).await.unwrap();
        tokens.redeem(&secret, &[2; 32], HERE, NOW_MS).await.unwrap();
        assert!(tokens.redeem(&secret, &[3; 32], HERE, NOW_MS).await.is_err());
    }

    #[tokio::test]
    async fn wrong_expired_and_deleted_tokens_are_refused() {
        let (tokens, token, secret) = token(1).await;
        let refused = |result| matches!(result, Err(RedeemTokenError::Refused));
        let wrong = format!("{}.aaaaaaaaaaaaaaaaaaaaaaaaaa", token.id);
        assert!(refused(tokens.redeem(&wrong, &[1; 32], HERE, NOW_MS).await));
        assert!(refused(tokens.redeem("../x.y", &[1; 32], HERE, NOW_MS).await));
        assert!(refused(tokens.redeem(&secret, &[1; 32], HERE, NOW_MS + 60_000).await));
        tokens.delete(&token.id).await.unwrap();
        assert!(refused(tokens.redeem(&secret, &[1; 32], HERE, NOW_MS).await));
    }

    #[tokio::test]
    async fn guessing_is_stopped_after_five_tries() {
        let (tokens, _, secret) = token(1).await;
        for _ in 0..5 {
            let wrong = tokens.redeem("abc.def", &[1; 32], HERE, NOW_MS).await;
            assert!(matches!(wrong, Err(RedeemTokenError::Refused)));
        }
        let right = tokens.redeem(&secret, &[1; 32], HERE, NOW_MS).await;
        assert!(matches!(right, Err(RedeemTokenError::TooMany { .. })));
    }

    #[tokio::test]
    async fn expired_tokens_are_swept_from_the_list() {
        let (tokens, token, _) = token(1).await;
        assert_eq!(tokens.list(NOW_MS).await.unwrap(), [token]);
        assert_eq!(tokens.list(NOW_MS + 60_000).await.unwrap(), []);
        assert_eq!(tokens.list(NOW_MS).await.unwrap(), []);
    }
}
