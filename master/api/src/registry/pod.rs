//! Row of `v1`: Pod.

use crate::resource::{Handler, Row, Strategy, Subresource};
use crate::{defaults, strategy, table, validate};

/// Pods.
pub(super) static PODS: Row = Row {
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource {
            name: "attach",
            group: "",
            version: "v1",
            kind: "PodAttachOptions",
            verbs: &["create", "get"],
            handler: Handler::Attach,
        },
        Subresource {
            name: "binding",
            group: "",
            version: "v1",
            kind: "Binding",
            verbs: &["create"],
            handler: Handler::Binding,
        },
        Subresource::part("ephemeralcontainers", "Pod", Handler::EphemeralContainers),
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &["create"],
            handler: Handler::Eviction,
        },
        Subresource {
            name: "exec",
            group: "",
            version: "v1",
            kind: "PodExecOptions",
            verbs: &["create", "get"],
            handler: Handler::Exec,
        },
        Subresource {
            name: "log",
            group: "",
            version: "v1",
            kind: "Pod",
            verbs: &["get"],
            handler: Handler::Log,
        },
        Subresource {
            name: "portforward",
            group: "",
            version: "v1",
            kind: "PodPortForwardOptions",
            verbs: &["create", "get"],
            handler: Handler::PortForward,
        },
        Subresource::proxy("PodProxyOptions", Handler::PodProxy),
        Subresource::part("resize", "Pod", Handler::Resize),
        Subresource::status("", "v1", "Pod"),
    ],
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
    validate_create: validate::pod::create,
    validate_update: validate::pod::update,
    generation: true,
    pod_spec: Some("/spec"),
    strategy: Strategy {
        initial_status: strategy::pod::initial_status,
        grace_s: strategy::pod::grace_s,
        ..Strategy::PLAIN
    },
    ..Row::namespaced("", "v1", "Pod", "pods", "pod")
};
