//! Join tokens: made by an administrator, used by boards without a certificate.
//!
//! ```text
//! BR1<SHA-256 of the CA's SubjectPublicKeyInfo, base32>::<id>.<128-bit secret, base32>
//! ```
//!
//! Only a hash of the secret is kept, under a prefix of the store that the API does not serve.
//! A use is the first public key that comes with the token; the same key may come again while
//! the token lives, so that a power cut in between locks no board out.
//!
//! Tokens of cards are not kept before they are used; see [`card`]. Which public keys may speak
//! for a node is kept beside them; see [`node_keys`]. A token makes new nodes: what it does not do
//! is take the name of a node that another key has.

mod access;
mod attempts;
mod card;
mod node_keys;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bramble_store::{Class, Compare, Op, RangeRequest, Store, StoreError, Txn, TxnReply};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::pki::{Identity, JoinKey, JoinVerifier, SignError};
use crate::random;
use attempts::Attempts;
use node_keys::{Held, NameRefusal, NodeKeys};

pub(crate) use access::{Access, NodeAccess};
pub(crate) use card::{CardClaim, CardRecord, CardRefusal};

/// What every token begins with; the digit is the version.
const TOKEN_PREFIX: &str = "BR1";
/// Where tokens are kept.
const STORE_PREFIX: &str = "/bramble/tokens/";
/// Where tokens of cards are kept that were used or revoked.
const CARD_PREFIX: &str = "/bramble/card-tokens/";
/// Where the keys of nodes are kept, by node.
const KEYS_PREFIX: &str = "/bramble/node-keys/";
/// Longest that a token may live, in seconds: a year.
pub(crate) const TTL_S_MAX: u64 = 366 * 86_400;

/// All join tokens of the cluster.
#[derive(Debug)]
pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    ca_spki_sha256: [u8; 32],
    cluster_id: String,
    join: JoinVerifier,
    attempts: Mutex<Attempts>,
}

/// A board that wants to join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joining<'a> {
    /// The name that it wants.
    pub(crate) node: &'a str,
    /// SHA-256 of its public key, hexadecimal.
    pub(crate) key: &'a str,
    /// SHA-256 of another public key that it has proved to have, by a certificate of this cluster.
    pub(crate) voucher: Option<&'a str>,
    /// A board has this name, whether a key of it is kept or not.
    pub(crate) taken: bool,
    /// Time of day in milliseconds.
    pub(crate) now_ms: u64,
}

/// How a board was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is one more.
    Added,
    /// It takes the place of an earlier one, whose keys may not speak any more.
    Replaced,
}

/// What was deleted or revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeletedToken {
    /// It was of a card.
    pub(crate) card: bool,
    /// Nodes that joined with it and keep their access.
    pub(crate) nodes: Vec<String>,
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
    /// A card's token is right, but not for this.
    #[error(transparent)]
    Card(#[from] CardRefusal),
    /// The token is right, but the name is another's.
    #[error(transparent)]
    Name(#[from] NameRefusal),
    /// The store failed.
    #[error("could not check the token")]
    Record(#[from] TokenError),
}

impl Tokens {
    /// Serves the tokens in `store`, which pin the CA of this cluster.
    pub(crate) fn new(store: Arc<dyn Store>, identity: &Identity) -> Self {
        Self {
            store,
            ca_spki_sha256: *identity.authority.spki_sha256(),
            cluster_id: identity.cluster_id.clone(),
            join: identity.join,
            attempts: Mutex::default(),
        }
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
        self.commit(vec![put(STORE_PREFIX, &token.id, &token, 0)?]).await?;
        let text = text(&self.ca_spki_sha256, &format!("{}.{secret}", token.id));
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
            let token: Token = decode(&entry.key, &entry.value)?;
            if token.expires_ms > now_ms {
                tokens.push(token);
            } else {
                self.store.txn(removal(entry.key.to_string(), entry.mod_revision)).await?;
            }
        }
        Ok(tokens)
    }

    /// Returns the tokens of cards that were used or revoked.
    ///
    /// # Errors
    ///
    /// When the store fails or a record is damaged.
    pub(crate) async fn list_cards(&self) -> Result<Vec<CardRecord>, TokenError> {
        let request = RangeRequest { prefix: CARD_PREFIX.to_owned(), ..RangeRequest::default() };
        let entries = self.store.range(request).await?.entries;
        entries.iter().map(|entry| decode(&entry.key, &entry.value)).collect()
    }

    /// Deletes a token, or revokes a card's, which need not have been used. Returns which nodes it
    /// was used by: they stay.
    ///
    /// # Errors
    ///
    /// When there is none with this id, or the store fails.
    pub(crate) async fn delete(&self, id: &str) -> Result<DeletedToken, TokenError> {
        if card::is_card_id(id) {
            return self.revoke(id).await;
        }
        let not_found = || TokenError::NotFound { id: id.to_owned() };
        let (token, revision) = self.find(id).await?.ok_or_else(not_found)?;
        match self.store.txn(removal(key(id), revision)).await? {
            TxnReply::Committed { .. } => {
                let nodes = self.nodes_of(&token.used_by).await?;
                Ok(DeletedToken { card: false, nodes })
            }
            TxnReply::Conflict { .. } => Err(TokenError::Conflict),
        }
    }

    async fn revoke(&self, id: &str) -> Result<DeletedToken, TokenError> {
        let (record, revision) = self.read::<CardRecord>(CARD_PREFIX, id).await?;
        let unused = || CardRecord {
            id: id.to_owned(),
            node: String::new(),
            generation: 0,
            used_by: String::new(),
            revoked: true,
        };
        let record = record.map_or_else(unused, |record| CardRecord { revoked: true, ..record });
        self.commit(vec![put(CARD_PREFIX, id, &record, revision)?]).await?;
        let nodes = self.nodes_of(std::slice::from_ref(&record.used_by)).await?;
        Ok(DeletedToken { card: true, nodes })
    }

    /// Lets a board in, or not: `secret` is `<id>.<rest>`, `address` where it comes from. What it is
    /// let in by is durable on return.
    ///
    /// # Errors
    ///
    /// When the board may not join; the text is fit for the board.
    pub(crate) async fn redeem(
        &self,
        secret: &str,
        joining: &Joining<'_>,
        address: IpAddr,
    ) -> Result<Admission, RedeemTokenError> {
        let Joining { node, key: board, voucher, taken, now_ms } = *joining;
        let allowed = match self.attempts.lock() {
            Ok(mut attempts) => attempts.allow(address, now_ms),
            Err(poisoned) => poisoned.into_inner().allow(address, now_ms),
        };
        if !allowed {
            return Err(RedeemTokenError::TooMany { address });
        }
        if let Some(claim) = CardClaim::verify(secret, &self.join, &self.cluster_id) {
            return self.redeem_card(&claim, joining).await;
        }
        let (id, secret) = secret.split_once('.').ok_or(RedeemTokenError::Refused)?;
        let Some((mut token, revision)) = self.find(id).await? else {
            return Err(RedeemTokenError::Refused);
        };
        if !same(&token.secret_sha256, &hash(secret)) || token.expires_ms <= now_ms {
            return Err(RedeemTokenError::Refused);
        }
        // The name first: a board that may not have it does not use the token up.
        let (keys, keys_revision) = self.read::<NodeKeys>(KEYS_PREFIX, node).await?;
        let mut keys = keys.unwrap_or_default();
        let held = keys.admit(node, board, voucher, taken, now_ms)?;
        let mut writes = Vec::new();
        if !token.used_by.iter().any(|present| present == board) {
            if token.used_by.len() >= usize::try_from(token.uses).unwrap_or(usize::MAX) {
                return Err(RedeemTokenError::UsedUp);
            }
            token.used_by.push(board.to_owned());
            writes.push(put(STORE_PREFIX, id, &token, revision)?);
        }
        if held != Held::Before {
            writes.push(put(KEYS_PREFIX, node, &keys, keys_revision)?);
        }
        self.commit(writes).await?;
        Ok(if held == Held::Replaced { Admission::Replaced } else { Admission::Added })
    }

    async fn redeem_card(
        &self,
        claim: &CardClaim,
        joining: &Joining<'_>,
    ) -> Result<Admission, RedeemTokenError> {
        let (record, record_revision) = self.read::<CardRecord>(CARD_PREFIX, &claim.id).await?;
        let (before, keys_revision) = self.read::<NodeKeys>(KEYS_PREFIX, &claim.node).await?;
        let changed = card::admit(claim, joining, record.as_ref(), before.as_ref())?;
        let Some((record, keys)) = changed else { return Ok(Admission::Added) };
        let replaced = keys.new_board;
        let record = put(CARD_PREFIX, &claim.id, &record, record_revision)?;
        let keys = put(KEYS_PREFIX, joining.node, &keys, keys_revision)?;
        self.commit(vec![record, keys]).await?;
        Ok(if replaced { Admission::Replaced } else { Admission::Added })
    }

    /// Reads a record and its revision: 0 if there is none.
    async fn read<T: DeserializeOwned>(
        &self,
        prefix: &str,
        name: &str,
    ) -> Result<(Option<T>, u64), TokenError> {
        let Some(entry) = self.store.get(&format!("{prefix}{name}")).await? else {
            return Ok((None, 0));
        };
        Ok((Some(decode(name, &entry.value)?), entry.mod_revision))
    }

    /// Writes all of it, or nothing if anything has changed since it was read.
    async fn commit(&self, writes: Vec<(Compare, Op)>) -> Result<(), TokenError> {
        if writes.is_empty() {
            return Ok(());
        }
        let (compares, ops) = writes.into_iter().unzip();
        match self.store.txn(Txn { compares, ops }).await? {
            TxnReply::Committed { .. } => Ok(()),
            TxnReply::Conflict { .. } => Err(TokenError::Conflict),
        }
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
}

/// A write of a record that was read at `revision`.
fn put(
    prefix: &str,
    name: &str,
    value: &impl Serialize,
    revision: u64,
) -> Result<(Compare, Op), TokenError> {
    let value =
        serde_json::to_vec(value).map_err(|_| TokenError::Damaged { id: name.to_owned() })?;
    let key = format!("{prefix}{name}");
    let compare = Compare { key: key.clone(), mod_revision: revision };
    Ok((compare, Op::Put { key, value: value.into(), class: Class::Intent }))
}

/// Makes the token of a new card; returns its claim and its text.
///
/// # Errors
///
/// When the key cannot be used.
pub(crate) fn card_token(
    identity: &Identity,
    key: &JoinKey,
    node: &str,
    generation: u32,
) -> Result<(CardClaim, String), SignError> {
    let (claim, secret) = CardClaim::issue(key, &identity.cluster_id, node, generation)?;
    Ok((claim, text(identity.authority.spki_sha256(), &secret)))
}

fn text(ca_spki_sha256: &[u8; 32], secret: &str) -> String {
    format!("{TOKEN_PREFIX}{}::{secret}", BASE32_NOPAD.encode(ca_spki_sha256))
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

fn decode<T: DeserializeOwned>(id: &str, value: &[u8]) -> Result<T, TokenError> {
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
    use std::path::Path;
    use std::sync::Arc;

    use bramble_store::MemoryStore;

    use super::{
        Access, Admission, DeletedToken, Joining, RedeemTokenError, Token, Tokens, card_token,
    };
    use crate::pki::{Identity, IdentityError, Origin};

    const NOW_MS: u64 = 1_000_000;
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn identity(folder: &Path) -> Identity {
        Identity::create::<IdentityError>(folder, Origin::New, |_, _| Ok(())).unwrap()
    }

    /// A board with the key `key` wants to be `node`.
    async fn redeem(
        tokens: &Tokens,
        secret: &str,
        node: &str,
        key: u8,
        now_ms: u64,
    ) -> Result<Admission, RedeemTokenError> {
        let key = key_text(key);
        let joining = Joining { node, key: &key, voucher: None, taken: false, now_ms };
        tokens.redeem(secret, &joining, HERE).await
    }

    fn key_text(key: u8) -> String {
        data_encoding::HEXLOWER.encode(&[key; 32])
    }

    async fn token(uses: u32) -> (Tokens, Token, String) {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(Arc::new(MemoryStore::new()), &identity(folder.path()));
        let (token, text) = tokens.create(60, uses, "", NOW_MS).await.unwrap();
        let (pin, secret) = text.split_once("::").unwrap();
        assert_eq!(pin.len(), "BR1".len() + 52);
        (tokens, token, secret.to_owned())
    }

    #[tokio::test]
    async fn token_belongs_to_the_first_key_that_uses_it() {
        let (tokens, _, secret) = token(1).await;
        redeem(&tokens, &secret, "pi-1", 1, NOW_MS).await.unwrap();
        redeem(&tokens, &secret, "pi-1", 1, NOW_MS).await.unwrap();
        let other = redeem(&tokens, &secret, "pi-2", 2, NOW_MS).await;
        assert!(matches!(other, Err(RedeemTokenError::UsedUp)));
    }

    #[tokio::test]
    async fn token_for_two_boards_takes_two_keys() {
        let (tokens, _, secret) = token(2).await;
        redeem(&tokens, &secret, "pi-1", 1, NOW_MS).await.unwrap();
        redeem(&tokens, &secret, "pi-2", 2, NOW_MS).await.unwrap();
        let third = redeem(&tokens, &secret, "pi-3", 3, NOW_MS).await;
        assert!(matches!(third, Err(RedeemTokenError::UsedUp)), "{third:?}");
    }

    #[tokio::test]
    async fn wrong_expired_and_deleted_tokens_are_refused() {
        let (tokens, token, secret) = token(1).await;
        let refused = |result| matches!(result, Err(RedeemTokenError::Refused));
        let wrong = format!("{}.aaaaaaaaaaaaaaaaaaaaaaaaaa", token.id);
        assert!(refused(redeem(&tokens, &wrong, "pi-1", 1, NOW_MS).await));
        assert!(refused(redeem(&tokens, "../x.y", "pi-1", 1, NOW_MS).await));
        assert!(refused(redeem(&tokens, &secret, "pi-1", 1, NOW_MS + 60_000).await));
        tokens.delete(&token.id).await.unwrap();
        assert!(refused(redeem(&tokens, &secret, "pi-1", 1, NOW_MS).await));
    }

    #[tokio::test]
    async fn guessing_is_stopped_after_five_tries() {
        let (tokens, _, secret) = token(1).await;
        for _ in 0..5 {
            let wrong = redeem(&tokens, "abc.def", "pi-1", 1, NOW_MS).await;
            assert!(matches!(wrong, Err(RedeemTokenError::Refused)));
        }
        let right = redeem(&tokens, &secret, "pi-1", 1, NOW_MS).await;
        assert!(matches!(right, Err(RedeemTokenError::TooMany { .. })));
    }

    #[tokio::test]
    async fn expired_tokens_are_swept_from_the_list() {
        let (tokens, token, _) = token(1).await;
        assert_eq!(tokens.list(NOW_MS).await.unwrap(), [token]);
        assert_eq!(tokens.list(NOW_MS + 60_000).await.unwrap(), []);
        assert_eq!(tokens.list(NOW_MS).await.unwrap(), []);
    }

    /// A master and whoever flashes its cards. Every try comes a minute after the one before, so
    /// that the limit of tries is not what is tested.
    struct Shelf {
        identity: Identity,
        tokens: Tokens,
        now_ms: std::cell::Cell<u64>,
        _folder: tempfile::TempDir,
    }

    impl Shelf {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let identity = identity(folder.path());
            let tokens = Tokens::new(Arc::new(MemoryStore::new()), &identity);
            Self { identity, tokens, now_ms: NOW_MS.into(), _folder: folder }
        }

        /// Id and secret of a new card's token.
        fn card(&self, node: &str, generation: u32) -> (String, String) {
            let key = self.identity.join_key().unwrap().unwrap();
            let (claim, text) = card_token(&self.identity, &key, node, generation).unwrap();
            (claim.id, text.split_once("::").unwrap().1.to_owned())
        }

        async fn join(&self, secret: &str, node: &str, key: u8) -> Result<Admission, String> {
            self.now_ms.set(self.now_ms.get() + 60_000);
            let joined = redeem(&self.tokens, secret, node, key, self.now_ms.get()).await;
            joined.map_err(|error| error.to_string())
        }

        async fn may_speak(&self, node: &str, key: u8) -> bool {
            let access = self.tokens.access(node, &[key; 32], self.now_ms.get()).await.unwrap();
            access.speaks
        }
    }

    #[track_caller]
    fn refused(result: Result<Admission, String>, why: &str) {
        let error = result.unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[tokio::test]
    async fn card_joins_years_later_again_and_again_but_only_one_board_and_name() {
        let shelf = Shelf::new();
        let (id, secret) = shelf.card("pi-2", 1);
        shelf.now_ms.set(u64::MAX / 2);
        refused(shelf.join(&secret, "pi-3", 1).await, "is for node `pi-2`");
        assert_eq!(shelf.join(&secret, "pi-2", 1).await, Ok(Admission::Added));
        assert_eq!(shelf.join(&secret, "pi-2", 1).await, Ok(Admission::Added));
        refused(shelf.join(&secret, "pi-2", 2).await, "bramble flash --replace pi-2");
        assert!(shelf.may_speak("pi-2", 1).await);
        assert!(!shelf.may_speak("pi-2", 2).await);
        let cards = shelf.tokens.list_cards().await.unwrap();
        assert_eq!(cards.len(), 1);
        assert_eq!((cards[0].id.as_str(), cards[0].node.as_str()), (id.as_str(), "pi-2"));
    }

    #[tokio::test]
    async fn card_of_another_key_or_cluster_is_refused() {
        let shelf = Shelf::new();
        let (_, foreign) = Shelf::new().card("pi-2", 1);
        refused(shelf.join(&foreign, "pi-2", 1).await, "wrong or expired");
        let (_, secret) = shelf.card("pi-2", 1);
        let raised = secret.replacen(".1.", ".2.", 1);
        refused(shelf.join(&raised, "pi-2", 1).await, "wrong or expired");
        assert_eq!(shelf.tokens.list_cards().await.unwrap(), []);
    }

    #[tokio::test]
    async fn revoked_card_is_refused_used_or_not() {
        let shelf = Shelf::new();
        let (unused, secret) = shelf.card("pi-2", 1);
        shelf.tokens.delete(&unused).await.unwrap();
        refused(shelf.join(&secret, "pi-2", 1).await, "revoked");
        let (used, secret) = shelf.card("pi-3", 1);
        shelf.join(&secret, "pi-3", 1).await.unwrap();
        shelf.tokens.delete(&used).await.unwrap();
        refused(shelf.join(&secret, "pi-3", 1).await, "revoked");
        assert!(shelf.tokens.list_cards().await.unwrap().iter().all(|card| card.revoked));
        assert!(shelf.tokens.delete("nosuchid").await.is_err());
    }

    #[tokio::test]
    async fn replaced_card_is_refused_and_its_key_may_not_speak() {
        let shelf = Shelf::new();
        let (_, first) = shelf.card("pi-2", 1);
        let (_, second) = shelf.card("pi-2", 2);
        shelf.join(&first, "pi-2", 1).await.unwrap();
        assert_eq!(shelf.join(&second, "pi-2", 2).await, Ok(Admission::Replaced));
        assert!(shelf.may_speak("pi-2", 2).await);
        assert!(!shelf.may_speak("pi-2", 1).await);
        refused(shelf.join(&first, "pi-2", 1).await, "replaced by a newer one");
        assert_eq!(shelf.join(&second, "pi-2", 2).await, Ok(Admission::Added));
    }

    #[tokio::test]
    async fn token_does_not_take_a_name_from_its_board_unless_an_administrator_says_so() {
        let shelf = Shelf::new();
        let (token, text) = shelf.tokens.create(1_000, 2, "", NOW_MS).await.unwrap();
        let secret = text.split_once("::").unwrap().1;
        shelf.join(secret, "pi-2", 1).await.unwrap();
        refused(shelf.join(secret, "pi-2", 2).await, "`bramble node replace pi-2`");
        assert!(shelf.may_speak("pi-2", 1).await && !shelf.may_speak("pi-2", 2).await);
        let used = shelf.tokens.list(NOW_MS).await.unwrap();
        assert_eq!(used[0].used_by.len(), 1, "who is refused does not use the token up");

        shelf.tokens.permit("pi-2", 600, shelf.now_ms.get()).await.unwrap();
        assert_eq!(shelf.join(secret, "pi-2", 2).await, Ok(Admission::Replaced));
        assert!(shelf.may_speak("pi-2", 2).await && !shelf.may_speak("pi-2", 1).await);
        let (_, text) = shelf.tokens.create(1_000, 1, "", shelf.now_ms.get()).await.unwrap();
        refused(shelf.join(text.split_once("::").unwrap().1, "pi-2", 3).await, "another key");

        let deleted = shelf.tokens.delete(&token.id).await.unwrap();
        assert_eq!(deleted, DeletedToken { card: false, nodes: vec!["pi-2".to_owned()] });
        assert!(shelf.may_speak("pi-2", 2).await, "a node outlives its token");
    }

    #[tokio::test]
    async fn revoked_node_is_refused_until_it_may_be_replaced() {
        let shelf = Shelf::new();
        let (id, secret) = shelf.card("pi-2", 1);
        shelf.join(&secret, "pi-2", 1).await.unwrap();
        let listed = async || shelf.tokens.accesses(shelf.now_ms.get()).await.unwrap();
        assert_eq!(listed().await, [].into());
        shelf.tokens.revoke_node("pi-2").await.unwrap();
        assert!(!shelf.may_speak("pi-2", 1).await);
        refused(shelf.join(&secret, "pi-2", 1).await, "was revoked");
        assert_eq!(listed().await["pi-2"], Access::Revoked);
        shelf.tokens.permit("pi-2", 600, shelf.now_ms.get()).await.unwrap();
        assert_eq!(listed().await["pi-2"], Access::Replaceable);
        shelf.join(&secret, "pi-2", 1).await.unwrap();
        assert!(shelf.may_speak("pi-2", 1).await);
        assert_eq!(listed().await, [].into());
        let deleted = shelf.tokens.delete(&id).await.unwrap();
        assert_eq!(deleted, DeletedToken { card: true, nodes: vec!["pi-2".to_owned()] });
    }

    #[tokio::test]
    async fn node_of_another_board_is_settled_once_that_has_come() {
        let shelf = Shelf::new();
        let (_, secret) = shelf.card("pi-2", 1);
        shelf.join(&secret, "pi-2", 1).await.unwrap();
        let new_board = async || {
            let now_ms = shelf.now_ms.get();
            shelf.tokens.access("pi-2", &[2; 32], now_ms).await.unwrap().new_board
        };
        assert!(!new_board().await);
        shelf.tokens.permit("pi-2", 600, shelf.now_ms.get()).await.unwrap();
        shelf.join(&secret, "pi-2", 2).await.unwrap();
        assert!(new_board().await);
        shelf.tokens.settle("pi-2").await.unwrap();
        assert!(!new_board().await && shelf.may_speak("pi-2", 2).await);
    }
}
