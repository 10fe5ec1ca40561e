//! Resources of `rbac.authorization.k8s.io/v1`.

use crate::resource::{Row, Strategy};
use crate::validate::names;
use crate::{defaults, table, validate};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Names such as `system:node` are right here.
const STRATEGY: Strategy = Strategy { name: names::path_segment, grants: true, ..Strategy::PLAIN };

/// What may be done in a namespace.
pub(super) static ROLES: Row = Row {
    columns: table::CREATED_AT_COLUMNS,
    cells: table::created_at_cells,
    validate: validate::rbac::role,
    strategy: STRATEGY,
    ..Row::namespaced(GROUP, "v1", "Role", "roles", "role")
};

/// Who may do it in a namespace.
pub(super) static ROLE_BINDINGS: Row = Row {
    columns: table::rbac::BINDING,
    cells: table::rbac::binding,
    defaults: defaults::rbac::binding,
    validate: validate::rbac::role_binding,
    validate_update: validate::rbac::binding_update,
    strategy: STRATEGY,
    ..Row::namespaced(GROUP, "v1", "RoleBinding", "rolebindings", "rolebinding")
};

/// What may be done anywhere.
pub(super) static CLUSTER_ROLES: Row = Row {
    columns: table::CREATED_AT_COLUMNS,
    cells: table::created_at_cells,
    validate: validate::rbac::cluster_role,
    strategy: STRATEGY,
    ..Row::cluster(GROUP, "v1", "ClusterRole", "clusterroles", "clusterrole")
};

/// Who may do it anywhere.
pub(super) static CLUSTER_ROLE_BINDINGS: Row = Row {
    columns: table::rbac::BINDING,
    cells: table::rbac::binding,
    defaults: defaults::rbac::binding,
    validate: validate::rbac::cluster_role_binding,
    validate_update: validate::rbac::binding_update,
    strategy: STRATEGY,
    ..Row::cluster(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding")
};
