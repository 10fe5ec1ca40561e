//! Roles and who has them: an index that follows the store, and what it allows.
//!
//! Fed with store entries, as a snapshot is. Knows nothing of requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::attributes::Attributes;
use super::rule::Rule;
use super::user::User;
use crate::view::labels::Labels;
use crate::view::null_as_default;
use crate::view::resource::ObjectId;
use crate::view::selector::LabelSelector;

/// The group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// What the authorizer thinks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed.
    Allow {
        /// By which binding, for the audit log.
        reason: String,
    },
    /// Nobody allows it.
    NoOpinion {
        /// What could not be looked at, often nothing.
        reason: String,
    },
}

/// A role by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Name.
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    #[serde(deserialize_with = "null_as_default")]
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoredBinding {
    #[serde(deserialize_with = "null_as_default")]
    subjects: Vec<Subject>,
    role_ref: RoleRef,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoredRole {
    metadata: StoredMetadata,
    #[serde(deserialize_with = "null_as_default")]
    rules: Vec<Rule>,
    aggregation_rule: Option<Aggregation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StoredMetadata {
    #[serde(deserialize_with = "null_as_default")]
    labels: Labels,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Aggregation {
    #[serde(deserialize_with = "null_as_default")]
    cluster_role_selectors: Vec<LabelSelector>,
}

#[derive(Debug)]
struct Role {
    rules: Arc<[Rule]>,
    labels: Labels,
    /// Of roles whose rules it takes over, if it does.
    aggregates: Option<Vec<LabelSelector>>,
}

#[derive(Debug)]
struct Binding {
    subjects: Vec<Subject>,
    role: RoleRef,
}

/// Namespace and name; the namespace of cluster scope is empty.
type Place = (Arc<str>, Arc<str>);

/// All roles and bindings.
#[derive(Debug, Default)]
pub struct Rbac {
    roles: BTreeMap<Place, Role>,
    bindings: BTreeMap<Place, Binding>,
    /// Where a user or group is bound: by what the subject is called, then by namespace.
    by_subject: BTreeMap<Subject, BTreeSet<Place>>,
}

impl Rbac {
    /// Takes in one store entry: a value, or `None` for a deletion. What cannot be read allows nothing.
    pub fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(id) = ObjectId::from_store_key(key).filter(|id| id.resource.group == GROUP) else {
            return;
        };
        let place = (id.key.namespace, id.key.name);
        match &*id.resource.plural {
            "roles" | "clusterroles" => self.apply_role(place, value),
            "rolebindings" | "clusterrolebindings" => self.apply_binding(place, value),
            _ => {}
        }
    }

    fn apply_role(&mut self, place: Place, value: Option<&[u8]>) {
        let read = value.and_then(|value| serde_json::from_slice::<StoredRole>(value).ok());
        let Some(role) = read else {
            self.roles.remove(&place);
            return;
        };
        let role = Role {
            rules: role.rules.into(),
            labels: role.metadata.labels,
            aggregates: role.aggregation_rule.map(|rule| rule.cluster_role_selectors),
        };
        self.roles.insert(place, role);
    }

    fn apply_binding(&mut self, place: Place, value: Option<&[u8]>) {
        if let Some(old) = self.bindings.remove(&place) {
            for subject in &old.subjects {
                if let Some(places) = self.by_subject.get_mut(subject) {
                    places.remove(&place);
                    if places.is_empty() {
                        self.by_subject.remove(subject);
                    }
                }
            }
        }
        let read = value.and_then(|value| serde_json::from_slice::<StoredBinding>(value).ok());
        let Some(read) = read else { return };
        let subjects = read.subjects.into_iter().filter_map(Subject::called);
        let binding = Binding { subjects: subjects.collect(), role: read.role_ref };
        for subject in &binding.subjects {
            self.by_subject.entry(subject.clone()).or_default().insert(place.clone());
        }
        self.bindings.insert(place, binding);
    }

    /// Whether a user may do something, and why.
    #[must_use]
    pub fn authorize(&self, user: &User, asked: &Attributes) -> Decision {
        match self.granting(user, asked) {
            Ok((place, binding)) => Decision::Allow { reason: binding.reason(place, user) },
            Err(reason) => Decision::NoOpinion { reason },
        }
    }

    /// As [`Self::authorize`], when nobody wants to know why it is allowed.
    ///
    /// # Errors
    ///
    /// What could not be looked at, often nothing.
    pub fn check(&self, user: &User, asked: &Attributes) -> Result<(), String> {
        self.granting(user, asked).map(|_| ())
    }

    /// The binding that allows it, or what could not be looked at.
    fn granting(&self, user: &User, asked: &Attributes) -> Result<(&Place, &Binding), String> {
        let mut missing = Vec::new();
        for (place, binding) in self.bindings_of(user, &asked.namespace) {
            let Some(rules) = self.rules_of(&place.0, &binding.role) else {
                missing.push(binding.role.not_found());
                continue;
            };
            if rules.iter().any(|rule| rule.allows(asked)) {
                return Ok((place, binding));
            }
        }
        Err(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            several => format!("RBAC: [{}]", several.join(", ")),
        })
    }

    /// All rules that a user has in a namespace, or at cluster scope if it is empty; and what could
    /// not be looked at.
    #[must_use]
    pub fn rules_for(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut missing) = (Vec::new(), Vec::new());
        for (place, binding) in self.bindings_of(user, namespace) {
            match self.rules_of(&place.0, &binding.role) {
                Some(found) => rules.extend(found.iter().cloned()),
                None => missing.push(binding.role.not_found()),
            }
        }
        (rules, missing)
    }

    /// The rules of a role that a binding in this namespace names.
    #[must_use]
    pub fn rules_of(&self, namespace: &str, role: &RoleRef) -> Option<&Arc<[Rule]>> {
        let namespace = match role.kind.as_str() {
            "ClusterRole" => "",
            "Role" if !namespace.is_empty() => namespace,
            _ => return None,
        };
        let place = (Arc::from(namespace), Arc::from(role.name.as_str()));
        self.roles.get(&place).map(|role| &role.rules)
    }

    /// Cluster roles that take over the rules of others and do not have just these, with the rules
    /// that they should have.
    #[must_use]
    pub fn outdated_aggregates(&self) -> Vec<(Arc<str>, Vec<Rule>)> {
        let cluster = || self.roles.iter().take_while(|((namespace, _), _)| namespace.is_empty());
        let mut outdated = Vec::new();
        for ((_, name), role) in cluster() {
            let Some(selectors) = &role.aggregates else { continue };
            let mut rules: Vec<Rule> = Vec::new();
            let mut seen: BTreeSet<&Rule> = BTreeSet::new();
            let taken = selectors.iter().flat_map(|selector| {
                cluster().filter(move |(_, other)| selector.selects(&other.labels))
            });
            for (_, found) in taken.filter(|((_, other), _)| other != name) {
                rules.extend(found.rules.iter().filter(|rule| seen.insert(rule)).cloned());
            }
            if *rules != *role.rules {
                outdated.push((Arc::clone(name), rules));
            }
        }
        outdated
    }

    /// Bindings at cluster scope, then those in the namespace.
    fn bindings_of(&self, user: &User, namespace: &str) -> Vec<(&Place, &Binding)> {
        let name = (!user.anonymous()).then_some(("User", &user.name));
        let subjects = name.into_iter().chain(user.groups.iter().map(|group| ("Group", group)));
        let places: BTreeSet<&Place> = subjects
            .filter_map(|(kind, name)| {
                let (kind, name) = (kind.to_owned(), name.clone());
                self.by_subject.get(&Subject { kind, name, namespace: String::new() })
            })
            .flatten()
            .filter(|(within, _)| within.is_empty() || **within == *namespace)
            .collect();
        places.into_iter().filter_map(|place| self.bindings.get_key_value(place)).collect()
    }
}

impl RoleRef {
    fn not_found(&self) -> String {
        format!("{}.{GROUP} {:?} not found", self.kind.to_lowercase(), self.name)
    }
}

impl Subject {
    /// The user or group that is meant: a service account is a user with a name of its own.
    fn called(self) -> Option<Self> {
        let named = |kind: &str, name: String| {
            Some(Self { kind: kind.to_owned(), name, namespace: String::new() })
        };
        match self.kind.as_str() {
            "User" | "Group" => named(&self.kind.clone(), self.name),
            "ServiceAccount" if !self.namespace.is_empty() => {
                named("User", User::account(&self.namespace, &self.name).name)
            }
            _ => None,
        }
    }
}

impl Binding {
    fn reason(&self, (namespace, name): &Place, user: &User) -> String {
        let subject = self.subjects.iter().find(|subject| {
            if subject.kind == "User" {
                subject.name == user.name
            } else {
                user.in_group(&subject.name)
            }
        });
        let subject = subject.map_or_else(String::new, |it| format!("{} {:?}", it.kind, it.name));
        let binding = if namespace.is_empty() {
            format!("ClusterRoleBinding {name:?}")
        } else {
            format!("RoleBinding \"{name}/{namespace}\"")
        };
        let RoleRef { kind, name } = &self.role;
        format!("RBAC: allowed by {binding} of {kind} {name:?} to {subject}")
    }
}

#[cfg(test)]
mod tests;
