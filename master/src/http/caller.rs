//! Who asks, worked out once for each request: the client certificate of the connection, or else the
//! token that comes with the request.

use bramble_master_core::access::user::User;
use data_encoding::HEXLOWER;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use tracing::debug;

use super::Api;
use crate::access::ISSUER;

/// Where users of certificates have the certificate's hash, as upstream.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Reads the user out of a certificate that TLS has verified: CN is the name, O the groups.
pub(super) fn from_certificate(certificate: &CertificateDer<'_>) -> User {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return User::default();
    };
    let subject = parsed.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or("");
    if name.is_empty() {
        return User::default();
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    let hash = HEXLOWER.encode(digest(&SHA256, certificate).as_ref());
    let user = User {
        name: name.to_owned(),
        groups: groups.map(str::to_owned).collect(),
        extra: [(CREDENTIAL.to_owned(), vec![format!("X509SHA256={hash}")])].into(),
        ..User::default()
    };
    user.authenticated()
}

/// Finds out who asks. A certificate counts before a token, and a token that does not count is none.
pub(super) async fn of_request(api: &Api, connection: &User, headers: &HeaderMap) -> User {
    if !connection.anonymous() {
        return connection.clone();
    }
    let Some(token) = bearer(headers) else { return User::default() };
    match api.account_tokens.verify(token, &[ISSUER.to_owned()]).await {
        Ok((user, _)) => user,
        Err(error) => {
            debug!(%error, "a token was refused");
            User::default()
        }
    }
}

/// The token in the header; none if it holds something else.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{AUTHORIZATION, HeaderValue};

    #[test]
    fn token_is_what_follows_the_scheme() {
        let check = |text: &'static str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(text));
            assert_eq!(super::bearer(&headers), expected, "{text}");
        };
        check("Bearer a.b.c", Some("a.b.c"));
        check("bearer  a.b.c ", Some("a.b.c"));
        check("Basic a.b.c", None);
        check("Bearer", None);
        check("Bearer ", None);
    }
}
