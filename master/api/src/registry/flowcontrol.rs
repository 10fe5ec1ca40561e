//! Resources of `flowcontrol.apiserver.k8s.io/v1`: served, and without effect on this server.

use crate::resource::{Row, Subresource};
use crate::{defaults, table, validate};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Which requests belong together.
pub(super) static FLOW_SCHEMAS: Row = Row {
    subresources: &[Subresource::status(GROUP, "v1", "FlowSchema")],
    columns: table::flowcontrol::FLOW_SCHEMA,
    cells: table::flowcontrol::flow_schema,
    defaults: defaults::flowcontrol::flow_schema,
    validate: validate::flowcontrol::flow_schema,
    generation: true,
    ..Row::cluster(GROUP, "v1", "FlowSchema", "flowschemas", "flowschema")
};

/// How many of them are served at once.
pub(super) static PRIORITY_LEVELS: Row = Row {
    subresources: &[Subresource::status(GROUP, "v1", "PriorityLevelConfiguration")],
    columns: table::flowcontrol::PRIORITY_LEVEL,
    cells: table::flowcontrol::priority_level,
    defaults: defaults::flowcontrol::priority_level,
    validate: validate::flowcontrol::priority_level,
    generation: true,
    ..Row::cluster(
        GROUP,
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        "prioritylevelconfiguration",
    )
};
