//! Row of `v1`: Pod.

use crate::resource::{ALL_VERBS, Class, Resource, Subresource};
use crate::{defaults, table, validate};

/// Pods.
pub(super) static PODS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &["all"],
    subresources: &[
        Subresource {
            name: "binding",
            group: "",
            version: "v1",
            kind: "Binding",
            verbs: &["create"],
        },
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &["create"],
        },
        Subresource { name: "log", group: "", version: "v1", kind: "Pod", verbs: &["get"] },
        Subresource::status("", "v1", "Pod"),
    ],
    class: Class::Intent,
    fields: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ],
    columns: table::pod::COLUMNS,
    cells: table::pod::cells,
    defaults: defaults::pod::pod,
    validate: validate::pod::pod,
    validate_update: validate::pod::update,
    generation: true,
};
