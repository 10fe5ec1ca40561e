//! Resources of `resource.k8s.io/v1`: devices and claims of them.

use crate::resource::{Row, Subresource};
use crate::{defaults, table, validate};

const GROUP: &str = "resource.k8s.io";

/// Kinds of devices.
pub(super) static DEVICE_CLASSES: Row = Row {
    generation: true,
    ..Row::cluster(GROUP, "v1", "DeviceClass", "deviceclasses", "deviceclass")
};

/// Claims of devices.
pub(super) static RESOURCE_CLAIMS: Row = Row {
    subresources: &[Subresource::status(GROUP, "v1", "ResourceClaim")],
    columns: table::dynamic_resources::CLAIM,
    cells: table::dynamic_resources::claim,
    defaults: defaults::dynamic_resources::claim,
    validate_update: validate::dynamic_resources::spec_unchanged,
    ..Row::namespaced(GROUP, "v1", "ResourceClaim", "resourceclaims", "resourceclaim")
};

/// Templates of claims.
pub(super) static RESOURCE_CLAIM_TEMPLATES: Row = Row {
    defaults: defaults::dynamic_resources::claim_template,
    validate_update: validate::dynamic_resources::spec_unchanged,
    ..Row::namespaced(
        GROUP,
        "v1",
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        "resourceclaimtemplate",
    )
};

/// Devices of nodes.
pub(super) static RESOURCE_SLICES: Row = Row {
    fields: &["spec.driver", "spec.nodeName"],
    columns: table::dynamic_resources::SLICE,
    cells: table::dynamic_resources::slice,
    validate: validate::dynamic_resources::slice,
    validate_update: validate::dynamic_resources::slice_update,
    generation: true,
    ..Row::cluster(GROUP, "v1", "ResourceSlice", "resourceslices", "resourceslice")
};
