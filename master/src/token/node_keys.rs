//! Which public keys may speak for a node, and what an administrator has said about that.
//!
//! Pure: what is kept comes in, what is to be kept comes out.
//!
//! ```text
//!  (no key) --first join--> Held --another key--> refused, unless
//!                            |  ^                   - the key that is held signs the join
//!                            |  |                   - `bramble node replace` came before it
//!        `bramble node revoke`  |                   - the card was flashed with --replace
//!                            v  |
//!                          Revoked   (as Held, but nobody speaks; the old key does not help)
//! ```
//!
//! A permission is for one board, runs out by the time of day, and is worth nothing to a clock
//! that was set back before it was given.

use serde::{Deserialize, Serialize};

/// Keys of a node that are kept, newest last: a name has one or two in its life.
const KEYS_MAX: usize = 16;

/// Who may speak for a node, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeKeys {
    /// Generation of the card that was used last; 0 for none.
    pub(super) generation: u32,
    /// Its token's id.
    pub(super) card: String,
    /// SHA-256 of the public keys, hexadecimal.
    pub(super) keys: Vec<String>,
    /// An administrator ended the access of all of them.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) revoked: bool,
    /// The board that holds the newest key has not said hello yet, and may be another one.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) new_board: bool,
    /// One board may take the name over.
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<Permission>,
}

/// An administrator's word that another board may take a node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    /// When it was given; time of day in milliseconds.
    given_ms: u64,
    /// When it runs out.
    until_ms: u64,
}

/// Why a key may not have a node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameRefusal {
    /// Another key has it.
    #[error(
        "there is a node `{node}` already and this board has another key; choose another name, or \
         if this board takes its place, say so first: `bramble node replace {node}`"
    )]
    Taken { node: String },
    /// An administrator ended it.
    #[error(
        "the access of node `{node}` was revoked; `bramble node replace {node}` lets a board have \
         the name again"
    )]
    Revoked { node: String },
}

/// How a key got a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It has it already: nothing to store.
    Before,
    /// It is the first, or the old key vouched for it.
    Added,
    /// It took the place of the earlier ones, which may not speak any more.
    Replaced,
}

impl NodeKeys {
    /// Tells whether a board with this key may speak for the node.
    pub(super) fn contains(&self, key: &str) -> bool {
        !self.revoked && self.keys.iter().any(|present| present == key)
    }

    /// Tells whether some board has or had the name.
    pub(super) fn taken(&self) -> bool {
        self.revoked || !self.keys.is_empty()
    }

    /// Gives the name to `key` if that may have it. `taken` says that a board has the name although
    /// no key of it is kept; `voucher` is a key that signed the join.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub(super) fn admit(
        &mut self,
        node: &str,
        key: &str,
        voucher: Option<&str>,
        taken: bool,
        now_ms: u64,
    ) -> Result<Held, NameRefusal> {
        if self.contains(key) {
            return Ok(Held::Before);
        }
        if self.permitted(now_ms) {
            self.replace_with(key);
            return Ok(Held::Replaced);
        }
        if self.revoked {
            return Err(NameRefusal::Revoked { node: node.to_owned() });
        }
        let vouched = voucher.is_some_and(|voucher| self.contains(voucher));
        if !vouched && (taken || self.taken()) {
            return Err(NameRefusal::Taken { node: node.to_owned() });
        }
        self.keys.push(key.to_owned());
        let surplus = self.keys.len().saturating_sub(KEYS_MAX);
        self.keys.drain(..surplus);
        Ok(Held::Added)
    }

    /// Gives the name to `key` alone: it was revoked for all others, and another board comes.
    pub(super) fn replace_with(&mut self, key: &str) {
        self.keys = vec![key.to_owned()];
        (self.revoked, self.new_board, self.permission) = (false, true, None);
    }

    /// Ends everybody's access, and takes back what was permitted.
    pub(super) fn revoke(&mut self) {
        (self.revoked, self.permission) = (true, None);
    }

    /// Lets one board take the name within `ttl_s` seconds; returns the end of that.
    pub(super) fn permit(&mut self, ttl_s: u64, now_ms: u64) -> u64 {
        let until_ms = now_ms.saturating_add(ttl_s.saturating_mul(1_000));
        self.permission = Some(Permission { given_ms: now_ms, until_ms });
        until_ms
    }

    /// Tells whether a board may take the name now.
    pub(super) fn permitted(&self, now_ms: u64) -> bool {
        let holds = |it: &Permission| (it.given_ms..it.until_ms).contains(&now_ms);
        self.permission.as_ref().is_some_and(holds)
    }

    /// Notes that a board that may be another one than before was taken in.
    pub(super) fn settle(&mut self) {
        (self.new_board, self.permission) = (false, None);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_000_000;

    fn admit(keys: &mut NodeKeys, key: &str, voucher: Option<&str>) -> Result<Held, NameRefusal> {
        keys.admit("pi-2", key, voucher, false, NOW_MS)
    }

    fn held() -> NodeKeys {
        let mut keys = NodeKeys::default();
        assert_eq!(admit(&mut keys, "old", None), Ok(Held::Added));
        keys
    }

    #[test]
    fn a_name_stays_with_its_key_which_may_vouch_for_another() {
        let mut keys = held();
        let taken = Err(NameRefusal::Taken { node: "pi-2".into() });
        assert_eq!(admit(&mut keys, "old", None), Ok(Held::Before));
        assert_eq!(admit(&mut keys, "new", None), taken);
        assert_eq!(admit(&mut keys, "new", Some("strange")), taken);
        assert_eq!(admit(&mut keys, "new", Some("old")), Ok(Held::Added));
        assert!(keys.contains("old") && keys.contains("new"));
        let mut unknown = NodeKeys::default();
        assert_eq!(unknown.admit("pi-2", "new", None, true, NOW_MS), taken);
    }

    #[test]
    fn a_permission_is_for_one_board_and_runs_out() {
        let mut keys = held();
        let until = keys.permit(60, NOW_MS);
        assert_eq!(until, NOW_MS + 60_000);
        assert!(keys.permitted(until - 1) && !keys.permitted(until));
        // A board's clock that was set back does not make it last for years.
        assert!(!keys.permitted(NOW_MS - 1));
        assert_eq!(admit(&mut keys, "new", None), Ok(Held::Replaced));
        assert!(keys.contains("new") && !keys.contains("old") && keys.new_board);
        admit(&mut keys, "third", None).unwrap_err();
        // The key that holds the name does not use a permission up.
        keys.permit(60, NOW_MS);
        assert_eq!(admit(&mut keys, "new", None), Ok(Held::Before));
        assert!(keys.permitted(NOW_MS));
    }

    #[test]
    fn nobody_speaks_for_a_revoked_node_until_a_board_may_again() {
        let mut keys = held();
        keys.permit(60, NOW_MS);
        keys.revoke();
        assert!(!keys.contains("old"));
        let revoked = Err(NameRefusal::Revoked { node: "pi-2".into() });
        assert_eq!(admit(&mut keys, "old", None), revoked);
        assert_eq!(admit(&mut keys, "new", Some("old")), revoked);
        keys.permit(60, NOW_MS);
        assert!(!keys.contains("old"), "not before it joins again");
        assert_eq!(admit(&mut keys, "old", None), Ok(Held::Replaced));
        assert!(keys.contains("old"));
    }

    #[test]
    fn what_earlier_versions_kept_is_read() {
        let kept = r#"{"generation":1,"card":"x","keys":["old"]}"#;
        let keys: NodeKeys = serde_json::from_str(kept).unwrap();
        assert!(keys.contains("old") && !keys.new_board && !keys.permitted(NOW_MS));
        assert_eq!(serde_json::to_string(&keys).unwrap(), kept);
    }
}
