//! Messages of `meta/v1`: object metadata, selectors, conditions, delete options.

use super::{Field, ListType, Message, Package, Type, field, kept};

pub(super) static CONDITION: Message = message(
    "Condition",
    &[
        field(1, "type", Type::String),
        field(2, "status", Type::String),
        field(3, "observedGeneration", Type::Int64),
        field(4, "lastTransitionTime", Type::Time),
        field(5, "reason", Type::String),
        field(6, "message", Type::String),
    ],
);

pub(super) static DELETE_OPTIONS: Message = message(
    "DeleteOptions",
    &[
        kept(1, "gracePeriodSeconds", Type::Int64),
        field(2, "preconditions", Type::Message(&PRECONDITIONS)),
        kept(3, "orphanDependents", Type::Bool),
        kept(4, "propagationPolicy", Type::String),
        field(5, "dryRun", Type::List(&Type::String, ListType::Atomic)),
        kept(6, "ignoreStoreReadErrorWithClusterBreakingPotential", Type::Bool),
    ],
);

pub(super) static LABEL_SELECTOR: Message = atomic(
    "LabelSelector",
    &[
        field(1, "matchLabels", Type::Map(&Type::String)),
        field(
            2,
            "matchExpressions",
            Type::List(&Type::Message(&LABEL_SELECTOR_REQUIREMENT), ListType::Atomic),
        ),
    ],
);

pub(super) static LABEL_SELECTOR_REQUIREMENT: Message = message(
    "LabelSelectorRequirement",
    &[
        field(1, "key", Type::String),
        field(2, "operator", Type::String),
        field(3, "values", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static MANAGED_FIELDS_ENTRY: Message = message(
    "ManagedFieldsEntry",
    &[
        field(1, "manager", Type::String),
        field(2, "operation", Type::String),
        field(3, "apiVersion", Type::String),
        field(4, "time", Type::Time),
        field(6, "fieldsType", Type::String),
        field(7, "fieldsV1", Type::Any),
        field(8, "subresource", Type::String),
    ],
);

pub(super) static OBJECT_META: Message = message(
    "ObjectMeta",
    &[
        field(1, "name", Type::String),
        field(2, "generateName", Type::String),
        field(3, "namespace", Type::String),
        field(4, "selfLink", Type::String),
        field(5, "uid", Type::String),
        field(6, "resourceVersion", Type::String),
        field(7, "generation", Type::Int64),
        field(8, "creationTimestamp", Type::Time),
        field(9, "deletionTimestamp", Type::Time),
        kept(10, "deletionGracePeriodSeconds", Type::Int64),
        field(11, "labels", Type::Map(&Type::String)),
        field(12, "annotations", Type::Map(&Type::String)),
        field(
            13,
            "ownerReferences",
            Type::List(&Type::Message(&OWNER_REFERENCE), ListType::Map(&["uid"])),
        ),
        field(14, "finalizers", Type::List(&Type::String, ListType::Set)),
        field(
            17,
            "managedFields",
            Type::List(&Type::Message(&MANAGED_FIELDS_ENTRY), ListType::Atomic),
        ),
    ],
);

pub(super) static OWNER_REFERENCE: Message = message(
    "OwnerReference",
    &[
        field(1, "kind", Type::String),
        field(3, "name", Type::String),
        field(4, "uid", Type::String),
        field(5, "apiVersion", Type::String),
        kept(6, "controller", Type::Bool),
        kept(7, "blockOwnerDeletion", Type::Bool),
    ],
);

pub(super) static PRECONDITIONS: Message = message(
    "Preconditions",
    &[kept(1, "uid", Type::String), kept(2, "resourceVersion", Type::String)],
);

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { package: Package::Meta, ..super::message(name, fields) }
}

const fn atomic(name: &'static str, fields: &'static [Field]) -> Message {
    Message { package: Package::Meta, ..super::atomic(name, fields) }
}
