//! Links of a server behind the proxy, led back through it.
//!
//! Pure. Only what leads to the server itself is changed: a path from its root, alone or behind its
//! own address or the host by which the client knows this one.

use http::HeaderMap;
use http::header::{HeaderValue, LOCATION};

/// Where links of one server lead to.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// Path of the server here, without a slash at its end.
    prefix: String,
    /// Address and port of the server.
    server: String,
    /// Host that the client asked.
    host: String,
}

impl Links {
    pub(super) fn new(prefix: &str, server: &str, host: &str) -> Self {
        let own = |text: &str| text.to_owned();
        Self { prefix: own(prefix), server: own(server), host: own(host) }
    }

    /// Leads a redirect back through here, if an answer is one.
    pub(super) fn redirect(&self, headers: &mut HeaderMap) -> bool {
        let Some(to) = headers.get(LOCATION) else { return false };
        let changed = to.to_str().ok().and_then(|to| self.through(to));
        if let Some(changed) = changed.and_then(|to| HeaderValue::from_str(&to).ok()) {
            headers.insert(LOCATION, changed);
        }
        true
    }

    /// The link through here; none where it stays as it is.
    pub(super) fn through(&self, link: &str) -> Option<String> {
        let (start, host, rest) = parts(link);
        if host.is_some_and(|host| host != self.server && host != self.host) {
            return None;
        }
        // A link to the host that the client knows keeps it.
        let start = if host.is_some_and(|host| host == self.host) { start } else { "" };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (path, query) = rest.split_at_checked(end)?;
        if !path.starts_with('/') {
            return None;
        }
        if path.starts_with(&self.prefix) {
            return Some(format!("{start}{path}{query}"));
        }
        let path = clean(path);
        Some(format!("{start}{}{path}{query}", self.prefix))
    }
}

/// Scheme and host as they are written, the host, and what follows.
fn parts(link: &str) -> (&str, Option<&str>, &str) {
    let scheme = |text: &str| {
        let first = text.starts_with(|letter: char| letter.is_ascii_alphabetic());
        first && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    };
    let after = match link.split_once("//") {
        Some(("", after)) => after,
        Some((before, after)) if before.strip_suffix(':').is_some_and(scheme) => after,
        Some(_) | None => return ("", None, link),
    };
    let begin = link.len() - after.len();
    let end = begin + after.find(['/', '?', '#']).unwrap_or(after.len());
    let cut = |range: std::ops::Range<usize>| link.get(range).unwrap_or_default();
    (cut(0..end), Some(cut(begin..end)), cut(end..link.len()))
}

/// A path from the root without detours; a slash at its end stays.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let end = if path.ends_with('/') { "/" } else { "" };
    let path: String = kept.iter().map(|part| format!("/{part}")).collect();
    format!("{path}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_server_lead_through_here_and_others_stay() {
        let links = Links::new("/api/v1/nodes/n/proxy", "10.0.0.2:80", "m1:6443");
        let check = |link: &str, expected: Option<&str>| {
            assert_eq!(links.through(link).as_deref(), expected, "{link}");
        };
        check("/a/b?c=/d#e", Some("/api/v1/nodes/n/proxy/a/b?c=/d#e"));
        check("/", Some("/api/v1/nodes/n/proxy/"));
        check("/a/../b//c/", Some("/api/v1/nodes/n/proxy/b/c/"));
        check("/../../secrets", Some("/api/v1/nodes/n/proxy/secrets"));
        check("http://10.0.0.2:80/a", Some("/api/v1/nodes/n/proxy/a"));
        check("//10.0.0.2:80/a", Some("/api/v1/nodes/n/proxy/a"));
        check("https://m1:6443/a", Some("https://m1:6443/api/v1/nodes/n/proxy/a"));
        check("/api/v1/nodes/n/proxy/a", Some("/api/v1/nodes/n/proxy/a"));
        for other in ["a/b", "", "#x", "?q", "mailto:x@y", "http://e.org/a", "//e.org/a", "x//y"] {
            check(other, None);
        }
    }

    #[test]
    fn redirects_are_led_through_here() {
        let links = Links::new("/p", "10.0.0.2:80", "m1");
        let mut headers = HeaderMap::new();
        assert!(!links.redirect(&mut headers));
        headers.insert(LOCATION, HeaderValue::from_static("/next"));
        assert!(links.redirect(&mut headers));
        assert_eq!(headers[LOCATION], "/p/next");
    }
}
