//! What is asked for, as the authorizer sees it: a verb, and an object or a path.

use std::fmt;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `create`, ...; of a path, the method in lower case.
    pub verb: String,
    /// The path, if it is none of an object; everything below is empty then.
    pub path: String,
    /// Group, empty for core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Part of the object; empty for the object itself.
    pub subresource: String,
    /// Namespace; empty for cluster scope or all namespaces.
    pub namespace: String,
    /// Name; empty for all.
    pub name: String,
}

impl Attributes {
    /// A request for a path that is none of an object.
    #[must_use]
    pub fn of_path(verb: &str, path: &str) -> Self {
        Self { verb: verb.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    /// Whether it is about objects.
    #[must_use]
    pub const fn is_resource(&self) -> bool {
        self.path.is_empty()
    }

    /// Resource with its part, as rules have it: `pods`, `pods/log`.
    #[must_use]
    pub fn combined(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Says that a user may not do this, in upstream's words.
    #[must_use]
    pub fn refusal(&self, user: &str, reason: &str) -> String {
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("User {user:?} cannot {self}{because}")
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, path, group, namespace, .. } = self;
        if !self.is_resource() {
            return write!(f, "{verb} path {path:?}");
        }
        write!(f, "{verb} resource {:?} in API group {group:?} ", self.combined())?;
        if namespace.is_empty() {
            write!(f, "at the cluster scope")
        } else {
            write!(f, "in the namespace {namespace:?}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Attributes;

    #[test]
    fn refusals_are_in_upstreams_words() {
        let own = |text: &str| text.to_owned();
        let mut asked = Attributes {
            verb: own("list"),
            version: own("v1"),
            resource: own("pods"),
            namespace: own("y"),
            ..Attributes::default()
        };
        assert_eq!(
            asked.refusal("x", ""),
            r#"User "x" cannot list resource "pods" in API group "" in the namespace "y""#
        );
        asked.namespace.clear();
        asked.subresource = own("log");
        assert_eq!(
            asked.refusal("x", "RBAC: none"),
            r#"User "x" cannot list resource "pods/log" in API group "" at the cluster scope: RBAC: none"#
        );
        let path = Attributes::of_path("get", "/metrics");
        assert_eq!(path.refusal("x", ""), r#"User "x" cannot get path "/metrics""#);
    }
}
