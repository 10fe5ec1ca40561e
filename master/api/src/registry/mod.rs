//! The resources that an API has: a descriptor each, found by path or by kind.
//!
//! A set of them is never changed. What comes and goes while the program runs makes another set,
//! and whoever answers a request holds one to its end.
//!
//! A new plain kind is a descriptor in the module of its group here, and what it has of columns,
//! defaults and rules in the module of the same name in `table`, `defaults` and `validate`.

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod configuration;
mod coordination;
mod core;
mod discovery;
mod dynamic_resources;
mod event;
mod flowcontrol;
mod namespace;
mod networking;
mod node;
mod pod;
mod policy;
mod rbac;
mod review;
mod runtime_class;
mod scheduling;
mod service;
mod storage;

use std::sync::{Arc, LazyLock};

use crate::resource::{Resource, Row};

/// Core first, then by group; of more than one form of the same objects the kept one first.
static ROWS: &[&Row] = &[
    &configuration::CONFIG_MAPS,
    &core::ENDPOINTS,
    &event::EVENTS,
    &core::LIMIT_RANGES,
    &namespace::NAMESPACES,
    &node::NODES,
    &core::PERSISTENT_VOLUME_CLAIMS,
    &core::PERSISTENT_VOLUMES,
    &pod::PODS,
    &core::POD_TEMPLATES,
    &core::REPLICATION_CONTROLLERS,
    &core::RESOURCE_QUOTAS,
    &configuration::SECRETS,
    &configuration::SERVICE_ACCOUNTS,
    &service::SERVICES,
    &admissionregistration::MUTATING_POLICIES,
    &admissionregistration::MUTATING_BINDINGS,
    &admissionregistration::MUTATING_WEBHOOKS,
    &admissionregistration::VALIDATING_POLICIES,
    &admissionregistration::VALIDATING_BINDINGS,
    &admissionregistration::VALIDATING_WEBHOOKS,
    &apiextensions::DEFINITIONS,
    &apiregistration::API_SERVICES,
    &apps::CONTROLLER_REVISIONS,
    &apps::DAEMON_SETS,
    &apps::DEPLOYMENTS,
    &apps::REPLICA_SETS,
    &apps::STATEFUL_SETS,
    &review::SELF_SUBJECT_REVIEWS,
    &review::TOKEN_REVIEWS,
    &review::LOCAL_SUBJECT_ACCESS_REVIEWS,
    &review::SELF_SUBJECT_ACCESS_REVIEWS,
    &review::SELF_SUBJECT_RULES_REVIEWS,
    &review::SUBJECT_ACCESS_REVIEWS,
    &autoscaling::AUTOSCALERS,
    &autoscaling::AUTOSCALERS_V1,
    &batch::CRON_JOBS,
    &batch::JOBS,
    &certificates::SIGNING_REQUESTS,
    &coordination::LEASES,
    &discovery::ENDPOINT_SLICES,
    &event::EVENTS_OF_GROUP,
    &flowcontrol::FLOW_SCHEMAS,
    &flowcontrol::PRIORITY_LEVELS,
    &networking::INGRESS_CLASSES,
    &networking::INGRESSES,
    &networking::IP_ADDRESSES,
    &networking::NETWORK_POLICIES,
    &networking::SERVICE_CIDRS,
    &runtime_class::RUNTIME_CLASSES,
    &policy::POD_DISRUPTION_BUDGETS,
    &rbac::CLUSTER_ROLE_BINDINGS,
    &rbac::CLUSTER_ROLES,
    &rbac::ROLE_BINDINGS,
    &rbac::ROLES,
    &dynamic_resources::DEVICE_CLASSES,
    &dynamic_resources::RESOURCE_CLAIMS,
    &dynamic_resources::RESOURCE_CLAIM_TEMPLATES,
    &dynamic_resources::RESOURCE_SLICES,
    &scheduling::PRIORITY_CLASSES,
    &storage::CSI_DRIVERS,
    &storage::CSI_NODES,
    &storage::CSI_STORAGE_CAPACITIES,
    &storage::STORAGE_CLASSES,
    &storage::VOLUME_ATTACHMENTS,
    &storage::VOLUME_ATTRIBUTES_CLASSES,
];

/// A set of resources.
#[derive(Debug)]
pub struct Registry {
    /// Core first, then by group; of more than one form of the same objects the kept one first.
    resources: Vec<Arc<Resource>>,
}

static BUILT_IN: LazyLock<Arc<Registry>> = LazyLock::new(|| {
    let resources = ROWS.iter().map(|row| Arc::new(Resource::built_in(row))).collect();
    Arc::new(Registry { resources })
});

/// The set of what is built in.
#[must_use]
pub fn built_in() -> &'static Arc<Registry> {
    &BUILT_IN
}

/// Every built-in resource.
#[must_use]
pub fn all() -> &'static [Arc<Resource>] {
    BUILT_IN.all()
}

/// Finds the built-in resource of a path.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Arc<Resource>> {
    BUILT_IN.find(group, version, plural)
}

/// Finds the built-in resource of a kind.
#[must_use]
pub fn by_kind(group: &str, kind: &str) -> Option<&'static Arc<Resource>> {
    BUILT_IN.by_kind(group, kind)
}

impl Registry {
    /// What is built in and these; of more than one form of the same objects the kept one comes
    /// first.
    #[must_use]
    pub fn with(custom: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        Self { resources: BUILT_IN.resources.iter().cloned().chain(custom).collect() }
    }

    /// Every resource; core first, then by group.
    #[must_use]
    pub fn all(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// Finds the resource of a path.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| {
            resource.group == group && resource.version == version && resource.plural == plural
        })
    }

    /// Finds the resource of a kind, in the form in which it is kept if there are more.
    #[must_use]
    pub fn by_kind(&self, group: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| resource.group == group && resource.kind == kind)
    }

    /// Finds the resource of a name, in the form in which it is kept if there are more.
    #[must_use]
    pub fn kept(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| resource.group == group && resource.plural == plural)
    }
}

#[cfg(test)]
mod tests;
