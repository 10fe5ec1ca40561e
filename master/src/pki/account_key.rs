//! The key that signs the tokens of service accounts (JWT, ES256).
//!
//! It never leaves the master: another one makes another, and agents then fetch new tokens.

use data_encoding::BASE64URL_NOPAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::SignError;

/// Longest token that is looked at, in bytes: ours are shorter than 2 KB.
const TOKEN_LEN_MAX: usize = 16 * 1024;
/// How tokens are signed, as their header says.
const ALGORITHM: &str = "ES256";
/// Bytes of each of a public key's coordinates.
const COORDINATE_LEN: usize = 32;

/// Signs and checks tokens of service accounts.
pub(crate) struct AccountKey {
    key: EcdsaKeyPair,
    /// Names the key in tokens: the hash of its public half.
    id: String,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AccountKey {
    /// Makes a new key, PEM.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub(super) fn create_pem() -> Result<String, SignError> {
        Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem())
    }

    /// Reads a private key.
    ///
    /// # Errors
    ///
    /// When it is damaged or of another kind.
    pub(super) fn from_pem(pem: &str) -> Result<Self, SignError> {
        let read = KeyPair::from_pem(pem)?;
        let wrong = |_| SignError::Pem("not a P-256 key".to_owned());
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &read.serialize_der(),
            &SystemRandom::new(),
        )
        .map_err(wrong)?;
        let id = BASE64URL_NOPAD.encode(digest(&SHA256, &read.subject_public_key_info()).as_ref());
        Ok(Self { key, id })
    }

    /// Signs claims; returns the token.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, SignError> {
        let header = json!({ "alg": ALGORITHM, "kid": self.id });
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&header), part(claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), text.as_bytes())
            .map_err(|_| SignError::Certificate(rcgen::Error::RemoteKeyError))?;
        Ok(format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref())))
    }

    /// Returns the claims of a token that this key has signed.
    pub(crate) fn verify(&self, token: &str) -> Option<Value> {
        if token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let header: Value = serde_json::from_slice(&part(header)?).ok()?;
        let says = |field: &str, expected: &str| {
            header.get(field).and_then(Value::as_str) == Some(expected)
        };
        if !says("alg", ALGORITHM) || !says("kid", &self.id) {
            return None;
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key())
            .verify(text.as_bytes(), &part(signature)?)
            .ok()?;
        serde_json::from_slice(&part(claims)?).ok()
    }

    /// The public half as a JSON web key.
    pub(crate) fn jwk(&self) -> Value {
        // A byte that says that both coordinates follow.
        let point = self.key.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(COORDINATE_LEN.min(point.len()));
        json!({
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": ALGORITHM,
            "x": BASE64URL_NOPAD.encode(x),
            "y": BASE64URL_NOPAD.encode(y),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AccountKey {
        AccountKey::from_pem(&AccountKey::create_pem().unwrap()).unwrap()
    }

    #[test]
    fn only_what_the_key_signed_is_believed() {
        let (key, claims) = (key(), json!({"sub": "a"}));
        let token = key.sign(&claims).unwrap();
        assert_eq!(key.verify(&token), Some(claims.clone()));
        assert_eq!(self::key().verify(&token), None);
        let mut parts: Vec<&str> = token.split('.').collect();
        let other = BASE64URL_NOPAD.encode(br#"{"sub":"b"}"#);
        parts[1] = &other;
        assert_eq!(key.verify(&parts.join(".")), None);
        let none =
            BASE64URL_NOPAD.encode(json!({"alg": "none", "kid": key.id}).to_string().as_bytes());
        assert_eq!(key.verify(&format!("{none}.{}.", token.split('.').nth(1).unwrap())), None);
        for odd in ["", ".", "..", "a.b.c", &token[..token.len() - 1], &format!("{token}.")] {
            assert_eq!(key.verify(odd), None, "{odd}");
        }
        assert_eq!(key.verify(&format!("{token}{}", "a".repeat(TOKEN_LEN_MAX))), None);
    }

    #[test]
    fn published_key_is_the_one_that_signs() {
        let key = key();
        let jwk = key.jwk();
        let part = |field: &str| BASE64URL_NOPAD.decode(jwk[field].as_str().unwrap().as_bytes());
        let point = [vec![4], part("x").unwrap(), part("y").unwrap()].concat();
        let token = key.sign(&json!({})).unwrap();
        let (text, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        public.verify(text.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn other_keys_are_refused() {
        assert!(AccountKey::from_pem("").is_err());
        let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        assert!(AccountKey::from_pem(&other).is_err());
    }
}
