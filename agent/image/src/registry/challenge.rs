//! Reads what a registry demands in `WWW-Authenticate`, and where a token is to be had.
//!
//! Pure; whether a token service may see credentials is decided with `same_domain`.

use std::net::IpAddr;

use http::{HeaderMap, header};

/// A way to authorize that a registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Reads all challenges that are understood.
    pub(super) fn parse_all(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
        values.filter_map(|value| Self::parse(value.to_str().ok()?)).collect()
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or_else(|| (value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let find = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        Some(Self::Bearer { realm: find("realm")?, service: find("service"), scope: find("scope") })
    }
}

/// Splits `key="value",key=value`; commas may stand inside quotes.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        found.push((key.trim_matches([' ', ',']).to_owned(), value.to_owned()));
        text = rest;
    }
    found
}

/// Builds the address of the token service.
pub(super) fn token_url(
    realm: &str,
    service: Option<&str>,
    scope: Option<&str>,
    repository: &str,
) -> String {
    let mut url = realm.to_owned();
    let mut separator = if realm.contains('?') { '&' } else { '?' };
    let own_scope = format!("repository:{repository}:pull");
    // Never a wider scope than pulling this image, whatever the registry suggests.
    let scope = scope.filter(|scope| *scope == own_scope).unwrap_or(&own_scope);
    for (key, value) in
        service.map(|service| ("service", service)).into_iter().chain([("scope", scope)])
    {
        url.push(separator);
        url.push_str(key);
        url.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'/' => url.push(char::from(byte)),
                other => url.push_str(&format!("%{other:02X}")),
            }
        }
        separator = '&';
    }
    url
}

/// Returns whether two hosts are the same, or have the same owner's domain, as `docker.io` and
/// `auth.docker.io` have.
pub(super) fn same_domain(own: &str, other: &str) -> bool {
    if own.eq_ignore_ascii_case(other) {
        return true;
    }
    let is_address = |host: &str| host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    if is_address(own) || is_address(other) {
        return false;
    }
    let domain = |host: &str| {
        let mut labels = host.rsplit('.');
        Some((labels.next()?.to_ascii_lowercase(), labels.next()?.to_ascii_lowercase()))
    };
    domain(own).is_some() && domain(own) == domain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_is_read_with_commas_in_quotes() {
        let read = Challenge::parse(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
        );
        let expected = Challenge::Bearer {
            realm: "https://auth.docker.io/token".into(),
            service: Some("registry.docker.io".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(read, Some(expected));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Digest realm=\"x\""), None);
        assert_eq!(Challenge::parse("Bearer service=x"), None);
    }

    #[test]
    fn token_is_asked_for_this_image_and_for_pulling_only() {
        let url = token_url("https://a.io/token", Some("a b"), Some("repository:x:pull,push"), "x");
        assert_eq!(url, "https://a.io/token?service=a%20b&scope=repository:x:pull");
    }

    #[test]
    fn only_hosts_of_one_domain_share_credentials() {
        assert!(same_domain("registry-1.docker.io", "auth.docker.io"));
        assert!(same_domain("localhost", "localhost"));
        assert!(!same_domain("registry.example.com", "example.org"));
        assert!(!same_domain("10.0.0.1", "10.1.0.1"));
        assert!(!same_domain("localhost", "evil"));
    }
}
