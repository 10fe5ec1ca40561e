//! Who asks for something.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Group of all who are known.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Group of all who are not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Name of somebody who is not known.
pub const ANONYMOUS: &str = "system:anonymous";
/// Group whose members may do everything.
pub const MASTERS: &str = "system:masters";
/// Group of all nodes.
pub const NODES: &str = "system:nodes";
/// What the name of a node's user starts with.
pub const NODE_PREFIX: &str = "system:node:";
/// What the name of a service account's user starts with.
pub const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// Group of all service accounts; with a colon and a namespace behind it, of those in there.
pub const ACCOUNTS: &str = "system:serviceaccounts";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name; empty for somebody who is not known.
    pub name: String,
    /// Uid, if this kind of user has one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Whatever else is known; keys in lower case.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The user of a service account, without a uid.
    #[must_use]
    pub fn account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("{ACCOUNT_PREFIX}{namespace}:{name}"),
            groups: vec![ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")],
            ..Self::default()
        }
    }

    /// Adds the group of all who are known.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        if !self.in_group(AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// Whether nobody knows who this is.
    #[must_use]
    pub const fn anonymous(&self) -> bool {
        self.name.is_empty()
    }

    /// The node's name if this is a node.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix(NODE_PREFIX).filter(|_| self.in_group(NODES))
    }

    /// Whether this user may do everything.
    #[must_use]
    pub fn administrator(&self) -> bool {
        !self.anonymous() && self.in_group(MASTERS)
    }

    /// Whether the user is a member of a group.
    #[must_use]
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|present| present == group)
    }

    /// Namespace and name of the service account that a user's name stands for.
    #[must_use]
    pub fn account_of(name: &str) -> Option<(&str, &str)> {
        let (namespace, name) = name.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':'))
            .then_some((namespace, name))
    }

    /// The user as `authentication.k8s.io/v1` has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut info = json!({ "username": self.name });
        if let Some(fields) = info.as_object_mut() {
            if !self.uid.is_empty() {
                fields.insert("uid".to_owned(), self.uid.as_str().into());
            }
            if !self.groups.is_empty() {
                fields.insert("groups".to_owned(), json!(self.groups));
            }
            if !self.extra.is_empty() {
                fields.insert("extra".to_owned(), json!(self.extra));
            }
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::User;

    #[test]
    fn node_needs_name_and_group() {
        let user = |name: &str, group: &str| User {
            name: name.to_owned(),
            groups: vec![group.to_owned()],
            ..User::default()
        };
        assert_eq!(user("system:node:pi-2", "system:nodes").node(), Some("pi-2"));
        assert_eq!(user("system:node:pi-2", "system:masters").node(), None);
        assert_eq!(user("pi-2", "system:nodes").node(), None);
        // A group without a name is no identity.
        assert!(!user("", "system:masters").administrator());
    }

    #[test]
    fn only_two_parts_name_an_account() {
        let check = |name: &str, expected| assert_eq!(User::account_of(name), expected, "{name}");
        check("system:serviceaccount:a:b", Some(("a", "b")));
        check("system:serviceaccount:a:b:c", None);
        check("system:serviceaccount:a:", None);
        check("system:serviceaccount::b", None);
        check("a:b", None);
    }
}
