//! Resources of `v1` that have no module of their own.

use serde_json::json;

use crate::resource::{Row, Strategy, Subresource};
use crate::{defaults, table, validate};

/// Replication controllers.
pub(super) static REPLICATION_CONTROLLERS: Row = Row {
    short_names: &["rc"],
    categories: &["all"],
    subresources: &[Subresource::status("", "v1", "ReplicationController"), Subresource::scale()],
    fields: &["status.replicas"],
    columns: table::core::REPLICATION_CONTROLLER,
    cells: table::core::replication_controller,
    defaults: defaults::workload::replication_controller,
    validate: validate::workload::replication_controller,
    generation: true,
    pod_spec: Some("/spec/template/spec"),
    strategy: Strategy {
        initial_status: |_| json!({"replicas": 0}),
        orphans: true,
        ..Strategy::PLAIN
    },
    ..Row::namespaced(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        "replicationcontroller",
    )
};

/// Persistent volumes.
pub(super) static PERSISTENT_VOLUMES: Row = Row {
    short_names: &["pv"],
    subresources: &[Subresource::status("", "v1", "PersistentVolume")],
    fields: &["name"],
    columns: table::core::PERSISTENT_VOLUME,
    cells: table::core::persistent_volume,
    defaults: defaults::core::persistent_volume,
    validate: validate::core::persistent_volume,
    validate_update: validate::core::persistent_volume_update,
    strategy: Strategy { initial_status: |_| json!({"phase": "Pending"}), ..Strategy::PLAIN },
    ..Row::cluster("", "v1", "PersistentVolume", "persistentvolumes", "persistentvolume")
};

/// Claims of persistent volumes.
pub(super) static PERSISTENT_VOLUME_CLAIMS: Row = Row {
    short_names: &["pvc"],
    subresources: &[Subresource::status("", "v1", "PersistentVolumeClaim")],
    fields: &["name"],
    columns: table::core::PERSISTENT_VOLUME_CLAIM,
    cells: table::core::persistent_volume_claim,
    defaults: defaults::core::persistent_volume_claim,
    validate: validate::core::persistent_volume_claim,
    validate_update: validate::core::persistent_volume_claim_update,
    strategy: Strategy { initial_status: |_| json!({"phase": "Pending"}), ..Strategy::PLAIN },
    ..Row::namespaced(
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "persistentvolumeclaim",
    )
};

/// Quotas of namespaces.
pub(super) static RESOURCE_QUOTAS: Row = Row {
    short_names: &["quota"],
    subresources: &[Subresource::status("", "v1", "ResourceQuota")],
    columns: table::core::RESOURCE_QUOTA,
    cells: table::core::resource_quota,
    validate: validate::core::resource_quota,
    validate_update: validate::core::resource_quota_update,
    ..Row::namespaced("", "v1", "ResourceQuota", "resourcequotas", "resourcequota")
};

/// Limits of what objects of a namespace may ask for.
pub(super) static LIMIT_RANGES: Row = Row {
    short_names: &["limits"],
    columns: table::CREATED_AT_COLUMNS,
    cells: table::created_at_cells,
    defaults: defaults::core::limit_range,
    validate: validate::core::limit_range,
    ..Row::namespaced("", "v1", "LimitRange", "limitranges", "limitrange")
};

/// Templates of pods.
pub(super) static POD_TEMPLATES: Row = Row {
    columns: table::core::POD_TEMPLATE,
    cells: table::core::pod_template,
    defaults: defaults::core::pod_template,
    validate: validate::core::pod_template,
    pod_spec: Some("/template/spec"),
    generation: true,
    ..Row::namespaced("", "v1", "PodTemplate", "podtemplates", "podtemplate")
};

/// Addresses of services, as they were before slices.
pub(super) static ENDPOINTS: Row = Row {
    short_names: &["ep"],
    columns: table::core::ENDPOINTS,
    cells: table::core::endpoints,
    defaults: defaults::core::endpoints,
    validate: validate::core::endpoints,
    ..Row::namespaced("", "v1", "Endpoints", "endpoints", "endpoints")
};
