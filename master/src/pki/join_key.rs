//! The key that signs the tokens of cards. Its private half stays with the administrator who
//! flashes; a master needs the public one only.

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _, SubjectPublicKeyInfo};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::SignError;

/// Bytes of a public key of this kind.
const PUBLIC_LEN: usize = 32;

/// Signs tokens of cards.
pub(crate) struct JoinKey(KeyPair);

/// Checks tokens of cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinVerifier([u8; PUBLIC_LEN]);

impl std::fmt::Debug for JoinKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinKey").finish_non_exhaustive()
    }
}

impl JoinKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub(crate) fn create() -> Result<Self, SignError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// Reads a private key.
    ///
    /// # Errors
    ///
    /// When it is damaged or of another kind.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, SignError> {
        let key = KeyPair::from_pem(pem)?;
        if !key.is_compatible(&PKCS_ED25519) {
            return Err(SignError::Pem("not an Ed25519 key".to_owned()));
        }
        Ok(Self(key))
    }

    /// The private half, PEM.
    pub(crate) fn private_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The public half, PEM.
    pub(crate) fn public_pem(&self) -> String {
        self.0.public_key_pem()
    }

    /// Signs a text.
    ///
    /// # Errors
    ///
    /// When the key cannot be used.
    pub(crate) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.0.sign(text)?)
    }
}

impl JoinVerifier {
    /// Reads a public key.
    ///
    /// # Errors
    ///
    /// When it is damaged or of another kind.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, SignError> {
        let key = SubjectPublicKeyInfo::from_pem(pem)?;
        let wrong = || SignError::Pem("not an Ed25519 key".to_owned());
        if key.algorithm() != &PKCS_ED25519 {
            return Err(wrong());
        }
        key.der_bytes().try_into().map(Self).map_err(|_| wrong())
    }

    /// Tells whether the key's owner signed this text.
    pub(crate) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{JoinKey, JoinVerifier};
    use crate::pki::Authority;

    #[test]
    fn what_one_half_signs_the_other_half_verifies() {
        let key = JoinKey::from_pem(&JoinKey::create().unwrap().private_pem()).unwrap();
        let verifier = JoinVerifier::from_pem(&key.public_pem()).unwrap();
        let signature = key.sign(b"text").unwrap();
        assert!(verifier.verifies(b"text", &signature));
        assert!(!verifier.verifies(b"texT", &signature));
        assert!(!verifier.verifies(b"text", b""));
        let other = JoinVerifier::from_pem(&JoinKey::create().unwrap().public_pem()).unwrap();
        assert!(!other.verifies(b"text", &signature));
    }

    #[test]
    fn other_keys_and_texts_are_refused() {
        let (_, ca_key) = Authority::create("bramble-0000").unwrap();
        assert!(JoinKey::from_pem(&ca_key).is_err());
        assert!(JoinKey::from_pem("").is_err());
        let public = rcgen::KeyPair::from_pem(&ca_key).unwrap().public_key_pem();
        assert!(JoinVerifier::from_pem(&public).is_err());
        assert!(JoinVerifier::from_pem("-----BEGIN").is_err());
    }
}
