//! Resources of `apps/v1`.

use serde_json::json;

use crate::resource::{Row, Strategy, Subresource};
use crate::{defaults, table, validate};

/// Deployments.
pub(super) static DEPLOYMENTS: Row = Row {
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[Subresource::status("apps", "v1", "Deployment"), Subresource::scale()],
    columns: table::deployment::COLUMNS,
    cells: table::deployment::cells,
    defaults: defaults::workload::deployment,
    validate: validate::workload::deployment,
    validate_update: validate::workload::selector_unchanged,
    generation: true,
    pod_spec: Some("/spec/template/spec"),
    ..Row::namespaced("apps", "v1", "Deployment", "deployments", "deployment")
};

/// Replica sets.
pub(super) static REPLICA_SETS: Row = Row {
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[Subresource::status("apps", "v1", "ReplicaSet"), Subresource::scale()],
    fields: &["status.replicas"],
    columns: table::replica_set::COLUMNS,
    cells: table::replica_set::cells,
    defaults: defaults::workload::replica_set,
    validate: validate::workload::replica_set,
    validate_update: validate::workload::selector_unchanged,
    generation: true,
    pod_spec: Some("/spec/template/spec"),
    strategy: Strategy { initial_status: |_| json!({"replicas": 0}), ..Strategy::PLAIN },
    ..Row::namespaced("apps", "v1", "ReplicaSet", "replicasets", "replicaset")
};

/// Stateful sets.
pub(super) static STATEFUL_SETS: Row = Row {
    short_names: &["sts"],
    categories: &["all"],
    subresources: &[Subresource::status("apps", "v1", "StatefulSet"), Subresource::scale()],
    columns: table::apps::STATEFUL_SET,
    cells: table::apps::stateful_set,
    defaults: defaults::workload::stateful_set,
    validate: validate::workload::stateful_set,
    validate_update: validate::workload::stateful_set_update,
    generation: true,
    pod_spec: Some("/spec/template/spec"),
    strategy: Strategy {
        initial_status: |_| json!({"replicas": 0, "availableReplicas": 0}),
        ..Strategy::PLAIN
    },
    ..Row::namespaced("apps", "v1", "StatefulSet", "statefulsets", "statefulset")
};

/// Daemon sets.
pub(super) static DAEMON_SETS: Row = Row {
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[Subresource::status("apps", "v1", "DaemonSet")],
    columns: table::apps::DAEMON_SET,
    cells: table::apps::daemon_set,
    defaults: defaults::workload::daemon_set,
    validate: validate::workload::daemon_set,
    validate_update: validate::workload::selector_unchanged,
    generation: true,
    pod_spec: Some("/spec/template/spec"),
    strategy: Strategy {
        initial_status: |_| {
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0,
                "desiredNumberScheduled": 0, "numberReady": 0})
        },
        ..Strategy::PLAIN
    },
    ..Row::namespaced("apps", "v1", "DaemonSet", "daemonsets", "daemonset")
};

/// Revisions of stateful sets and daemon sets.
pub(super) static CONTROLLER_REVISIONS: Row = Row {
    columns: table::apps::CONTROLLER_REVISION,
    cells: table::apps::controller_revision,
    validate: validate::workload::controller_revision,
    validate_update: validate::workload::controller_revision_update,
    ..Row::namespaced(
        "apps",
        "v1",
        "ControllerRevision",
        "controllerrevisions",
        "controllerrevision",
    )
};
