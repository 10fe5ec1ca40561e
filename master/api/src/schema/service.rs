//! Messages of `v1`: Service.

use super::{ListType, Message, Type, field, kept, message, meta, pod};

pub(super) static LOAD_BALANCER_INGRESS: Message = message(
    "LoadBalancerIngress",
    &[
        field(1, "ip", Type::String),
        field(2, "hostname", Type::String),
        kept(3, "ipMode", Type::String),
        field(4, "ports", Type::List(&Type::Message(&PORT_STATUS), ListType::Atomic)),
    ],
);

pub(super) static LOAD_BALANCER_STATUS: Message = message(
    "LoadBalancerStatus",
    &[field(1, "ingress", Type::List(&Type::Message(&LOAD_BALANCER_INGRESS), ListType::Atomic))],
);

pub(super) static PORT_STATUS: Message = message(
    "PortStatus",
    &[
        kept(1, "port", Type::Int32),
        field(2, "protocol", Type::String),
        field(3, "error", Type::String),
    ],
);

pub(super) static SERVICE: Message = message(
    "Service",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&SERVICE_SPEC)),
        field(3, "status", Type::Message(&SERVICE_STATUS)),
    ],
);

pub(super) static SERVICE_PORT: Message = message(
    "ServicePort",
    &[
        field(1, "name", Type::String),
        field(2, "protocol", Type::String),
        kept(3, "port", Type::Int32),
        field(4, "targetPort", Type::IntOrString),
        field(5, "nodePort", Type::Int32),
        kept(6, "appProtocol", Type::String),
    ],
);

pub(super) static SERVICE_SPEC: Message = message(
    "ServiceSpec",
    &[
        field(
            1,
            "ports",
            Type::List(&Type::Message(&SERVICE_PORT), ListType::Map(&["port", "protocol"])),
        ),
        field(2, "selector", Type::AtomicMap(&Type::String)),
        field(3, "clusterIP", Type::String),
        field(4, "type", Type::String),
        field(5, "externalIPs", Type::List(&Type::String, ListType::Atomic)),
        field(7, "sessionAffinity", Type::String),
        field(8, "loadBalancerIP", Type::String),
        field(9, "loadBalancerSourceRanges", Type::List(&Type::String, ListType::Atomic)),
        field(10, "externalName", Type::String),
        field(11, "externalTrafficPolicy", Type::String),
        field(12, "healthCheckNodePort", Type::Int32),
        field(13, "publishNotReadyAddresses", Type::Bool),
        field(14, "sessionAffinityConfig", Type::Message(&SESSION_AFFINITY_CONFIG)),
        kept(17, "ipFamilyPolicy", Type::String),
        field(18, "clusterIPs", Type::List(&Type::String, ListType::Atomic)),
        field(19, "ipFamilies", Type::List(&Type::String, ListType::Atomic)),
        kept(20, "allocateLoadBalancerNodePorts", Type::Bool),
        kept(21, "loadBalancerClass", Type::String),
        kept(22, "internalTrafficPolicy", Type::String),
        kept(23, "trafficDistribution", Type::String),
    ],
);

pub(super) static SERVICE_STATUS: Message = message(
    "ServiceStatus",
    &[
        field(1, "loadBalancer", Type::Message(&LOAD_BALANCER_STATUS)),
        field(
            2,
            "conditions",
            Type::List(&Type::Message(&meta::CONDITION), ListType::Map(&["type"])),
        ),
    ],
);

pub(super) static SESSION_AFFINITY_CONFIG: Message = message(
    "SessionAffinityConfig",
    &[field(1, "clientIP", Type::Message(&pod::CLIENT_IP_CONFIG))],
);
