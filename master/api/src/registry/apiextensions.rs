//! Row of `apiextensions.k8s.io/v1`: CustomResourceDefinition.

use crate::custom::{GROUP, PLURAL};
use crate::resource::{Row, Strategy, Subresource};
use crate::strategy::custom_resource_definition as definition;
use crate::{defaults, table, validate};

const KIND: &str = "CustomResourceDefinition";

/// Definitions of custom resources.
pub(super) static DEFINITIONS: Row = Row {
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    subresources: &[Subresource::status(GROUP, "v1", KIND)],
    columns: table::CREATED_AT_COLUMNS,
    cells: table::created_at_cells,
    defaults: defaults::apiextensions::definition,
    validate: validate::apiextensions::definition,
    validate_update: validate::apiextensions::update,
    generation: true,
    strategy: Strategy {
        initial_status: definition::initial_status,
        prepare_update: definition::prepare_update,
        deleting: definition::deleting,
        unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Row::cluster(GROUP, "v1", KIND, PLURAL, "customresourcedefinition")
};
