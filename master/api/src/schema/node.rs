//! Messages of `v1`: Node.

use super::{ListType, Message, Type, field, kept, message, meta};

pub(super) static ATTACHED_VOLUME: Message = message(
    "AttachedVolume",
    &[field(1, "name", Type::String), field(2, "devicePath", Type::String)],
);

pub(super) static CONFIG_MAP_NODE_CONFIG_SOURCE: Message = message(
    "ConfigMapNodeConfigSource",
    &[
        field(1, "namespace", Type::String),
        field(2, "name", Type::String),
        field(3, "uid", Type::String),
        field(4, "resourceVersion", Type::String),
        field(5, "kubeletConfigKey", Type::String),
    ],
);

pub(super) static CONTAINER_IMAGE: Message = message(
    "ContainerImage",
    &[
        field(1, "names", Type::List(&Type::String, ListType::Atomic)),
        field(2, "sizeBytes", Type::Int64),
    ],
);

pub(super) static DAEMON_ENDPOINT: Message =
    message("DaemonEndpoint", &[field(1, "Port", Type::Int32)]);

pub(super) static NODE: Message = message(
    "Node",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&NODE_SPEC)),
        field(3, "status", Type::Message(&NODE_STATUS)),
    ],
);

pub(super) static NODE_ADDRESS: Message =
    message("NodeAddress", &[field(1, "type", Type::String), field(2, "address", Type::String)]);

pub(super) static NODE_CONDITION: Message = message(
    "NodeCondition",
    &[
        field(1, "type", Type::String),
        field(2, "status", Type::String),
        field(3, "lastHeartbeatTime", Type::Time),
        field(4, "lastTransitionTime", Type::Time),
        field(5, "reason", Type::String),
        field(6, "message", Type::String),
    ],
);

pub(super) static NODE_CONFIG_SOURCE: Message = message(
    "NodeConfigSource",
    &[field(2, "configMap", Type::Message(&CONFIG_MAP_NODE_CONFIG_SOURCE))],
);

pub(super) static NODE_CONFIG_STATUS: Message = message(
    "NodeConfigStatus",
    &[
        field(1, "assigned", Type::Message(&NODE_CONFIG_SOURCE)),
        field(2, "active", Type::Message(&NODE_CONFIG_SOURCE)),
        field(3, "lastKnownGood", Type::Message(&NODE_CONFIG_SOURCE)),
        field(4, "error", Type::String),
    ],
);

pub(super) static NODE_DAEMON_ENDPOINTS: Message =
    message("NodeDaemonEndpoints", &[field(1, "kubeletEndpoint", Type::Message(&DAEMON_ENDPOINT))]);

pub(super) static NODE_FEATURES: Message =
    message("NodeFeatures", &[kept(1, "supplementalGroupsPolicy", Type::Bool)]);

pub(super) static NODE_RUNTIME_HANDLER: Message = message(
    "NodeRuntimeHandler",
    &[
        field(1, "name", Type::String),
        field(2, "features", Type::Message(&NODE_RUNTIME_HANDLER_FEATURES)),
    ],
);

pub(super) static NODE_RUNTIME_HANDLER_FEATURES: Message = message(
    "NodeRuntimeHandlerFeatures",
    &[kept(1, "recursiveReadOnlyMounts", Type::Bool), kept(2, "userNamespaces", Type::Bool)],
);

pub(super) static NODE_SPEC: Message = message(
    "NodeSpec",
    &[
        field(1, "podCIDR", Type::String),
        field(2, "externalID", Type::String),
        field(3, "providerID", Type::String),
        field(4, "unschedulable", Type::Bool),
        field(5, "taints", Type::List(&Type::Message(&TAINT), ListType::Atomic)),
        field(6, "configSource", Type::Message(&NODE_CONFIG_SOURCE)),
        field(7, "podCIDRs", Type::List(&Type::String, ListType::Set)),
    ],
);

pub(super) static NODE_STATUS: Message = message(
    "NodeStatus",
    &[
        field(1, "capacity", Type::Map(&Type::Quantity)),
        field(2, "allocatable", Type::Map(&Type::Quantity)),
        field(3, "phase", Type::String),
        field(
            4,
            "conditions",
            Type::List(&Type::Message(&NODE_CONDITION), ListType::Map(&["type"])),
        ),
        field(5, "addresses", Type::List(&Type::Message(&NODE_ADDRESS), ListType::Map(&["type"]))),
        field(6, "daemonEndpoints", Type::Message(&NODE_DAEMON_ENDPOINTS)),
        field(7, "nodeInfo", Type::Message(&NODE_SYSTEM_INFO)),
        field(8, "images", Type::List(&Type::Message(&CONTAINER_IMAGE), ListType::Atomic)),
        field(9, "volumesInUse", Type::List(&Type::String, ListType::Atomic)),
        field(
            10,
            "volumesAttached",
            Type::List(&Type::Message(&ATTACHED_VOLUME), ListType::Atomic),
        ),
        field(11, "config", Type::Message(&NODE_CONFIG_STATUS)),
        field(
            12,
            "runtimeHandlers",
            Type::List(&Type::Message(&NODE_RUNTIME_HANDLER), ListType::Atomic),
        ),
        field(13, "features", Type::Message(&NODE_FEATURES)),
        field(14, "declaredFeatures", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static NODE_SWAP_STATUS: Message =
    message("NodeSwapStatus", &[kept(1, "capacity", Type::Int64)]);

pub(super) static NODE_SYSTEM_INFO: Message = message(
    "NodeSystemInfo",
    &[
        field(1, "machineID", Type::String),
        field(2, "systemUUID", Type::String),
        field(3, "bootID", Type::String),
        field(4, "kernelVersion", Type::String),
        field(5, "osImage", Type::String),
        field(6, "containerRuntimeVersion", Type::String),
        field(7, "kubeletVersion", Type::String),
        field(8, "kubeProxyVersion", Type::String),
        field(9, "operatingSystem", Type::String),
        field(10, "architecture", Type::String),
        field(11, "swap", Type::Message(&NODE_SWAP_STATUS)),
    ],
);

pub(super) static TAINT: Message = message(
    "Taint",
    &[
        field(1, "key", Type::String),
        field(2, "value", Type::String),
        field(3, "effect", Type::String),
        field(4, "timeAdded", Type::Time),
    ],
);
