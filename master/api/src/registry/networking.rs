//! Resources of `networking.k8s.io/v1`.

use crate::resource::{Row, Strategy, Subresource};
use crate::{defaults, table, validate};

const GROUP: &str = "networking.k8s.io";

/// Ways in, by host and path.
pub(super) static INGRESSES: Row = Row {
    short_names: &["ing"],
    subresources: &[Subresource::status(GROUP, "v1", "Ingress")],
    columns: table::networking::INGRESS,
    cells: table::networking::ingress,
    validate: validate::networking::ingress,
    generation: true,
    strategy: Strategy {
        initial_status: |_| serde_json::json!({"loadBalancer": {}}),
        ..Strategy::PLAIN
    },
    ..Row::namespaced(GROUP, "v1", "Ingress", "ingresses", "ingress")
};

/// Who makes ingresses work.
pub(super) static INGRESS_CLASSES: Row = Row {
    columns: table::networking::INGRESS_CLASS,
    cells: table::networking::ingress_class,
    defaults: defaults::networking::ingress_class,
    validate: validate::networking::ingress_class,
    validate_update: validate::networking::ingress_class_update,
    generation: true,
    ..Row::cluster(GROUP, "v1", "IngressClass", "ingressclasses", "ingressclass")
};

/// Who may talk to whom.
pub(super) static NETWORK_POLICIES: Row = Row {
    short_names: &["netpol"],
    columns: table::networking::NETWORK_POLICY,
    cells: table::networking::network_policy,
    defaults: defaults::networking::network_policy,
    validate: validate::networking::network_policy,
    generation: true,
    ..Row::namespaced(GROUP, "v1", "NetworkPolicy", "networkpolicies", "networkpolicy")
};

/// Ranges that cluster addresses are dealt from.
pub(super) static SERVICE_CIDRS: Row = Row {
    subresources: &[Subresource::status(GROUP, "v1", "ServiceCIDR")],
    columns: table::networking::SERVICE_CIDR,
    cells: table::networking::service_cidr,
    validate: validate::networking::service_cidr,
    validate_update: validate::networking::service_cidr_update,
    ..Row::cluster(GROUP, "v1", "ServiceCIDR", "servicecidrs", "servicecidr")
};

/// Cluster addresses that are taken.
pub(super) static IP_ADDRESSES: Row = Row {
    short_names: &["ip"],
    fields: &["spec.parentRef.name"],
    columns: table::networking::IP_ADDRESS,
    cells: table::networking::ip_address,
    validate: validate::networking::ip_address,
    validate_update: validate::networking::ip_address_update,
    strategy: Strategy { name: validate::networking::ip_address_name, ..Strategy::PLAIN },
    ..Row::cluster(GROUP, "v1", "IPAddress", "ipaddresses", "ipaddress")
};
