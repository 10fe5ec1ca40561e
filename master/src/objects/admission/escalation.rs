//! Nobody gives away, by a role or a binding, what he may not do himself.
//!
//! Who may `escalate` a role, or `bind` it, may; so may members of `system:masters`, and the master.

use std::sync::Arc;

use async_trait::async_trait;
use bramble_api::{Resource, Status};
use bramble_master_core::access::attributes::Attributes;
use bramble_master_core::access::rbac::{GROUP, RoleRef};
use bramble_master_core::access::rule::{Rule, uncovered};
use bramble_master_core::access::user::User;
use serde_json::Value;

use super::{Attempt, Operation, Plugin, Verdict};
use crate::access::Authorizer;
use crate::objects::{Objects, meta};

/// As upstream does where roles and bindings are stored.
#[derive(Debug)]
pub(super) struct Escalation {
    /// Says what somebody may do.
    pub(super) authorizer: Arc<Authorizer>,
}

#[async_trait]
impl Plugin for Escalation {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        attempt.operation != Operation::Delete
            && attempt.subresource.is_none()
            && attempt.resource.strategy.grants
            && attempt.user.is_some_and(|user| !user.administrator())
    }

    async fn validate(
        &self,
        _: &Objects,
        attempt: &Attempt<'_>,
        object: &Value,
        _: &mut Verdict,
    ) -> Result<(), Status> {
        let Some(user) = attempt.user else { return Ok(()) };
        match binding(object) {
            Some(role) => self.check_binding(attempt, user, object, &role),
            None => self.check_role(attempt, user, object),
        }
    }
}

impl Escalation {
    fn check_role(&self, attempt: &Attempt<'_>, user: &User, object: &Value) -> Result<(), Status> {
        let aggregation = |object: &Value| object.get("aggregationRule").cloned();
        let given = match attempt.old {
            // What is not changed is not given.
            Some(old) if rules(old) == rules(object) && aggregation(old) == aggregation(object) => {
                return Ok(());
            }
            // It may take over any rule, now or later.
            _ if aggregation(object).is_some_and(|rule| !rule.is_null()) => {
                Rule::everything().to_vec()
            }
            _ => rules(object),
        };
        if self.may(attempt, user, "escalate", attempt.resource, object) {
            return Ok(());
        }
        self.confirm(attempt, user, object, &given)
    }

    fn check_binding(
        &self,
        attempt: &Attempt<'_>,
        user: &User,
        object: &Value,
        role: &RoleRef,
    ) -> Result<(), Status> {
        let same = |old: &Value| old.get("subjects") == object.get("subjects");
        if attempt.old.is_some_and(same) {
            return Ok(());
        }
        let of = if role.kind == "ClusterRole" { "clusterroles" } else { "roles" };
        let of: &Resource = Objects::resource(GROUP, of);
        let asked = Attributes {
            verb: "bind".to_owned(),
            group: GROUP.to_owned(),
            version: of.version.to_string(),
            resource: of.plural.to_string(),
            namespace: attempt.namespace.to_owned(),
            name: role.name.clone(),
            ..Attributes::default()
        };
        if self.authorizer.check(user, &asked).is_ok() {
            return Ok(());
        }
        let Some(given) = self.authorizer.rules_of(attempt.namespace, role) else {
            return Err(Status::not_found(of, &role.name));
        };
        self.confirm(attempt, user, object, &given)
    }

    fn may(
        &self,
        attempt: &Attempt<'_>,
        user: &User,
        verb: &str,
        resource: &Resource,
        object: &Value,
    ) -> bool {
        let asked = Attributes {
            verb: verb.to_owned(),
            group: resource.group.to_string(),
            version: resource.version.to_string(),
            resource: resource.plural.to_string(),
            namespace: attempt.namespace.to_owned(),
            name: meta::text(object, "name").to_owned(),
            ..Attributes::default()
        };
        self.authorizer.check(user, &asked).is_ok()
    }

    /// Refuses what the user does not have.
    fn confirm(
        &self,
        attempt: &Attempt<'_>,
        user: &User,
        object: &Value,
        given: &[Rule],
    ) -> Result<(), Status> {
        let (owned, problems) = self.authorizer.rules_for(user, attempt.namespace);
        let refuse =
            |why: &str| Err(Status::forbidden(attempt.resource, meta::text(object, "name"), why));
        let missing = match uncovered(&owned, given) {
            Ok(missing) if missing.is_empty() => return Ok(()),
            Ok(missing) => missing,
            Err(error) => return refuse(&error.to_string()),
        };
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let mut why = format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            user.groups,
            missing.join("\n")
        );
        if !problems.is_empty() {
            why.push_str(&format!("\nresolution errors: [{}]", problems.join(", ")));
        }
        refuse(&why)
    }
}

/// The role of a binding; none if it is none.
fn binding(object: &Value) -> Option<RoleRef> {
    serde_json::from_value(object.get("roleRef")?.clone()).ok()
}

fn rules(role: &Value) -> Vec<Rule> {
    let rules = role.get("rules").cloned().unwrap_or_default();
    serde_json::from_value(rules).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bramble_shared::link::Ipv4Range;
    use bramble_store::MemoryStore;
    use serde_json::json;

    use super::*;
    use crate::objects::{AdmissionConfig, Part, WriteOptions};

    /// A cluster in which `helper` may read pods everywhere, and write roles and bindings.
    async fn cluster() -> (Objects, Arc<Authorizer>) {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 16 };
        let store = Arc::new(MemoryStore::new());
        let authorizer = Arc::new(Authorizer::default());
        let config = AdmissionConfig {
            authorizer: Some(Arc::clone(&authorizer)),
            ..AdmissionConfig::default()
        };
        let objects = Objects::open(store, range, (30_000, 32_767)).await.unwrap();
        let objects = objects.with_admission(&config);
        let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        make(&objects, "clusterroles", "helps", json!({"rules": [pods]}), None).await.unwrap();
        let secrets = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]});
        make(&objects, "clusterroles", "spies", json!({"rules": [secrets]}), None).await.unwrap();
        make(&objects, "clusterrolebindings", "helps", bind("helps"), None).await.unwrap();
        authorizer.load(objects.store().as_ref()).await.unwrap();
        (objects, authorizer)
    }

    fn bind(role: &str) -> Value {
        let role = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role});
        let subject = json!({"apiGroup": GROUP, "kind": "User", "name": "helper"});
        json!({"roleRef": role, "subjects": [subject]})
    }

    fn helper() -> Option<Arc<User>> {
        Some(Arc::new(User { name: "helper".to_owned(), ..User::default() }))
    }

    async fn make(
        objects: &Objects,
        plural: &str,
        name: &str,
        mut object: Value,
        user: Option<Arc<User>>,
    ) -> Result<Value, Status> {
        object["metadata"] = json!({"name": name});
        let options = WriteOptions { user, ..WriteOptions::default() };
        objects.create(Objects::resource(GROUP, plural), "", object, &options).await
    }

    #[tokio::test]
    async fn nobody_gives_away_what_he_does_not_have() {
        let (objects, _) = cluster().await;
        let rule = |verb: &str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
        let role = |verb: &str| json!({"rules": [rule(verb)]});
        make(&objects, "clusterroles", "a", role("get"), helper()).await.unwrap();
        let status =
            make(&objects, "clusterroles", "b", role("delete"), helper()).await.unwrap_err();
        assert_eq!(status.code, 403);
        assert_eq!(
            status.message,
            "clusterroles.rbac.authorization.k8s.io \"b\" is forbidden: user \"helper\" (groups=[]) is \
             attempting to grant RBAC permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
        );
        let aggregate = json!({"aggregationRule": {"clusterRoleSelectors": [
            {"matchLabels": {"a": "b"}}]}});
        let made = make(&objects, "clusterroles", "c", aggregate, helper()).await;
        assert_eq!(made.unwrap_err().code, 403);
        // The master itself may.
        make(&objects, "clusterroles", "b", role("delete"), None).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_binds_a_role_that_allows_more_than_he_may() {
        let (objects, authorizer) = cluster().await;
        let plural = "clusterrolebindings";
        make(&objects, plural, "a", bind("helps"), helper()).await.unwrap();
        let status = make(&objects, plural, "b", bind("spies"), helper()).await.unwrap_err();
        assert_eq!(status.code, 403);
        let status = make(&objects, plural, "b", bind("nobody"), helper()).await.unwrap_err();
        assert_eq!(status.code, 404);
        // Who may bind that very role may.
        let rule = json!({"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"],
            "resourceNames": ["spies"]});
        make(&objects, "clusterroles", "binds", json!({"rules": [rule]}), None).await.unwrap();
        make(&objects, plural, "binds", bind("binds"), None).await.unwrap();
        authorizer.load(objects.store().as_ref()).await.unwrap();
        make(&objects, plural, "b", bind("spies"), helper()).await.unwrap();
    }

    #[tokio::test]
    async fn change_that_gives_nothing_away_needs_no_rights() {
        let (objects, _) = cluster().await;
        let roles = Objects::resource(GROUP, "clusterroles");
        let mut spies = objects.get(roles, "", "spies").await.unwrap();
        spies["metadata"]["labels"] = json!({"a": "b"});
        let options = WriteOptions { user: helper(), ..WriteOptions::default() };
        objects.update(roles, "", Part::Main, spies.clone(), &options).await.unwrap();
        spies["rules"][0]["verbs"] = json!(["get", "list"]);
        spies["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let changed = objects.update(roles, "", Part::Main, spies, &options).await;
        assert_eq!(changed.unwrap_err().code, 403);
    }
}
