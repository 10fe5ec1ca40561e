//! Tokens of cards: signed when a card is flashed, so that the master need not know of it.
//!
//! ```text
//! BR1<pin>::<id>.<node>.<generation>.<signature, base64url>
//! ```
//!
//! They do not run out, since a card may lie in a drawer and boards have no clock. What limits
//! them: the node's name, the first public key that uses one, a higher generation of the same
//! node, and revocation by id.

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};

use super::Joining;
use super::node_keys::{NameRefusal, NodeKeys};
use crate::pki::{JoinKey, JoinVerifier, SignError};
use crate::random;

/// Characters of a card token's id; other tokens' ids are shorter.
const ID_LEN: usize = 16;
/// Longest signed part, in bytes: a node name, a number and a signature are less than 200.
const CLAIM_LEN_MAX: usize = 256;
/// First generation that replaces another card.
const REPLACING: u32 = 2;

/// What a card token says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CardClaim {
    /// Public name of the token.
    pub(crate) id: String,
    /// The only node that it is for.
    pub(crate) node: String,
    /// Counts the cards of a node, from 1.
    pub(crate) generation: u32,
}

/// A card token that was used or revoked, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CardRecord {
    /// Public name of the token.
    pub(crate) id: String,
    /// The node; empty for one that was revoked before it was used.
    #[serde(default)]
    pub(crate) node: String,
    /// Which card of that node; 0 for one that was revoked before it was used.
    #[serde(default)]
    pub(crate) generation: u32,
    /// SHA-256 of the public key that used it, hexadecimal; empty if none did.
    #[serde(default)]
    pub(super) used_by: String,
    /// Nobody may use it any more.
    #[serde(default)]
    pub(crate) revoked: bool,
}

/// Why a board may not join with the token of its card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CardRefusal {
    /// It was made for another name.
    #[error("the card's token is for node `{node}`; flash a card of this node's own")]
    OtherNode { node: String },
    /// Somebody deleted it.
    #[error("the card's token was revoked; flash a new card with `bramble flash --replace {node}`")]
    Revoked { node: String },
    /// Another key used it.
    #[error(
        "the card's token was used by another board, or by this one before its data was lost; \
         let this board in with `bramble node replace {node}`, or flash a new card with \
         `bramble flash --replace {node}`"
    )]
    Used { node: String },
    /// A newer card of this node was used.
    #[error("this card of node `{node}` was replaced by a newer one")]
    Replaced { node: String },
    /// The name is another's.
    #[error(transparent)]
    Name(#[from] NameRefusal),
}

impl CardClaim {
    /// Makes the claim of a new card and its token's secret part, `<id>.<...>`.
    ///
    /// # Errors
    ///
    /// When the key cannot be used.
    pub(crate) fn issue(
        key: &JoinKey,
        cluster_id: &str,
        node: &str,
        generation: u32,
    ) -> Result<(Self, String), SignError> {
        let id = BASE32_NOPAD.encode(&random::bytes::<10>()).to_lowercase();
        let claim = Self { id, node: node.to_owned(), generation };
        let signature = BASE64URL_NOPAD.encode(&key.sign(&claim.signed_text(cluster_id))?);
        let secret = format!("{}.{node}.{generation}.{signature}", claim.id);
        Ok((claim, secret))
    }

    /// Reads the secret part of a card token; none if it is not one of this cluster.
    pub(super) fn verify(secret: &str, verifier: &JoinVerifier, cluster_id: &str) -> Option<Self> {
        if secret.len() > CLAIM_LEN_MAX {
            return None;
        }
        let mut parts = secret.split('.');
        let (id, node, generation, signature) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || !is_card_id(id) {
            return None;
        }
        let claim = Self {
            id: id.to_owned(),
            node: node.to_owned(),
            generation: generation.parse().ok().filter(|&number| number > 0)?,
        };
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        // What is signed has one spelling only: `01` and `+1` are no `1`.
        let spelled = claim.generation.to_string() == generation;
        (spelled && verifier.verifies(&claim.signed_text(cluster_id), &signature)).then_some(claim)
    }

    /// What is signed. The parts hold no line ends, so no two claims have one text.
    fn signed_text(&self, cluster_id: &str) -> Vec<u8> {
        let Self { id, node, generation } = self;
        format!("bramble card token, version 1\n{cluster_id}\n{id}\n{node}\n{generation}\n")
            .into_bytes()
    }

    /// Whether using this card ends all earlier ones of its node.
    pub(crate) fn replaces(&self) -> bool {
        self.generation >= REPLACING
    }
}

/// Tells whether a text has the form of a card token's id.
pub(super) fn is_card_id(id: &str) -> bool {
    id.len() == ID_LEN && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

/// Decides whether a board joins by a claim whose signature is right. Returns what is to be stored
/// first, or nothing if it is stored already.
///
/// # Errors
///
/// Why it does not join.
pub(super) fn admit(
    claim: &CardClaim,
    joining: &Joining<'_>,
    record: Option<&CardRecord>,
    keys: Option<&NodeKeys>,
) -> Result<Option<(CardRecord, NodeKeys)>, CardRefusal> {
    let named = || claim.node.clone();
    let Joining { node, key, voucher, taken, now_ms } = *joining;
    if claim.node != node {
        return Err(CardRefusal::OtherNode { node: named() });
    }
    if record.is_some_and(|record| record.revoked) {
        return Err(CardRefusal::Revoked { node: named() });
    }
    let mut keys = keys.cloned().unwrap_or_default();
    if keys.generation > claim.generation {
        return Err(CardRefusal::Replaced { node: named() });
    }
    let used_by = record.map_or("", |record| record.used_by.as_str());
    if used_by == key && keys.contains(key) {
        return Ok(None);
    }
    let used = !used_by.is_empty() && used_by != key;
    let twin = keys.generation == claim.generation && keys.card != claim.id;
    if (used || twin) && !keys.permitted(now_ms) {
        return Err(CardRefusal::Used { node: named() });
    }
    if claim.replaces() && claim.generation > keys.generation {
        // Whoever flashed it has the cluster's join key: that is an administrator's word.
        keys.replace_with(key);
    } else {
        keys.admit(node, key, voucher, taken, now_ms)?;
    }
    keys.generation = claim.generation;
    keys.card.clone_from(&claim.id);
    let record = CardRecord {
        id: claim.id.clone(),
        node: named(),
        generation: claim.generation,
        used_by: key.to_owned(),
        revoked: false,
    };
    Ok(Some((record, keys)))
}

#[cfg(test)]
mod tests {
    use super::super::node_keys::NameRefusal;
    use super::{CardClaim, CardRecord, CardRefusal, Joining, NodeKeys, admit, is_card_id};
    use crate::pki::{JoinKey, JoinVerifier};

    const CLUSTER: &str = "bramble-5f2c";

    fn claim(node: &str, generation: u32, id: char) -> CardClaim {
        CardClaim { id: id.to_string().repeat(16), node: node.to_owned(), generation }
    }

    fn joining<'a>(node: &'a str, key: &'a str) -> Joining<'a> {
        Joining { node, key, voucher: None, taken: false, now_ms: 0 }
    }

    /// What is stored, as a master would hold it.
    #[derive(Default)]
    struct Kept {
        records: Vec<CardRecord>,
        keys: Option<NodeKeys>,
    }

    impl Kept {
        fn join(&mut self, claim: &CardClaim, key: &str) -> Result<bool, CardRefusal> {
            let record = self.records.iter().find(|record| record.id == claim.id);
            let stored = admit(claim, &joining(&claim.node, key), record, self.keys.as_ref())?;
            let changed = stored.is_some();
            if let Some((record, keys)) = stored {
                self.records.retain(|present| present.id != record.id);
                self.records.push(record);
                self.keys = Some(keys);
            }
            Ok(changed)
        }

        fn may_speak(&self, key: &str) -> bool {
            self.keys.as_ref().unwrap().contains(key)
        }
    }

    #[test]
    fn first_key_keeps_the_card() {
        let mut kept = Kept::default();
        let card = claim("pi-2", 1, 'a');
        assert_eq!(kept.join(&card, "one"), Ok(true));
        assert_eq!(kept.join(&card, "one"), Ok(false));
        assert_eq!(kept.join(&card, "two"), Err(CardRefusal::Used { node: "pi-2".into() }));
        assert!(kept.may_speak("one") && !kept.may_speak("two"));
    }

    #[test]
    fn replacing_card_ends_the_earlier_ones() {
        let mut kept = Kept::default();
        let replaced = Err(CardRefusal::Replaced { node: "pi-2".into() });
        kept.join(&claim("pi-2", 1, 'a'), "one").unwrap();
        kept.join(&claim("pi-2", 3, 'c'), "three").unwrap();
        assert!(kept.may_speak("three") && !kept.may_speak("one"));
        assert_eq!(kept.join(&claim("pi-2", 1, 'a'), "one"), replaced);
        assert_eq!(kept.join(&claim("pi-2", 2, 'b'), "new"), replaced);
        // Two cards of one generation: a flash that was thought to have failed.
        assert!(kept.join(&claim("pi-2", 3, 'd'), "new").is_err());
        assert_eq!(kept.join(&claim("pi-2", 3, 'c'), "three"), Ok(false));
    }

    #[test]
    fn first_card_of_a_name_takes_it_from_nobody() {
        let mut keys = NodeKeys::default();
        keys.replace_with("by token");
        let mut kept = Kept { keys: Some(keys), ..Kept::default() };
        let taken = CardRefusal::Name(NameRefusal::Taken { node: "pi-2".into() });
        assert_eq!(kept.join(&claim("pi-2", 1, 'a'), "card"), Err(taken));
        assert!(kept.may_speak("by token") && !kept.may_speak("card"));
        kept.join(&claim("pi-2", 1, 'a'), "by token").unwrap();
        kept.join(&claim("pi-2", 2, 'b'), "replaced").unwrap();
        assert!(!kept.may_speak("by token") && kept.may_speak("replaced"));
    }

    #[test]
    fn a_board_that_lost_its_key_comes_back_with_its_card_once_it_may() {
        let mut kept = Kept::default();
        let card = claim("pi-2", 1, 'a');
        kept.join(&card, "lost").unwrap();
        kept.keys.as_mut().unwrap().permit(60, 0);
        assert_eq!(kept.join(&card, "new"), Ok(true));
        assert!(kept.may_speak("new") && !kept.may_speak("lost"));
        assert_eq!(kept.join(&card, "new"), Ok(false));
        assert_eq!(kept.join(&card, "lost"), Err(CardRefusal::Used { node: "pi-2".into() }));
    }

    #[test]
    fn the_card_of_a_revoked_node_does_not_help_but_a_newer_one_does() {
        let mut kept = Kept::default();
        let card = claim("pi-2", 1, 'a');
        kept.join(&card, "one").unwrap();
        kept.keys.as_mut().unwrap().revoke();
        let revoked = CardRefusal::Name(NameRefusal::Revoked { node: "pi-2".into() });
        assert_eq!(kept.join(&card, "one"), Err(revoked));
        kept.join(&claim("pi-2", 2, 'b'), "two").unwrap();
        assert!(kept.may_speak("two") && !kept.may_speak("one"));
    }

    #[test]
    fn name_and_revocation_are_heeded() {
        let card = claim("pi-2", 1, 'a');
        let other = admit(&card, &joining("pi-3", "one"), None, None);
        assert_eq!(other, Err(CardRefusal::OtherNode { node: "pi-2".into() }));
        let revoked = CardRecord {
            id: card.id.clone(),
            node: String::new(),
            generation: 0,
            used_by: String::new(),
            revoked: true,
        };
        let refused = admit(&card, &joining("pi-2", "one"), Some(&revoked), None);
        assert_eq!(refused, Err(CardRefusal::Revoked { node: "pi-2".into() }));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = JoinKey::create().unwrap();
        let verifier = JoinVerifier::from_pem(&key.public_pem()).unwrap();
        let (claim, secret) = CardClaim::issue(&key, CLUSTER, "pi-2", 7).unwrap();
        assert!(is_card_id(&claim.id));
        assert_eq!(CardClaim::verify(&secret, &verifier, CLUSTER), Some(claim));
        assert_eq!(CardClaim::verify(&secret, &verifier, "bramble-5f2d"), None);
        for index in 0..secret.len() {
            for bit in 0..7 {
                let mut bytes = secret.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                let forged = String::from_utf8(bytes).unwrap();
                let verified = CardClaim::verify(&forged, &verifier, CLUSTER);
                assert_eq!(verified, None, "{forged}");
            }
        }
        let stranger = JoinKey::create().unwrap();
        let (_, forged) = CardClaim::issue(&stranger, CLUSTER, "pi-2", 7).unwrap();
        assert_eq!(CardClaim::verify(&forged, &verifier, CLUSTER), None);
    }

    #[test]
    fn other_spellings_are_no_tokens() {
        let key = JoinKey::create().unwrap();
        let verifier = JoinVerifier::from_pem(&key.public_pem()).unwrap();
        let (claim, secret) = CardClaim::issue(&key, CLUSTER, "pi-2", 7).unwrap();
        for (from, to) in [(".7.", ".07."), (".7.", ".+7."), (".pi-2.", ".Pi-2.")] {
            let other = secret.replace(from, to);
            assert_eq!(CardClaim::verify(&other, &verifier, CLUSTER), None, "{other}");
        }
        for other in [
            format!("{secret}.x"),
            format!("{secret}="),
            format!(" {secret}"),
            claim.id,
            String::new(),
            "....".to_owned(),
            secret.repeat(9),
        ] {
            assert_eq!(CardClaim::verify(&other, &verifier, CLUSTER), None, "{other}");
        }
    }
}
