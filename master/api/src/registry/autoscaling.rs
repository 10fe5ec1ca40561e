//! Resources of `autoscaling`: horizontal autoscalers, kept as version 2 and served as 1, too.

use crate::resource::{Row, Storage, Subresource};
use crate::{convert, defaults, table, validate};

/// What both versions share.
const BASE: Row = Row {
    short_names: &["hpa"],
    categories: &["all"],
    ..Row::namespaced(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
    )
};

/// Horizontal autoscalers, as they are kept.
pub(super) static AUTOSCALERS: Row = Row {
    subresources: &[Subresource::status("autoscaling", "v2", "HorizontalPodAutoscaler")],
    columns: table::autoscaling::COLUMNS,
    cells: table::autoscaling::cells,
    defaults: defaults::autoscaling::autoscaler,
    validate: validate::autoscaling::autoscaler,
    ..BASE
};

/// The same in their first version, which knows of processor use only.
pub(super) static AUTOSCALERS_V1: Row = Row {
    version: "v1",
    subresources: &[Subresource::status("autoscaling", "v1", "HorizontalPodAutoscaler")],
    columns: table::PLAIN_COLUMNS,
    cells: table::plain_cells,
    defaults: defaults::autoscaling::autoscaler_v1,
    validate: validate::autoscaling::autoscaler_v1,
    storage: Some(Storage {
        group: "autoscaling",
        read: convert::autoscaling::to_v1,
        write: convert::autoscaling::from_v1,
    }),
    ..BASE
};
