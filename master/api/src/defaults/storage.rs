//! Defaults of StorageClass and CSIDriver.

use serde_json::{Map, Value, json};

use super::object_mut;
use crate::object::default;

/// A way to provide volumes.
pub(crate) fn storage_class(fields: &mut Map<String, Value>) {
    default(fields, "reclaimPolicy", "Delete");
    default(fields, "volumeBindingMode", "Immediate");
}

/// A driver of volumes.
pub(crate) fn csi_driver(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "attachRequired", true);
    default(spec, "podInfoOnMount", false);
    default(spec, "storageCapacity", false);
    default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default(spec, "volumeLifecycleModes", json!(["Persistent"]));
    default(spec, "requiresRepublish", false);
    default(spec, "seLinuxMount", false);
}
