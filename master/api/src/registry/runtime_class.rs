//! Row of `node.k8s.io/v1`: RuntimeClass.

use crate::resource::Row;
use crate::{table, validate};

/// Ways to run pods.
pub(super) static RUNTIME_CLASSES: Row = Row {
    columns: table::runtime_class::COLUMNS,
    cells: table::runtime_class::cells,
    validate: validate::runtime_class::runtime_class,
    validate_update: validate::runtime_class::update,
    ..Row::cluster("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "runtimeclass")
};
