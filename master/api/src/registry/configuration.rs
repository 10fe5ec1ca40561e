//! Rows of plain kinds of `v1`: ConfigMap, Secret, ServiceAccount.

use crate::resource::{ALL_VERBS, Class, Resource};
use crate::{defaults, table, validate};

/// Config maps.
pub(super) static CONFIG_MAPS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &[],
    subresources: &[],
    class: Class::Intent,
    fields: &[],
    columns: table::configuration::CONFIG_MAP_COLUMNS,
    cells: table::configuration::config_map_cells,
    defaults: defaults::nothing,
    validate: validate::configuration::config_map,
    validate_update: validate::configuration::update,
    generation: false,
};

/// Secrets.
pub(super) static SECRETS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &[],
    subresources: &[],
    class: Class::Intent,
    fields: &["type"],
    columns: table::configuration::SECRET_COLUMNS,
    cells: table::configuration::secret_cells,
    defaults: defaults::configuration::secret,
    validate: validate::configuration::secret,
    validate_update: validate::configuration::update,
    generation: false,
};

/// Service accounts.
pub(super) static SERVICE_ACCOUNTS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    namespaced: true,
    verbs: ALL_VERBS,
    categories: &[],
    subresources: &[],
    class: Class::Intent,
    fields: &[],
    columns: table::configuration::SERVICE_ACCOUNT_COLUMNS,
    cells: table::configuration::service_account_cells,
    defaults: defaults::nothing,
    validate: validate::nothing,
    validate_update: validate::nothing_changed,
    generation: false,
};
