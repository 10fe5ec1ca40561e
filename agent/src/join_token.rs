//! A join token as a person types it: `BR1<hash of the CA's key, base32>::<id>.<secret>`.

use std::fmt;

use data_encoding::BASE32_NOPAD;

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct JoinToken {
    /// SHA-256 of the CA's SubjectPublicKeyInfo.
    pub(crate) ca_key_sha256: [u8; 32],
    /// `<id>.<secret>`: goes to a server of that CA and to nobody else.
    pub(crate) secret: String,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken")
    }
}

/// Why a text is no join token. The text itself is a secret, so it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseJoinTokenError {
    /// Another kind of text.
    #[error("a join token starts with `BR1`; get one with `bramble token create`")]
    Prefix,
    /// A part is missing.
    #[error("the join token is cut off: it has the form `BR1...::ID.SECRET`")]
    Form,
    /// The pin is damaged.
    #[error("the part of the join token before `::` is damaged; copy it again")]
    Pin,
}

impl JoinToken {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// When the text is no token.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseJoinTokenError> {
        let body = text.trim().strip_prefix("BR1").ok_or(ParseJoinTokenError::Prefix)?;
        let (pin, secret) = body.split_once("::").ok_or(ParseJoinTokenError::Form)?;
        let (id, rest) = secret.split_once('.').ok_or(ParseJoinTokenError::Form)?;
        if id.is_empty() || rest.is_empty() {
            return Err(ParseJoinTokenError::Form);
        }
        let hash = BASE32_NOPAD
            .decode(pin.to_uppercase().as_bytes())
            .map_err(|_| ParseJoinTokenError::Pin)?;
        let ca_key_sha256 = hash.try_into().map_err(|_| ParseJoinTokenError::Pin)?;
        Ok(Self { ca_key_sha256, secret: secret.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_and_mistakes_are_told() {
        let text = format!("BR1{}::abc.secret\n", BASE32_NOPAD.encode(&[7; 32]));
        let token = JoinToken::parse(&text).unwrap();
        assert_eq!((token.ca_key_sha256, token.secret.as_str()), ([7; 32], "abc.secret"));
        let check = |text: &str, error| assert_eq!(JoinToken::parse(text), Err(error), "{text}");
        check("K10abc", ParseJoinTokenError::Prefix);
        check("BR1AAAA", ParseJoinTokenError::Form);
        check(&text[..text.len() - 8], ParseJoinTokenError::Form);
        check("BR1AAAA::a.b", ParseJoinTokenError::Pin);
    }
}
