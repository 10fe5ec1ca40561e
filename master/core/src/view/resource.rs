//! Resources, object keys, and the store keys that combine them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A resource: API group and plural name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The plural name, such as `pods`.
    pub plural: Cow<'static, str>,
}

impl Resource {
    /// `pods`.
    pub const PODS: Self = Self::constant("", "pods");
    /// `nodes`.
    pub const NODES: Self = Self::constant("", "nodes");
    /// `services`.
    pub const SERVICES: Self = Self::constant("", "services");
    /// `namespaces`.
    pub const NAMESPACES: Self = Self::constant("", "namespaces");
    /// `serviceaccounts`.
    pub const SERVICE_ACCOUNTS: Self = Self::constant("", "serviceaccounts");
    /// `configmaps`.
    pub const CONFIG_MAPS: Self = Self::constant("", "configmaps");
    /// `events`.
    pub const EVENTS: Self = Self::constant("", "events");
    /// `replicasets.apps`.
    pub const REPLICA_SETS: Self = Self::constant("apps", "replicasets");
    /// `deployments.apps`.
    pub const DEPLOYMENTS: Self = Self::constant("apps", "deployments");
    /// `statefulsets.apps`.
    pub const STATEFUL_SETS: Self = Self::constant("apps", "statefulsets");
    /// `daemonsets.apps`.
    pub const DAEMON_SETS: Self = Self::constant("apps", "daemonsets");
    /// `controllerrevisions.apps`.
    pub const CONTROLLER_REVISIONS: Self = Self::constant("apps", "controllerrevisions");
    /// `jobs.batch`.
    pub const JOBS: Self = Self::constant("batch", "jobs");
    /// `cronjobs.batch`.
    pub const CRON_JOBS: Self = Self::constant("batch", "cronjobs");
    /// `replicationcontrollers`.
    pub const REPLICATION_CONTROLLERS: Self = Self::constant("", "replicationcontrollers");
    /// `endpoints`.
    pub const ENDPOINTS: Self = Self::constant("", "endpoints");
    /// `endpointslices.discovery.k8s.io`.
    pub const ENDPOINT_SLICES: Self = Self::constant("discovery.k8s.io", "endpointslices");
    /// `poddisruptionbudgets.policy`.
    pub const POD_DISRUPTION_BUDGETS: Self = Self::constant("policy", "poddisruptionbudgets");
    /// `persistentvolumes`.
    pub const PERSISTENT_VOLUMES: Self = Self::constant("", "persistentvolumes");
    /// `persistentvolumeclaims`.
    pub const PERSISTENT_VOLUME_CLAIMS: Self = Self::constant("", "persistentvolumeclaims");
    /// `storageclasses.storage.k8s.io`.
    pub const STORAGE_CLASSES: Self = Self::constant("storage.k8s.io", "storageclasses");
    /// `resourcequotas`.
    pub const RESOURCE_QUOTAS: Self = Self::constant("", "resourcequotas");

    const fn constant(group: &'static str, plural: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), plural: Cow::Borrowed(plural) }
    }

    /// Names a resource; well-known names cost no allocation.
    #[must_use]
    pub fn new(group: &str, plural: &str) -> Self {
        let known = KNOWN.iter().find(|known| known.group == group && known.plural == plural);
        known.cloned().unwrap_or_else(|| Self {
            group: Cow::Owned(group.to_owned()),
            plural: Cow::Owned(plural.to_owned()),
        })
    }
}

/// The resources that this crate names itself: naming them again shares these strings.
static KNOWN: [Resource; 22] = [
    Resource::PODS,
    Resource::NODES,
    Resource::SERVICES,
    Resource::NAMESPACES,
    Resource::EVENTS,
    Resource::SERVICE_ACCOUNTS,
    Resource::CONFIG_MAPS,
    Resource::REPLICA_SETS,
    Resource::STATEFUL_SETS,
    Resource::DAEMON_SETS,
    Resource::CONTROLLER_REVISIONS,
    Resource::JOBS,
    Resource::CRON_JOBS,
    Resource::REPLICATION_CONTROLLERS,
    Resource::DEPLOYMENTS,
    Resource::ENDPOINTS,
    Resource::ENDPOINT_SLICES,
    Resource::POD_DISRUPTION_BUDGETS,
    Resource::PERSISTENT_VOLUMES,
    Resource::PERSISTENT_VOLUME_CLAIMS,
    Resource::STORAGE_CLASSES,
    Resource::RESOURCE_QUOTAS,
];

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            write!(formatter, "{}", self.plural)
        } else {
            write!(formatter, "{}.{}", self.plural, self.group)
        }
    }
}

/// Namespace and name of an object; the namespace is empty for cluster-scoped resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace, or empty.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Makes a key from borrowed parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: Arc::from(namespace), name: Arc::from(name) }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(formatter, "{}", self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

/// An object of any resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The resource.
    pub resource: Resource,
    /// Namespace and name.
    pub key: ObjectKey,
}

impl ObjectId {
    /// Reads a store key `/{group or core}/{plural}/{namespace or _}/{name}`; `None` if it has
    /// another shape. Names may hold further slashes only in the last part, as no API name does.
    #[must_use]
    pub fn from_store_key(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix('/')?.splitn(4, '/');
        let (group, plural) = (parts.next()?, parts.next()?);
        let (namespace, name) = (parts.next()?, parts.next()?);
        if plural.is_empty() || name.is_empty() || group.is_empty() || namespace.is_empty() {
            return None;
        }
        let group = if group == "core" { "" } else { group };
        let namespace = if namespace == "_" { "" } else { namespace };
        Some(Self { resource: Resource::new(group, plural), key: ObjectKey::new(namespace, name) })
    }

    /// Writes the store key.
    #[must_use]
    pub fn to_store_key(&self) -> String {
        let group = if self.resource.group.is_empty() { "core" } else { &*self.resource.group };
        let namespace = if self.key.namespace.is_empty() { "_" } else { &*self.key.namespace };
        format!("/{group}/{}/{namespace}/{}", self.resource.plural, self.key.name)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.resource, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_keys_survive_a_round_trip() {
        for key in ["/core/pods/default/web-1", "/core/nodes/_/pi-1", "/apps/deployments/a/b"] {
            assert_eq!(ObjectId::from_store_key(key).unwrap().to_store_key(), key);
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        for key in ["", "/", "core/pods/a/b", "/core/pods/a", "/core//a/b", "/core/pods/a/"] {
            assert_eq!(ObjectId::from_store_key(key), None, "{key}");
        }
    }
}
