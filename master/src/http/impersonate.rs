//! Asking in another's name: the `Impersonate-*` headers.
//!
//! Each thing that is taken on (a name, a group, a uid, an extra) has to be allowed by itself.

use std::collections::BTreeMap;

use bramble_api::Status;
use bramble_master_core::access::attributes::Attributes;
use bramble_master_core::access::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User};
use http::HeaderMap;

use super::path::decode_percent;
use crate::access::Authorizer;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA_PREFIX: &str = "impersonate-extra-";
/// Group of the attributes of users that are no users or groups themselves.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user in whose name a request is made, if it is made in another's.
///
/// # Errors
///
/// 403 when the user may not ask in that name, 400 when no name is given.
pub(super) fn impersonated(
    authorizer: &Authorizer,
    user: &User,
    headers: &HeaderMap,
) -> Result<Option<User>, Status> {
    let wanted = wanted(headers)?;
    let Some(wanted) = wanted else { return Ok(None) };
    if user.anonymous() {
        return Err(Status::unauthorized());
    }
    for asked in permissions(&wanted) {
        authorizer.check(user, &asked)?;
    }
    Ok(Some(completed(wanted)))
}

/// The user as the headers name him.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let all = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.map(str::to_owned).collect()
    };
    let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else { continue };
        let key = decode_percent(key, false).unwrap_or_else(|| key.to_owned());
        extra.entry(key).or_default().extend(all(name.as_str()));
    }
    let user = User { name: first(USER), uid: first(UID), groups: all(GROUP), extra };
    if user.name.is_empty() && user != User::default() {
        return Err(Status::bad_request(
            "groups, a uid or extras were to be impersonated without a user",
        ));
    }
    Ok(Some(user).filter(|user| !user.name.is_empty()))
}

/// What whoever asks has to be allowed.
fn permissions(wanted: &User) -> Vec<Attributes> {
    let one = |group: &str, resource: &str, name: &str| Attributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    let mut asked = vec![match User::account_of(&wanted.name) {
        Some((namespace, name)) => {
            Attributes { namespace: namespace.to_owned(), ..one("", "serviceaccounts", name) }
        }
        None => one("", "users", &wanted.name),
    }];
    asked.extend(wanted.groups.iter().map(|group| one("", "groups", group)));
    if !wanted.uid.is_empty() {
        asked.push(one(AUTHENTICATION, "uids", &wanted.uid));
    }
    for (key, values) in &wanted.extra {
        asked.extend(values.iter().map(|value| Attributes {
            subresource: key.clone(),
            ..one(AUTHENTICATION, "userextras", value)
        }));
    }
    asked
}

/// Adds the groups that every such user is in.
fn completed(mut user: User) -> User {
    if user.groups.is_empty()
        && let Some((namespace, name)) = User::account_of(&user.name)
    {
        user.groups = User::account(namespace, name).groups;
    }
    if user.name != ANONYMOUS {
        let known = [AUTHENTICATED, UNAUTHENTICATED].iter().any(|group| user.in_group(group));
        return if known { user } else { user.authenticated() };
    }
    if !user.in_group(UNAUTHENTICATED) {
        user.groups.push(UNAUTHENTICATED.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn admin() -> User {
        let groups = vec!["system:masters".to_owned()];
        User { name: "admin".to_owned(), groups, ..User::default() }
    }

    fn taken_on(list: &[(&'static str, &'static str)]) -> Option<User> {
        impersonated(&Authorizer::default(), &admin(), &headers(list)).unwrap()
    }

    #[test]
    fn administrator_becomes_somebody_else_with_his_groups_only() {
        assert_eq!(taken_on(&[]), None);
        let eve = taken_on(&[(USER, "eve"), (GROUP, "a"), (GROUP, "b")]).unwrap();
        assert_eq!((eve.name.as_str(), eve.administrator()), ("eve", false));
        assert_eq!(eve.groups, ["a", "b", "system:authenticated"]);
        let account = taken_on(&[(USER, "system:serviceaccount:d:x")]).unwrap();
        assert!(account.in_group("system:serviceaccounts:d"));
        let nobody = taken_on(&[(USER, "system:anonymous")]).unwrap();
        assert_eq!(nobody.groups, ["system:unauthenticated"]);
        let extra = taken_on(&[(USER, "eve"), ("impersonate-extra-a%2fb", "x")]).unwrap();
        assert_eq!(extra.extra["a/b"], ["x"]);
    }

    #[test]
    fn each_thing_that_is_taken_on_has_to_be_allowed() {
        let user = User {
            name: "system:serviceaccount:d:x".to_owned(),
            uid: "u".to_owned(),
            groups: vec!["system:masters".to_owned()],
            extra: [("scopes".to_owned(), vec!["all".to_owned()])].into(),
        };
        let words: Vec<String> =
            permissions(&user).iter().map(|it| format!("{it}: {}", it.name)).collect();
        assert_eq!(
            words,
            [
                r#"impersonate resource "serviceaccounts" in API group "" in the namespace "d": x"#,
                r#"impersonate resource "groups" in API group "" at the cluster scope: system:masters"#,
                r#"impersonate resource "uids" in API group "authentication.k8s.io" at the cluster scope: u"#,
                r#"impersonate resource "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope: all"#,
            ]
        );
        let eve = User { name: "eve".to_owned(), ..User::default() };
        let refused = |user: &User, list| {
            impersonated(&Authorizer::default(), user, &headers(list)).unwrap_err().code
        };
        assert_eq!(refused(&eve, &[(USER, "admin")]), 403);
        assert_eq!(refused(&User::default(), &[(USER, "admin")]), 401);
        assert_eq!(refused(&admin(), &[(GROUP, "a")]), 400);
    }
}
