//! Row of `v1`: Service.

use serde_json::json;

use crate::resource::{Handler, Holds, Row, Strategy, Subresource};
use crate::validate::names;
use crate::{defaults, table, validate};

/// Services.
pub(super) static SERVICES: Row = Row {
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[
        Subresource::proxy("ServiceProxyOptions", Handler::ServiceProxy),
        Subresource::status("", "v1", "Service"),
    ],
    fields: &["spec.clusterIP", "spec.type"],
    columns: table::service::COLUMNS,
    cells: table::service::cells,
    defaults: defaults::service::service,
    validate: validate::service::service,
    validate_update: validate::service::update,
    strategy: Strategy {
        name: names::dns_1035_label,
        initial_status: |_| json!({"loadBalancer": {}}),
        holds: Holds::ServiceAddresses,
        ..Strategy::PLAIN
    },
    ..Row::namespaced("", "v1", "Service", "services", "service")
};
