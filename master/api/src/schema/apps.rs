//! Messages of `apps/v1`: Deployment and ReplicaSet.

use super::{Field, ListType, Message, Package, Type, field, kept, meta, pod, retained};

pub(super) static DEPLOYMENT: Message = message(
    "Deployment",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&DEPLOYMENT_SPEC)),
        field(3, "status", Type::Message(&DEPLOYMENT_STATUS)),
    ],
);

pub(super) static DEPLOYMENT_CONDITION: Message = message(
    "DeploymentCondition",
    &[
        field(1, "type", Type::String),
        field(2, "status", Type::String),
        field(4, "reason", Type::String),
        field(5, "message", Type::String),
        field(6, "lastUpdateTime", Type::Time),
        field(7, "lastTransitionTime", Type::Time),
    ],
);

pub(super) static DEPLOYMENT_SPEC: Message = message(
    "DeploymentSpec",
    &[
        kept(1, "replicas", Type::Int32),
        field(2, "selector", Type::Message(&meta::LABEL_SELECTOR)),
        field(3, "template", Type::Message(&pod::POD_TEMPLATE_SPEC)),
        retained(4, "strategy", Type::Message(&DEPLOYMENT_STRATEGY)),
        field(5, "minReadySeconds", Type::Int32),
        kept(6, "revisionHistoryLimit", Type::Int32),
        field(7, "paused", Type::Bool),
        kept(9, "progressDeadlineSeconds", Type::Int32),
    ],
);

pub(super) static DEPLOYMENT_STATUS: Message = message(
    "DeploymentStatus",
    &[
        field(1, "observedGeneration", Type::Int64),
        field(2, "replicas", Type::Int32),
        field(3, "updatedReplicas", Type::Int32),
        field(4, "availableReplicas", Type::Int32),
        field(5, "unavailableReplicas", Type::Int32),
        field(
            6,
            "conditions",
            Type::List(&Type::Message(&DEPLOYMENT_CONDITION), ListType::Map(&["type"])),
        ),
        field(7, "readyReplicas", Type::Int32),
        kept(8, "collisionCount", Type::Int32),
        kept(9, "terminatingReplicas", Type::Int32),
    ],
);

pub(super) static DEPLOYMENT_STRATEGY: Message = message(
    "DeploymentStrategy",
    &[
        field(1, "type", Type::String),
        field(2, "rollingUpdate", Type::Message(&ROLLING_UPDATE_DEPLOYMENT)),
    ],
);

pub(super) static REPLICA_SET: Message = message(
    "ReplicaSet",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&REPLICA_SET_SPEC)),
        field(3, "status", Type::Message(&REPLICA_SET_STATUS)),
    ],
);

pub(super) static REPLICA_SET_CONDITION: Message = message(
    "ReplicaSetCondition",
    &[
        field(1, "type", Type::String),
        field(2, "status", Type::String),
        field(3, "lastTransitionTime", Type::Time),
        field(4, "reason", Type::String),
        field(5, "message", Type::String),
    ],
);

pub(super) static REPLICA_SET_SPEC: Message = message(
    "ReplicaSetSpec",
    &[
        kept(1, "replicas", Type::Int32),
        field(2, "selector", Type::Message(&meta::LABEL_SELECTOR)),
        field(3, "template", Type::Message(&pod::POD_TEMPLATE_SPEC)),
        field(4, "minReadySeconds", Type::Int32),
    ],
);

pub(super) static REPLICA_SET_STATUS: Message = message(
    "ReplicaSetStatus",
    &[
        kept(1, "replicas", Type::Int32),
        field(2, "fullyLabeledReplicas", Type::Int32),
        field(3, "observedGeneration", Type::Int64),
        field(4, "readyReplicas", Type::Int32),
        field(5, "availableReplicas", Type::Int32),
        field(
            6,
            "conditions",
            Type::List(&Type::Message(&REPLICA_SET_CONDITION), ListType::Map(&["type"])),
        ),
        kept(7, "terminatingReplicas", Type::Int32),
    ],
);

pub(super) static ROLLING_UPDATE_DEPLOYMENT: Message = message(
    "RollingUpdateDeployment",
    &[field(1, "maxUnavailable", Type::IntOrString), field(2, "maxSurge", Type::IntOrString)],
);

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { package: Package::Apps, ..super::message(name, fields) }
}
