//! The heads of proxied requests and answers: what concerns one connection only stays behind, and
//! the server learns for whom it works.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Error, Uri};
use hyper::body::Incoming;

use super::Passed;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// What all headers begin with by which somebody asks in another's name.
const IMPERSONATE: &str = "impersonate-";

/// Whether a client wants to change its connection.
pub(super) fn upgrades(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(',')).map(str::trim);
    headers.contains_key(UPGRADE) && tokens.any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// The host that a client has asked, which its server is told.
pub(super) fn host(parts: &Parts) -> String {
    let named = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| parts.uri.authority().map(|it| it.as_str())).unwrap_or_default().to_owned()
}

/// The request as the server gets it.
///
/// # Errors
///
/// When what is left of the path is none.
pub(super) fn request(
    parts: &Parts,
    rest: &str,
    client: Option<IpAddr>,
    upgrades: bool,
    body: Incoming,
) -> Result<Passed, Error> {
    let query = parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let rest = if rest.is_empty() { "/" } else { rest };
    let mut request = Passed::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = format!("{rest}{query}").parse::<Uri>()?;
    *request.headers_mut() = headers(parts, client, upgrades);
    Ok(request)
}

fn headers(parts: &Parts, client: Option<IpAddr>, upgrades: bool) -> HeaderMap {
    let mut headers = parts.headers.clone();
    let protocol = headers.get(UPGRADE).cloned();
    clean(&mut headers);
    // Who the client is was ours to know.
    headers.remove(AUTHORIZATION);
    headers.remove(PROXY_AUTHORIZATION);
    let others: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(IMPERSONATE)).cloned().collect();
    for name in others {
        headers.remove(name);
    }
    // Answered here: the server would answer it a second time.
    headers.remove(EXPECT);
    if let (true, Some(protocol)) = (upgrades, protocol) {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    if let Ok(host) = HeaderValue::from_str(&host(parts)) {
        headers.insert(HOST, host);
    }
    if let Some(client) = client {
        let earlier = headers.get_all(&FORWARDED_FOR).iter().filter_map(|it| it.to_str().ok());
        let mut chain: Vec<String> = earlier.map(str::to_owned).collect();
        chain.push(client.to_string());
        if let Ok(chain) = HeaderValue::from_str(&chain.join(", ")) {
            headers.insert(FORWARDED_FOR, chain);
        }
    }
    if let Ok(path) = HeaderValue::from_str(parts.uri.path()) {
        headers.insert(FORWARDED_URI, path);
    }
    headers
}

/// Takes away what concerns one connection only.
pub(super) fn clean(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.into_iter().chain(always) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::Request;

    use super::*;

    fn sent(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("https://m1:6443/api/v1/nodes/n/proxy/x%20y?a=b");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn check(headers: &[(&str, &str)], upgrades: bool, expected: &[(&str, &str)]) {
        let client = Some(IpAddr::from(Ipv4Addr::new(10, 0, 0, 9)));
        let found = super::headers(&sent(headers), client, upgrades);
        let mut found: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        found.sort_unstable();
        let always = [("x-forwarded-uri", "/api/v1/nodes/n/proxy/x%20y")];
        let mut expected: Vec<(&str, &str)> = expected.iter().copied().chain(always).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn servers_learn_for_whom_they_work_and_no_secrets() {
        check(
            &[
                ("authorization", "Bearer x"),
                ("impersonate-user", "eve"),
                ("impersonate-extra-a", "b"),
                ("accept", "*/*"),
                ("connection", "keep-alive, x-mine"),
                ("x-mine", "1"),
                ("te", "trailers"),
                ("x-forwarded-for", "10.1.1.1"),
                ("expect", "100-continue"),
            ],
            false,
            &[("accept", "*/*"), ("host", "m1:6443"), ("x-forwarded-for", "10.1.1.1, 10.0.0.9")],
        );
        // A client of HTTP/1.1 names the host itself.
        check(&[("host", "other")], false, &[("host", "other"), ("x-forwarded-for", "10.0.0.9")]);
    }

    #[test]
    fn a_change_of_protocol_is_passed_on() {
        let asked = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert!(upgrades(&sent(&asked).headers));
        assert!(!upgrades(&sent(&asked[1..]).headers));
        let passed = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("host", "m1:6443"),
            ("x-forwarded-for", "10.0.0.9"),
        ];
        check(&asked, true, &passed);
    }
}
