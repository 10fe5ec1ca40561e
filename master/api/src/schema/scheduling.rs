//! Messages of `v1`: affinity, tolerations and spread of a pod.

use super::{ListType, Message, Type, atomic, field, kept, message, meta};

pub(super) static AFFINITY: Message = message(
    "Affinity",
    &[
        field(1, "nodeAffinity", Type::Message(&NODE_AFFINITY)),
        field(2, "podAffinity", Type::Message(&POD_AFFINITY)),
        field(3, "podAntiAffinity", Type::Message(&POD_ANTI_AFFINITY)),
    ],
);

pub(super) static NODE_AFFINITY: Message = message(
    "NodeAffinity",
    &[
        field(1, "requiredDuringSchedulingIgnoredDuringExecution", Type::Message(&NODE_SELECTOR)),
        field(
            2,
            "preferredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Message(&PREFERRED_SCHEDULING_TERM), ListType::Atomic),
        ),
    ],
);

pub(super) static NODE_SELECTOR: Message = atomic(
    "NodeSelector",
    &[field(
        1,
        "nodeSelectorTerms",
        Type::List(&Type::Message(&NODE_SELECTOR_TERM), ListType::Atomic),
    )],
);

pub(super) static NODE_SELECTOR_REQUIREMENT: Message = message(
    "NodeSelectorRequirement",
    &[
        field(1, "key", Type::String),
        field(2, "operator", Type::String),
        field(3, "values", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static NODE_SELECTOR_TERM: Message = atomic(
    "NodeSelectorTerm",
    &[
        field(
            1,
            "matchExpressions",
            Type::List(&Type::Message(&NODE_SELECTOR_REQUIREMENT), ListType::Atomic),
        ),
        field(
            2,
            "matchFields",
            Type::List(&Type::Message(&NODE_SELECTOR_REQUIREMENT), ListType::Atomic),
        ),
    ],
);

pub(super) static POD_AFFINITY: Message = message(
    "PodAffinity",
    &[
        field(
            1,
            "requiredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Message(&POD_AFFINITY_TERM), ListType::Atomic),
        ),
        field(
            2,
            "preferredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Message(&WEIGHTED_POD_AFFINITY_TERM), ListType::Atomic),
        ),
    ],
);

pub(super) static POD_AFFINITY_TERM: Message = message(
    "PodAffinityTerm",
    &[
        field(1, "labelSelector", Type::Message(&meta::LABEL_SELECTOR)),
        field(2, "namespaces", Type::List(&Type::String, ListType::Atomic)),
        field(3, "topologyKey", Type::String),
        field(4, "namespaceSelector", Type::Message(&meta::LABEL_SELECTOR)),
        field(5, "matchLabelKeys", Type::List(&Type::String, ListType::Atomic)),
        field(6, "mismatchLabelKeys", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static POD_ANTI_AFFINITY: Message = message(
    "PodAntiAffinity",
    &[
        field(
            1,
            "requiredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Message(&POD_AFFINITY_TERM), ListType::Atomic),
        ),
        field(
            2,
            "preferredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Message(&WEIGHTED_POD_AFFINITY_TERM), ListType::Atomic),
        ),
    ],
);

pub(super) static PREFERRED_SCHEDULING_TERM: Message = message(
    "PreferredSchedulingTerm",
    &[field(1, "weight", Type::Int32), field(2, "preference", Type::Message(&NODE_SELECTOR_TERM))],
);

pub(super) static TOLERATION: Message = message(
    "Toleration",
    &[
        field(1, "key", Type::String),
        field(2, "operator", Type::String),
        field(3, "value", Type::String),
        field(4, "effect", Type::String),
        kept(5, "tolerationSeconds", Type::Int64),
    ],
);

pub(super) static TOPOLOGY_SPREAD_CONSTRAINT: Message = message(
    "TopologySpreadConstraint",
    &[
        kept(1, "maxSkew", Type::Int32),
        field(2, "topologyKey", Type::String),
        field(3, "whenUnsatisfiable", Type::String),
        field(4, "labelSelector", Type::Message(&meta::LABEL_SELECTOR)),
        kept(5, "minDomains", Type::Int32),
        kept(6, "nodeAffinityPolicy", Type::String),
        kept(7, "nodeTaintsPolicy", Type::String),
        field(8, "matchLabelKeys", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static WEIGHTED_POD_AFFINITY_TERM: Message = message(
    "WeightedPodAffinityTerm",
    &[
        field(1, "weight", Type::Int32),
        field(2, "podAffinityTerm", Type::Message(&POD_AFFINITY_TERM)),
    ],
);
