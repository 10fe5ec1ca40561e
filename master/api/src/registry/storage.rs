//! Resources of `storage.k8s.io/v1`.

use crate::resource::{Row, Subresource};
use crate::{defaults, table, validate};

const GROUP: &str = "storage.k8s.io";

/// Ways to provide volumes.
pub(super) static STORAGE_CLASSES: Row = Row {
    short_names: &["sc"],
    columns: table::storage::STORAGE_CLASS,
    cells: table::storage::storage_class,
    defaults: defaults::storage::storage_class,
    validate: validate::storage::storage_class,
    validate_update: validate::storage::storage_class_update,
    ..Row::cluster(GROUP, "v1", "StorageClass", "storageclasses", "storageclass")
};

/// Volumes that are, or are to be, attached to nodes.
pub(super) static VOLUME_ATTACHMENTS: Row = Row {
    subresources: &[Subresource::status(GROUP, "v1", "VolumeAttachment")],
    columns: table::storage::VOLUME_ATTACHMENT,
    cells: table::storage::volume_attachment,
    validate: validate::storage::volume_attachment,
    validate_update: validate::storage::volume_attachment_update,
    ..Row::cluster(GROUP, "v1", "VolumeAttachment", "volumeattachments", "volumeattachment")
};

/// Drivers of volumes.
pub(super) static CSI_DRIVERS: Row = Row {
    columns: table::storage::CSI_DRIVER,
    cells: table::storage::csi_driver,
    defaults: defaults::storage::csi_driver,
    validate_update: validate::storage::csi_driver_update,
    generation: true,
    ..Row::cluster(GROUP, "v1", "CSIDriver", "csidrivers", "csidriver")
};

/// Drivers on a node.
pub(super) static CSI_NODES: Row = Row {
    columns: table::storage::CSI_NODE,
    cells: table::storage::csi_node,
    validate: validate::storage::csi_node,
    ..Row::cluster(GROUP, "v1", "CSINode", "csinodes", "csinode")
};

/// Space that drivers have.
pub(super) static CSI_STORAGE_CAPACITIES: Row = Row {
    columns: table::storage::CSI_STORAGE_CAPACITY,
    cells: table::storage::csi_storage_capacity,
    validate: validate::storage::csi_storage_capacity,
    validate_update: validate::storage::csi_storage_capacity_update,
    ..Row::namespaced(
        GROUP,
        "v1",
        "CSIStorageCapacity",
        "csistoragecapacities",
        "csistoragecapacity",
    )
};

/// Qualities of volumes that may change.
pub(super) static VOLUME_ATTRIBUTES_CLASSES: Row = Row {
    short_names: &["vac"],
    columns: table::storage::VOLUME_ATTRIBUTES_CLASS,
    cells: table::storage::volume_attributes_class,
    validate: validate::storage::volume_attributes_class,
    validate_update: validate::storage::volume_attributes_class_update,
    ..Row::cluster(
        GROUP,
        "v1",
        "VolumeAttributesClass",
        "volumeattributesclasses",
        "volumeattributesclass",
    )
};
