//! Resources of `scheduling.k8s.io/v1`.

use crate::resource::Row;
use crate::{defaults, table, validate};

/// Priorities of pods.
pub(super) static PRIORITY_CLASSES: Row = Row {
    short_names: &["pc"],
    columns: table::scheduling::PRIORITY_CLASS,
    cells: table::scheduling::priority_class,
    defaults: defaults::scheduling::priority_class,
    validate: validate::priority_class::priority_class,
    validate_update: validate::priority_class::update,
    generation: true,
    ..Row::cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "priorityclass")
};
