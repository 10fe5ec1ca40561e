//! What a request asks for in the authorizer's words, and whether it may.
//!
//! Closed by default: health and version need no identity, everything else needs one that some role
//! allows it. Impersonation comes first: who asks in another's name has to be allowed that.

use bramble_api::selector::FieldSelector;
use bramble_api::{Registry, Status};
use bramble_master_core::access::attributes::Attributes;
use bramble_master_core::access::user::User;
use http::Method;

use super::Query;
use super::path::{ResourcePath, Route};
use crate::access::Authorizer;

/// Refuses what the user may not do.
///
/// # Errors
///
/// 401 for somebody unknown, 403 for somebody known.
pub(super) fn check(
    authorizer: &Authorizer,
    user: &User,
    route: &Route,
    asked: &Attributes,
) -> Result<(), Status> {
    if matches!(route, Route::Health | Route::Version) {
        return Ok(());
    }
    if user.anonymous() {
        return Err(Status::unauthorized());
    }
    authorizer.check(user, asked)
}

/// What a request asks for. `path` is as it was sent, `query` as it could be read.
pub(super) fn attributes(
    method: &Method,
    path: &str,
    route: &Route,
    query: Option<&Query>,
    registry: &Registry,
) -> Attributes {
    let Route::Resource(place) = route else {
        return Attributes::of_path(&method.as_str().to_ascii_lowercase(), path);
    };
    let watch = query.is_some_and(|query| query.watch);
    let verb = verb(method, place, watch);
    let selected =
        || query.and_then(|query| selected_name(registry, place, query.field_selector.as_deref()?));
    // Who may see one object only may list and watch that one.
    let name = match verb {
        "list" | "watch" | "deletecollection" if place.name.is_empty() => {
            selected().unwrap_or_default()
        }
        _ => place.name.clone(),
    };
    Attributes {
        verb: verb.to_owned(),
        path: String::new(),
        group: place.group.clone(),
        version: place.version.clone(),
        resource: place.resource.clone(),
        subresource: place.subresource.clone(),
        // A namespace is in itself.
        namespace: if place.is_namespace() { place.name.clone() } else { place.namespace.clone() },
        name,
    }
}

/// The name that a field selector asks for, if it is one name.
fn selected_name(registry: &Registry, place: &ResourcePath, selector: &str) -> Option<String> {
    let resource = registry.find(&place.group, &place.version, &place.resource)?;
    let selector = FieldSelector::parse(resource, selector).ok()?;
    selector.required("metadata.name").map(str::to_owned)
}

fn verb(method: &Method, path: &ResourcePath, watch: bool) -> &'static str {
    match (method.as_str(), path.name.is_empty()) {
        ("GET" | "HEAD", _) if watch && path.subresource.is_empty() => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use bramble_api::registry;

    use super::*;

    fn of(method: &Method, path: &str, query: &str) -> Attributes {
        let query = Query::parse(query, "ListOptions").unwrap();
        attributes(method, path, &Route::parse(path).unwrap(), Some(&query), registry::built_in())
    }

    #[track_caller]
    fn check_words(method: &Method, path: &str, query: &str, expected: &str) {
        let asked = of(method, path, query);
        assert_eq!(format!("{asked} {}", asked.name), expected, "{path}");
    }

    #[test]
    fn requests_become_verbs_on_objects() {
        let pods = "/api/v1/namespaces/d/pods";
        let place = r#"resource "pods" in API group "" in the namespace "d""#;
        check_words(&Method::GET, pods, "", &format!("list {place} "));
        check_words(&Method::GET, pods, "watch=1", &format!("watch {place} "));
        let one = "fieldSelector=metadata.name%3Da";
        check_words(&Method::GET, pods, one, &format!("list {place} a"));
        let not = "fieldSelector=metadata.name%21%3Da";
        check_words(&Method::GET, pods, not, &format!("list {place} "));
        check_words(&Method::DELETE, pods, "", &format!("deletecollection {place} "));
        let named = "/api/v1/namespaces/d/pods/a";
        check_words(&Method::GET, named, "", &format!("get {place} a"));
        check_words(&Method::PATCH, named, "", &format!("patch {place} a"));
        check_words(
            &Method::GET,
            "/api/v1/namespaces/d/pods/a/log",
            "",
            r#"get resource "pods/log" in API group "" in the namespace "d" a"#,
        );
        check_words(
            &Method::DELETE,
            "/api/v1/namespaces/d",
            "",
            r#"delete resource "namespaces" in API group "" in the namespace "d" d"#,
        );
        check_words(
            &Method::PUT,
            "/api/v1/namespaces/d/finalize",
            "",
            r#"update resource "namespaces/finalize" in API group "" in the namespace "d" d"#,
        );
        check_words(&Method::GET, "/metrics", "", r#"get path "/metrics" "#);
        check_words(&Method::POST, "/bramble/v1/tokens", "", r#"post path "/bramble/v1/tokens" "#);
    }

    #[test]
    fn without_a_role_only_administrators_reach_anything() {
        let authorizer = Authorizer::default();
        let code = |name: &str, group: &str, path: &str| {
            let (name, groups) = (name.to_owned(), vec![group.to_owned()]);
            let user = User { name, groups, ..User::default() };
            let route = Route::parse(path).unwrap();
            let asked = attributes(&Method::GET, path, &route, None, registry::built_in());
            check(&authorizer, &user, &route, &asked).map_or_else(|status| status.code, |()| 200)
        };
        for path in [
            "/api/v1/pods",
            "/apis",
            "/metrics",
            "/bramble/v1/tokens",
            "/openapi/v2",
            "/bramble/v1/nodes/pi-2/upgrade",
            "/bramble/v1/nodes",
        ] {
            assert_eq!(code("admin", "system:masters", path), 200);
            assert_eq!(code("system:node:a", "system:nodes", path), 403);
            assert_eq!(code("eve", "", path), 403);
            assert_eq!(code("", "", path), 401);
            // A group without a name is no identity.
            assert_eq!(code("", "system:masters", path), 401);
        }
        for path in ["/livez", "/readyz", "/healthz", "/version"] {
            assert_eq!(code("", "", path), 200);
        }
    }
}
