//! Messages of `v1` without much structure: Namespace, ConfigMap, Secret, Event, ServiceAccount, Binding.

use super::{ListType, Message, Type, field, kept, message, meta, pod};

pub(super) static BINDING: Message = message(
    "Binding",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "target", Type::Message(&pod::OBJECT_REFERENCE)),
    ],
);

pub(super) static CONFIG_MAP: Message = message(
    "ConfigMap",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "data", Type::Map(&Type::String)),
        field(3, "binaryData", Type::Map(&Type::Bytes)),
        kept(4, "immutable", Type::Bool),
    ],
);

pub(super) static EVENT: Message = message(
    "Event",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "involvedObject", Type::Message(&pod::OBJECT_REFERENCE)),
        field(3, "reason", Type::String),
        field(4, "message", Type::String),
        field(5, "source", Type::Message(&EVENT_SOURCE)),
        field(6, "firstTimestamp", Type::Time),
        field(7, "lastTimestamp", Type::Time),
        field(8, "count", Type::Int32),
        field(9, "type", Type::String),
        field(10, "eventTime", Type::MicroTime),
        field(11, "series", Type::Message(&EVENT_SERIES)),
        field(12, "action", Type::String),
        field(13, "related", Type::Message(&pod::OBJECT_REFERENCE)),
        field(14, "reportingComponent", Type::String),
        field(15, "reportingInstance", Type::String),
    ],
);

pub(super) static EVENT_SERIES: Message = message(
    "EventSeries",
    &[field(1, "count", Type::Int32), field(2, "lastObservedTime", Type::MicroTime)],
);

pub(super) static EVENT_SOURCE: Message =
    message("EventSource", &[field(1, "component", Type::String), field(2, "host", Type::String)]);

pub(super) static NAMESPACE: Message = message(
    "Namespace",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&NAMESPACE_SPEC)),
        field(3, "status", Type::Message(&NAMESPACE_STATUS)),
    ],
);

pub(super) static NAMESPACE_CONDITION: Message = message(
    "NamespaceCondition",
    &[
        field(1, "type", Type::String),
        field(2, "status", Type::String),
        field(4, "lastTransitionTime", Type::Time),
        field(5, "reason", Type::String),
        field(6, "message", Type::String),
    ],
);

pub(super) static NAMESPACE_SPEC: Message = message(
    "NamespaceSpec",
    &[field(1, "finalizers", Type::List(&Type::String, ListType::Atomic))],
);

pub(super) static NAMESPACE_STATUS: Message = message(
    "NamespaceStatus",
    &[
        field(1, "phase", Type::String),
        field(
            2,
            "conditions",
            Type::List(&Type::Message(&NAMESPACE_CONDITION), ListType::Map(&["type"])),
        ),
    ],
);

pub(super) static SECRET: Message = message(
    "Secret",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "data", Type::Map(&Type::Bytes)),
        field(3, "type", Type::String),
        field(4, "stringData", Type::Map(&Type::String)),
        kept(5, "immutable", Type::Bool),
    ],
);

pub(super) static SERVICE_ACCOUNT: Message = message(
    "ServiceAccount",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(
            2,
            "secrets",
            Type::List(&Type::Message(&pod::OBJECT_REFERENCE), ListType::Map(&["name"])),
        ),
        field(
            3,
            "imagePullSecrets",
            Type::List(&Type::Message(&pod::LOCAL_OBJECT_REFERENCE), ListType::Atomic),
        ),
        kept(4, "automountServiceAccountToken", Type::Bool),
    ],
);
