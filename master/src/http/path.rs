//! What a request's path names.
//!
//! Odd paths (`//`, `..`, encoded slashes) name nothing: there is one spelling for each thing, so
//! that the rule about who may do what sees the same path as the handlers.

use bramble_api::Status;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    /// `/version`.
    Version,
    /// `/metrics`.
    Metrics,
    /// `/bramble/v1/audit`: the newest lines of the audit log.
    Audit,
    /// Join tokens: all, or the one with this id.
    Tokens(Option<String>),
    /// How the nodes' boards are.
    Vitals,
    /// The system of a node's card.
    Upgrade(String),
    /// Who may speak for a node.
    NodeAccess(String, NodeAccess),
    /// Documents about the API itself.
    Discovery(Document),
    /// Objects.
    Resource(ResourcePath),
}

/// What an administrator says about who may speak for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeAccess {
    /// Another board may take its name.
    Replace,
    /// Nobody may any more.
    Revoke,
}

/// A document about the API itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// `/`.
    Paths,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/G`.
    Group(String),
    /// `/api/v1`, `/apis/G/V`.
    Resources(String, String),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/G/V`.
    OpenApi(String, String),
    /// `/.well-known/openid-configuration`.
    TokenIssuer,
    /// `/openid/v1/jwks`.
    TokenKeys,
}

/// Objects, one object, or a part of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResourcePath {
    /// Group, empty for core.
    pub(super) group: String,
    /// Version.
    pub(super) version: String,
    /// Namespace, empty for cluster scope or all namespaces.
    pub(super) namespace: String,
    /// Plural name.
    pub(super) resource: String,
    /// Name, empty for the collection.
    pub(super) name: String,
    /// Subresource, empty for the object itself.
    pub(super) subresource: String,
    /// What follows `proxy`, as it was sent: not ours to read. Empty, or begins with a slash.
    pub(super) rest: String,
}

impl ResourcePath {
    /// Whether this is one namespace itself, or a part of it.
    pub(super) fn is_namespace(&self) -> bool {
        self.group.is_empty() && self.resource == "namespaces" && !self.name.is_empty()
    }
}

impl Route {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// 404 when it names nothing.
    pub(super) fn parse(path: &str) -> Result<Self, Status> {
        if let Some((own, rest)) = proxied(path) {
            let Self::Resource(mut found) = Self::parse(own)? else {
                return Err(Status::not_found_path());
            };
            rest.clone_into(&mut found.rest);
            return Ok(Self::Resource(found));
        }
        let trimmed = path.strip_prefix('/').ok_or_else(Status::not_found_path)?;
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        if trimmed.is_empty() {
            return Ok(Self::Discovery(Document::Paths));
        }
        let segments = trimmed
            .split('/')
            .map(decode_segment)
            .collect::<Option<Vec<String>>>()
            .ok_or_else(Status::not_found_path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let own = |text: &&str| (*text).to_owned();
        Ok(match segments.as_slice() {
            ["healthz" | "livez" | "readyz", ..] => Self::Health,
            ["version"] => Self::Version,
            ["metrics"] => Self::Metrics,
            ["bramble", "v1", "audit"] => Self::Audit,
            ["bramble", "v1", "tokens"] => Self::Tokens(None),
            ["bramble", "v1", "tokens", id] => Self::Tokens(Some(own(id))),
            ["bramble", "v1", "nodes"] => Self::Vitals,
            ["bramble", "v1", "nodes", node, "upgrade"] => Self::Upgrade(own(node)),
            ["bramble", "v1", "nodes", node, "replace"] => {
                Self::NodeAccess(own(node), NodeAccess::Replace)
            }
            ["bramble", "v1", "nodes", node, "revoke"] => {
                Self::NodeAccess(own(node), NodeAccess::Revoke)
            }
            ["api"] => Self::Discovery(Document::CoreVersions),
            ["apis"] => Self::Discovery(Document::Groups),
            ["api", version] => Self::Discovery(Document::Resources(String::new(), own(version))),
            ["apis", group] => Self::Discovery(Document::Group(own(group))),
            ["apis", group, version] => {
                Self::Discovery(Document::Resources(own(group), own(version)))
            }
            [".well-known", "openid-configuration"] => Self::Discovery(Document::TokenIssuer),
            ["openid", "v1", "jwks"] => Self::Discovery(Document::TokenKeys),
            ["openapi", "v2"] => Self::Discovery(Document::OpenApiV2),
            ["openapi", "v3"] => Self::Discovery(Document::OpenApiIndex),
            ["openapi", "v3", "api", version] => {
                Self::Discovery(Document::OpenApi(String::new(), own(version)))
            }
            ["openapi", "v3", "apis", group, version] => {
                Self::Discovery(Document::OpenApi(own(group), own(version)))
            }
            ["api", version, rest @ ..] => Self::Resource(objects("", version, rest)?),
            ["apis", group, version, rest @ ..] => Self::Resource(objects(group, version, rest)?),
            _ => return Err(Status::not_found_path()),
        })
    }
}

/// Parts the path of something that passes requests on: its own, and what is passed on. A path that
/// is only its own is none.
fn proxied(path: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = path.splitn(9, '/').collect();
    let own = match parts.as_slice() {
        ["", "api", _, "namespaces", _, "pods" | "services", _, "proxy", _] => 8,
        ["", "api", _, "nodes", _, "proxy", _, ..] => 6,
        _ => return None,
    };
    let len = parts.iter().take(own).map(|part| part.len() + 1).sum::<usize>();
    path.split_at_checked(len.saturating_sub(1))
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Result<ResourcePath, Status> {
    let (namespace, rest) = match rest {
        // A namespace itself, or its subresources.
        ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        _ => ("", rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, "", ""),
        [resource, name] => (*resource, *name, ""),
        [resource, name, subresource] => (*resource, *name, *subresource),
        _ => return Err(Status::not_found_path()),
    };
    Ok(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        rest: String::new(),
    })
}

/// Decodes one segment; none if it is empty or would name another place once decoded.
fn decode_segment(segment: &str) -> Option<String> {
    let decoded = decode_percent(segment, false)?;
    let odd = decoded.is_empty() || decoded == "." || decoded == ".." || decoded.contains('/');
    (!odd && !decoded.contains(char::is_control)).then_some(decoded)
}

/// Decodes `%xx`, and `+` as a space in queries; none if it is malformed.
pub(super) fn decode_percent(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::{Document, Route};

    #[track_caller]
    fn check(path: &str, expected: [&str; 6]) {
        let Ok(Route::Resource(found)) = Route::parse(path) else {
            panic!("{path} names no resource");
        };
        let parts = [
            found.group,
            found.version,
            found.namespace,
            found.resource,
            found.name,
            found.subresource,
        ];
        assert_eq!(parts, expected, "{path}");
    }

    #[test]
    fn paths_of_objects_are_read() {
        check("/api/v1/pods", ["", "v1", "", "pods", "", ""]);
        check("/api/v1/namespaces", ["", "v1", "", "namespaces", "", ""]);
        check("/api/v1/namespaces/a", ["", "v1", "", "namespaces", "a", ""]);
        check("/api/v1/namespaces/a/finalize", ["", "v1", "", "namespaces", "a", "finalize"]);
        check("/api/v1/namespaces/a/pods/b/log", ["", "v1", "a", "pods", "b", "log"]);
        check("/apis/apps/v1/namespaces/a/deployments", ["apps", "v1", "a", "deployments", "", ""]);
        check("/api/v1/nodes/pi-1/status", ["", "v1", "", "nodes", "pi-1", "status"]);
        check(
            "/apis/x.y/v1/clusterroles/system%3Anode",
            ["x.y", "v1", "", "clusterroles", "system:node", ""],
        );
    }

    #[test]
    fn what_is_passed_on_is_not_read() {
        let rest = |path: &str| {
            let Ok(Route::Resource(found)) = Route::parse(path) else { panic!("{path}") };
            (found.name, found.subresource, found.rest)
        };
        let own = |name: &str, rest: &str| (name.to_owned(), "proxy".to_owned(), rest.to_owned());
        let pod = "/api/v1/namespaces/d/pods/https:a:80/proxy";
        assert_eq!(rest(pod), own("https:a:80", ""));
        assert_eq!(rest(&format!("{pod}/")), own("https:a:80", "/"));
        assert_eq!(rest(&format!("{pod}/x//../%2f%zz/")), own("https:a:80", "/x//../%2f%zz/"));
        assert_eq!(rest("/api/v1/nodes/n/proxy/logs/proxy/"), own("n", "/logs/proxy/"));
        for path in ["/api/v1/namespaces/d/pods/../proxy/x", "/api/v1/nodes//proxy/x"] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        // Something else that is called so.
        check("/api/v1/namespaces/proxy/pods/proxy", ["", "v1", "proxy", "pods", "proxy", ""]);
    }

    #[test]
    fn odd_paths_name_nothing() {
        for path in [
            "",
            "api",
            "//api/v1",
            "/api//v1",
            "/api/v1/..",
            "/api/v1/%2e%2e/pods",
            "/api/v1/a%2fb",
            "/api/v1/%zz",
            "/api/v1/pods/a/b/c/d",
            "/api/v1/a%00b",
            "/nothing",
        ] {
            assert_eq!(Route::parse(path).map_err(|status| status.code), Err(404), "{path}");
        }
    }

    #[test]
    fn documents_are_found() {
        let check = |path: &str, expected: Document| {
            assert_eq!(Route::parse(path).ok(), Some(Route::Discovery(expected)), "{path}");
        };
        check("/", Document::Paths);
        check("/api", Document::CoreVersions);
        check("/apis/", Document::Groups);
        check("/apis/apps/v1", Document::Resources("apps".to_owned(), "v1".to_owned()));
        check("/openapi/v2", Document::OpenApiV2);
        check("/.well-known/openid-configuration", Document::TokenIssuer);
        check("/openid/v1/jwks", Document::TokenKeys);
        check("/openapi/v3/api/v1", Document::OpenApi(String::new(), "v1".to_owned()));
    }
}
