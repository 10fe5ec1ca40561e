//! All resources that this API has: a descriptor each, found by path or by kind.
//!
//! A new plain kind is a descriptor in the module of its group here, and what it has of columns,
//! defaults and rules in the module of the same name in `table`, `defaults` and `validate`.

mod admissionregistration;
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

use crate::resource::Resource;

/// Core first, then by group; of more than one form of the same objects the kept one first.
static ALL: &[&Resource] = &[
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

/// Every resource; core first, then by group.
#[must_use]
pub fn all() -> &'static [&'static Resource] {
    ALL
}

/// Finds the resource of a path.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|resource| {
        resource.group == group && resource.version == version && resource.plural == plural
    })
}

/// Finds the resource of a kind.
#[must_use]
pub fn by_kind(group: &str, kind: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|resource| resource.group == group && resource.kind == kind)
}

#[cfg(test)]
mod tests;
