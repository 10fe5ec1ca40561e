//! Row of `apiregistration.k8s.io/v1`: APIService.

use crate::resource::{Row, Strategy, Subresource};
use crate::{table, validate};

const GROUP: &str = "apiregistration.k8s.io";

/// Versions of groups that are served, here or elsewhere.
pub(super) static API_SERVICES: Row = Row {
    categories: &["api-extensions"],
    subresources: &[Subresource::status(GROUP, "v1", "APIService")],
    columns: table::apiregistration::API_SERVICE,
    cells: table::apiregistration::api_service,
    validate: validate::apiregistration::api_service,
    strategy: Strategy { unconditional_update: false, ..Strategy::PLAIN },
    ..Row::cluster(GROUP, "v1", "APIService", "apiservices", "apiservice")
};
