//! Rules for the kinds of `storage.k8s.io`.

use serde_json::Value;

use super::errors::Errors;
use super::{all_unchanged, one_of, required};
use crate::object;
use crate::status::FieldError;

pub(crate) fn storage_class(object: &Value) -> Vec<FieldError> {
    let mut errors = required(object, &["provisioner"]);
    let policy = object::text(object, "/reclaimPolicy");
    errors.extend(one_of("reclaimPolicy".to_owned(), policy, &["Delete", "Retain"]));
    let mode = object::text(object, "/volumeBindingMode");
    let known = ["Immediate", "WaitForFirstConsumer"];
    errors.extend(one_of("volumeBindingMode".to_owned(), mode, &known));
    errors
}

pub(crate) fn storage_class_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let fixed = ["provisioner", "reclaimPolicy", "volumeBindingMode"];
    let mut errors = all_unchanged(old, new, &fixed);
    if old.get("parameters") != new.get("parameters") {
        let detail = "updates to parameters are forbidden.";
        errors.push(FieldError::forbidden("parameters", detail));
    }
    errors
}

pub(crate) fn volume_attachment(object: &Value) -> Vec<FieldError> {
    let mut errors = required(object, &["spec.attacher", "spec.nodeName"]);
    let inline = object.pointer("/spec/source/inlineVolumeSpec").is_some();
    let named = object.pointer("/spec/source/persistentVolumeName").is_some();
    if inline == named {
        let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        errors.push(FieldError::required("spec.source", detail));
    }
    errors
}

pub(crate) fn volume_attachment_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["spec"])
}

pub(crate) fn csi_driver_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["spec.attachRequired", "spec.volumeLifecycleModes"])
}

pub(crate) fn csi_node(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    for (index, driver) in object::items(object, "/spec/drivers").iter().enumerate() {
        let wrong = required(driver, &["name", "nodeID"]);
        let parent = format!("spec.drivers[{index}]");
        errors.extend(wrong.into_iter().map(|error| error.below(&parent)));
    }
    errors.list()
}

pub(crate) fn csi_storage_capacity(object: &Value) -> Vec<FieldError> {
    required(object, &["storageClassName"])
}

pub(crate) fn csi_storage_capacity_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["storageClassName", "nodeTopology"])
}

pub(crate) fn volume_attributes_class(object: &Value) -> Vec<FieldError> {
    required(object, &["driverName"])
}

pub(crate) fn volume_attributes_class_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["driverName", "parameters"])
}
