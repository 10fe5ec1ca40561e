//! Rows of `apps/v1`: Deployment and ReplicaSet.

use crate::resource::{ALL_VERBS, Class, Resource, Subresource};
use crate::{defaults, table, validate};

/// Deployments.
pub(super) static DEPLOYMENTS: Resource = Resource {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &["all"],
    subresources: &[Subresource::status("apps", "v1", "Deployment"), Subresource::scale()],
    class: Class::Intent,
    fields: &[],
    columns: table::deployment::COLUMNS,
    cells: table::deployment::cells,
    defaults: defaults::workload::deployment,
    validate: validate::workload::deployment,
    validate_update: validate::workload::selector_unchanged,
    generation: true,
};

/// Replica sets.
pub(super) static REPLICA_SETS: Resource = Resource {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &["all"],
    subresources: &[Subresource::status("apps", "v1", "ReplicaSet"), Subresource::scale()],
    class: Class::Intent,
    fields: &["status.replicas"],
    columns: table::replica_set::COLUMNS,
    cells: table::replica_set::cells,
    defaults: defaults::workload::replica_set,
    validate: validate::workload::replica_set,
    validate_update: validate::workload::selector_unchanged,
    generation: true,
};
