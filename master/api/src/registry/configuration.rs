//! Rows of plain kinds of `v1`: ConfigMap, Secret, ServiceAccount.

use crate::resource::{Handler, Row, Subresource};
use crate::{defaults, table, validate};

/// Config maps.
pub(super) static CONFIG_MAPS: Row = Row {
    short_names: &["cm"],
    columns: table::configuration::CONFIG_MAP_COLUMNS,
    cells: table::configuration::config_map_cells,
    validate: validate::configuration::config_map,
    validate_update: validate::configuration::update,
    ..Row::namespaced("", "v1", "ConfigMap", "configmaps", "configmap")
};

/// Secrets.
pub(super) static SECRETS: Row = Row {
    fields: &["type"],
    columns: table::configuration::SECRET_COLUMNS,
    cells: table::configuration::secret_cells,
    defaults: defaults::configuration::secret,
    validate: validate::configuration::secret,
    validate_update: validate::configuration::update,
    ..Row::namespaced("", "v1", "Secret", "secrets", "secret")
};

/// Service accounts.
pub(super) static SERVICE_ACCOUNTS: Row = Row {
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
        handler: Handler::Token,
    }],
    columns: table::configuration::SERVICE_ACCOUNT_COLUMNS,
    cells: table::configuration::service_account_cells,
    ..Row::namespaced("", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount")
};
