//! Who may speak for a node, as the store has it, and what administrators change of it.

use std::collections::BTreeMap;

use bramble_store::RangeRequest;
use data_encoding::HEXLOWER;

use super::node_keys::NodeKeys;
use super::{KEYS_PREFIX, TokenError, Tokens, decode, put};

/// Writes that are tried again because somebody else was faster: a board that joins meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// What a board with a node's certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeAccess {
    /// It may speak for the node.
    pub(crate) speaks: bool,
    /// Its key is new, and nobody has said hello with it yet: it may be another board than the last.
    pub(crate) new_board: bool,
    /// An administrator lets another board have the name.
    pub(crate) permitted: bool,
}

/// What is out of the ordinary about a node's access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// An administrator ended it.
    Revoked,
    /// Another board may take the name.
    Replaceable,
}

impl Tokens {
    /// What a board with this public key may do as `node`. A node of which no key is kept has never
    /// joined this master; its certificate alone counts.
    ///
    /// # Errors
    ///
    /// When the store fails or the record is damaged.
    pub(crate) async fn access(
        &self,
        node: &str,
        key_sha256: &[u8; 32],
        now_ms: u64,
    ) -> Result<NodeAccess, TokenError> {
        let (keys, _) = self.read::<NodeKeys>(KEYS_PREFIX, node).await?;
        let Some(keys) = keys else {
            return Ok(NodeAccess { speaks: true, new_board: false, permitted: false });
        };
        // A permission for a node of which no key is kept does not shut its board out.
        let unknown = !keys.taken();
        Ok(NodeAccess {
            speaks: unknown || keys.contains(&HEXLOWER.encode(key_sha256)),
            new_board: keys.new_board,
            permitted: keys.permitted(now_ms),
        })
    }

    /// Whether a board has or had this node's name.
    ///
    /// # Errors
    ///
    /// When the store fails or the record is damaged.
    pub(crate) async fn knows(&self, node: &str) -> Result<bool, TokenError> {
        Ok(self.read::<NodeKeys>(KEYS_PREFIX, node).await?.0.is_some_and(|keys| keys.taken()))
    }

    /// Ends the access of all boards that have this node's name; durable on return.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub(crate) async fn revoke_node(&self, node: &str) -> Result<(), TokenError> {
        self.change(node, NodeKeys::revoke).await
    }

    /// Lets one other board take this node's name within `ttl_s` seconds; returns the end of that,
    /// time of day in milliseconds. Durable on return.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub(crate) async fn permit(
        &self,
        node: &str,
        ttl_s: u64,
        now_ms: u64,
    ) -> Result<u64, TokenError> {
        self.change(node, |keys| keys.permit(ttl_s, now_ms)).await
    }

    /// Notes that the board that may be another one than before has come.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub(crate) async fn settle(&self, node: &str) -> Result<(), TokenError> {
        self.change(node, NodeKeys::settle).await
    }

    /// Nodes whose access is out of the ordinary.
    ///
    /// # Errors
    ///
    /// When the store fails or a record is damaged.
    pub(crate) async fn accesses(
        &self,
        now_ms: u64,
    ) -> Result<BTreeMap<String, Access>, TokenError> {
        let of = |(node, keys): (String, NodeKeys)| {
            let access = match (keys.permitted(now_ms), keys.revoked) {
                (true, _) => Access::Replaceable,
                (false, true) => Access::Revoked,
                (false, false) => return None,
            };
            Some((node, access))
        };
        Ok(self.all_keys().await?.into_iter().filter_map(of).collect())
    }

    /// Nodes for which one of these keys (SHA-256, hexadecimal) may speak.
    pub(super) async fn nodes_of(&self, keys: &[String]) -> Result<Vec<String>, TokenError> {
        let held = |of: &NodeKeys| keys.iter().any(|key| of.contains(key));
        let all = self.all_keys().await?;
        Ok(all.into_iter().filter(|(_, of)| held(of)).map(|(node, _)| node).collect())
    }

    async fn all_keys(&self) -> Result<Vec<(String, NodeKeys)>, TokenError> {
        let request = RangeRequest { prefix: KEYS_PREFIX.to_owned(), ..RangeRequest::default() };
        let entries = self.store.range(request).await?.entries;
        let one = |entry: &bramble_store::KeyValue| {
            let node = entry.key.strip_prefix(KEYS_PREFIX).unwrap_or_default();
            Ok((node.to_owned(), decode(node, &entry.value)?))
        };
        entries.iter().map(one).collect()
    }

    async fn change<T>(
        &self,
        node: &str,
        change: impl Fn(&mut NodeKeys) -> T,
    ) -> Result<T, TokenError> {
        for _ in 0..ATTEMPTS_MAX {
            let (keys, revision) = self.read::<NodeKeys>(KEYS_PREFIX, node).await?;
            let mut keys = keys.unwrap_or_default();
            let changed = change(&mut keys);
            match self.commit(vec![put(KEYS_PREFIX, node, &keys, revision)?]).await {
                Err(TokenError::Conflict) => {}
                other => return other.map(|()| changed),
            }
        }
        Err(TokenError::Conflict)
    }
}
