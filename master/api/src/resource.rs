//! A resource of the API as one row of data: names, scope, verbs, subresources, and the
//! functions that default, validate and print its objects.

use serde_json::{Map, Value};

use crate::schema::{self, Message};
use crate::status::FieldError;
use crate::table::Column;

/// How durable changes of a resource have to be; the store's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What a client was told is stored, is stored.
    Intent,
    /// In memory only: events and leases.
    Volatile,
}

/// One resource of the API.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty is core.
    pub group: &'static str,
    /// Version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Pod`.
    pub kind: &'static str,
    /// Name in paths, such as `pods`.
    pub plural: &'static str,
    /// Name of one, such as `pod`.
    pub singular: &'static str,
    /// Abbreviations that kubectl accepts.
    pub short_names: &'static [&'static str],
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
    /// Groups of kinds that kubectl accepts, such as `all`.
    pub categories: &'static [&'static str],
    /// What is below an object's path.
    pub subresources: &'static [Subresource],
    /// Durability of its objects.
    pub class: Class,
    /// Fields that a field selector may name, beyond `metadata.name` and `metadata.namespace`.
    pub fields: &'static [&'static str],
    /// Columns of the printed table.
    pub columns: &'static [Column],
    /// Cells of one printed row, as many as there are columns; time in seconds since 1970.
    pub cells: fn(&Value, i64) -> Vec<Value>,
    /// Fills in what the user left out.
    pub defaults: fn(&mut Map<String, Value>),
    /// Finds what is wrong with an object, metadata aside.
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// Finds what an update (old, new) must not change.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
}

/// One subresource, such as `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    /// Last part of the path.
    pub name: &'static str,
    /// Group of what is sent and answered.
    pub group: &'static str,
    /// Version of what is sent and answered.
    pub version: &'static str,
    /// Kind of what is sent and answered.
    pub kind: &'static str,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
}

/// Verbs of a resource that can be stored.
pub(crate) const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of `status` and `scale`.
pub(crate) const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

impl Resource {
    /// Group and version as an object's `apiVersion` has them.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Kind of a list of its objects.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Name with the group, as messages have it: `pods`, `deployments.apps`.
    #[must_use]
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Kind with the group, as messages have it: `Pod`, `Deployment.apps`.
    #[must_use]
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// Store key of an object; the namespace of cluster-scoped objects is empty.
    #[must_use]
    pub fn key(&self, namespace: &str, name: &str) -> String {
        format!("{}{name}", self.namespace_prefix(namespace))
    }

    /// What the store keys of all its objects start with.
    #[must_use]
    pub fn prefix(&self) -> String {
        let group = if self.group.is_empty() { "core" } else { self.group };
        format!("/{group}/{}/", self.plural)
    }

    /// What the store keys of its objects in a namespace start with.
    #[must_use]
    pub fn namespace_prefix(&self, namespace: &str) -> String {
        let namespace = if namespace.is_empty() { "_" } else { namespace };
        format!("{}{namespace}/", self.prefix())
    }

    /// Finds a subresource.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Message of its objects.
    #[must_use]
    pub fn schema(&self) -> Option<Message<'static>> {
        schema::built_in().find(self.group, self.version, self.kind)
    }

    /// Whether status is written apart from the rest.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

impl Subresource {
    /// The `status` subresource of a kind.
    #[must_use]
    pub(crate) const fn status(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
    ) -> Self {
        Self { name: "status", group, version, kind, verbs: STATUS_VERBS }
    }

    /// The `scale` subresource.
    #[must_use]
    pub(crate) const fn scale() -> Self {
        Self {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: STATUS_VERBS,
        }
    }
}
