//! Who asks, and whether they may.
//!
//! Closed by default: administrators may do everything, nodes nothing here (they have their own
//! link), and nobody else exists. Health and version need no identity.

use bramble_api::{Status, registry};
use http::Method;
use rustls::pki_types::CertificateDer;

use super::path::{ResourcePath, Route};
use crate::pki::{GROUP_MASTERS, GROUP_NODES, NODE_USER_PREFIX};

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    /// Name; empty for somebody without a certificate.
    pub(super) name: String,
    /// Groups.
    pub(super) groups: Vec<String>,
}

impl User {
    /// Reads the user out of a certificate that TLS has verified: CN is the name, O the groups.
    pub(super) fn from_certificate(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
            return Self::default();
        };
        let subject = parsed.subject();
        let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or("");
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
        Self { name: name.to_owned(), groups: groups.map(str::to_owned).collect() }
    }

    /// Returns the node's name if this is a node.
    pub(super) fn node(&self) -> Option<&str> {
        self.name.strip_prefix(NODE_USER_PREFIX).filter(|_| self.in_group(GROUP_NODES))
    }

    /// Tells whether this user may do everything.
    pub(super) fn administrator(&self) -> bool {
        !self.name.is_empty() && self.in_group(GROUP_MASTERS)
    }

    fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|present| present == group)
    }
}

/// Refuses what the user may not do.
///
/// # Errors
///
/// 401 for somebody unknown, 403 for somebody known.
pub(super) fn check(user: &User, method: &Method, route: &Route) -> Result<(), Status> {
    if matches!(route, Route::Health | Route::Version) || user.administrator() {
        return Ok(());
    }
    if user.name.is_empty() {
        return Err(Status::unauthorized());
    }
    if let Route::Resource(path) = route
        && let Some(resource) = registry::find(&path.group, &path.version, &path.resource)
    {
        let place = match path.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let detail = format!(
            "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            user.name,
            verb(method, path),
            path.resource,
            path.group
        );
        return Err(Status::forbidden(resource, &path.name, &detail));
    }
    Err(Status::forbidden_message(format!("forbidden: User \"{}\" cannot do this", user.name)))
}

fn verb(method: &Method, path: &ResourcePath) -> &'static str {
    match (method.as_str(), path.name.is_empty()) {
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "use",
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::path::Route;
    use super::{User, check};

    const UPGRADE: &str = "/bramble/v1/nodes/pi-2/upgrade";
    const VITALS: &str = "/bramble/v1/nodes";

    #[track_caller]
    fn code(name: &str, group: &str, path: &str) -> u16 {
        let user = User { name: name.to_owned(), groups: vec![group.to_owned()] };
        match check(&user, &Method::GET, &Route::parse(path).unwrap()) {
            Ok(()) => 200,
            Err(status) => status.code,
        }
    }

    #[test]
    fn only_administrators_reach_objects() {
        for path in [
            "/api/v1/pods",
            "/apis",
            "/metrics",
            "/bramble/v1/tokens",
            "/openapi/v2",
            "/openapi/v3",
            UPGRADE,
            VITALS,
        ] {
            assert_eq!(code("admin", "system:masters", path), 200);
            assert_eq!(code("system:node:a", "system:nodes", path), 403);
            assert_eq!(code("eve", "", path), 403);
            assert_eq!(code("", "", path), 401);
            // A group without a name is no identity.
            assert_eq!(code("", "system:masters", path), 401);
        }
    }

    #[test]
    fn anybody_may_ask_for_health_and_version() {
        for path in ["/livez", "/readyz", "/healthz", "/version"] {
            assert_eq!(code("", "", path), 200);
        }
    }

    #[test]
    fn node_needs_name_and_group() {
        let user = |name: &str, group: &str| User {
            name: name.to_owned(),
            groups: vec![group.to_owned()],
        };
        assert_eq!(user("system:node:pi-2", "system:nodes").node(), Some("pi-2"));
        assert_eq!(user("system:node:pi-2", "system:masters").node(), None);
        assert_eq!(user("pi-2", "system:nodes").node(), None);
    }
}
