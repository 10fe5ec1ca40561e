//! What the cores want done: a closed list of actions.
//!
//! The shell executes them through its object service, in order. An action names the object by uid and by
//! the resource version that it was decided on; when either no longer fits, the shell drops the
//! action and the next run of the controller decides again. Nothing here retries.

use std::sync::Arc;

use serde_json::Value;

use crate::view::condition::Condition;
use crate::view::endpoint_slice::EndpointSlice;
use crate::view::meta::{Meta, OwnerReference};
use crate::view::node::Taint;
use crate::view::resource::Resource;

/// An existing object, as it was when the decision was taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The object's resource.
    pub resource: Resource,
    /// Its namespace; empty for cluster-scoped resources.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its uid: a precondition of every action.
    pub uid: Arc<str>,
    /// The revision at which it was read: a precondition of every action.
    pub resource_version: u64,
}

impl Target {
    /// Names the object that `meta` belongs to.
    #[must_use]
    pub fn of(resource: &Resource, meta: &Meta) -> Self {
        Self {
            resource: resource.clone(),
            namespace: Arc::clone(&meta.namespace),
            name: Arc::clone(&meta.name),
            uid: Arc::clone(&meta.uid),
            resource_version: meta.resource_version,
        }
    }
}

/// How the dependents of a deleted object are treated, in Kubernetes' sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes at once, its dependents later.
    Background,
    /// Dependents first.
    Foreground,
    /// Dependents stay, without their owner.
    Orphan,
}

impl Propagation {
    /// The API's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// Whether an event reports something ordinary or something wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

impl EventKind {
    /// The API's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing that the shell is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates an object. `object` is complete but for what defaulting adds; an existing object of
    /// that name is a conflict, cured by the next run.
    Create {
        /// The resource to create in.
        resource: Resource,
        /// The namespace; empty for cluster-scoped resources.
        namespace: Arc<str>,
        /// The object as JSON, with `apiVersion` and `kind`.
        object: Value,
    },
    /// Applies a JSON merge patch (RFC 7386) to an object's metadata and spec.
    Update {
        /// The object.
        target: Target,
        /// The patch, from the object's root.
        patch: Value,
    },
    /// Applies a JSON merge patch to an object through its `status` subresource.
    UpdateStatus {
        /// The object.
        target: Target,
        /// The patch, from the object's root: `{"status": ...}`.
        patch: Value,
    },
    /// Merges conditions into `status.conditions` by type; the others stay as they are.
    SetConditions {
        /// The object.
        target: Target,
        /// The conditions that change.
        conditions: Vec<Condition>,
    },
    /// Deletes an object, with uid and resource version as preconditions.
    Delete {
        /// The object.
        target: Target,
        /// Grace for a pod in seconds: `None` is the pod's own, `Some(0)` removes it at once.
        grace_seconds: Option<i64>,
        /// What happens to dependents; `None` is the resource's default.
        propagation: Option<Propagation>,
    },
    /// Deletes a pod because its node is lost or tainted, or to make room, after setting its `DisruptionTarget`
    /// condition. Unlike a user's eviction it does not ask disruption budgets.
    Evict {
        /// The pod.
        target: Target,
        /// The node that it is evicted from.
        node: Arc<str>,
        /// The condition's reason, such as `DeletionByTaintManager`.
        reason: &'static str,
        /// The condition's message.
        message: String,
    },
    /// Binds a pending pod to a node through its `binding` subresource.
    Bind {
        /// The pod. A pod is never bound twice: the shell refuses when `spec.nodeName` is set.
        target: Target,
        /// The node's name.
        node: Arc<str>,
        /// The node's uid, so that a namesake joined since does not get the pod.
        node_uid: Arc<str>,
    },
    /// Says on which node room is being made for a pod, or that none is, and merges conditions.
    Nominate {
        /// The pod.
        target: Target,
        /// The node's name.
        node: Option<Arc<str>>,
        /// The conditions that change.
        conditions: Vec<Condition>,
    },
    /// Records an event. It follows the action that it tells of, and is to be recorded only if that
    /// one succeeded.
    Event {
        /// What the event is about. Its resource version is information, not a precondition.
        involved: Target,
        /// The kind of the involved object, such as `Pod`.
        involved_kind: &'static str,
        /// `Normal` or `Warning`.
        kind: EventKind,
        /// The reason in CamelCase, such as `FailedScheduling`.
        reason: &'static str,
        /// What happened, for people.
        message: String,
        /// The component that reports it, such as `deployment-controller`.
        component: &'static str,
    },
    /// Sets a condition to true, with what went wrong as its message, if the action that it follows
    /// failed; else nothing.
    ConditionIfFailed {
        /// The object that the condition is about.
        target: Target,
        /// The condition.
        kind: &'static str,
        /// Its reason.
        reason: &'static str,
    },
    /// Replaces all taints of a node.
    SetNodeTaints {
        /// The node.
        target: Target,
        /// The complete new list.
        taints: Vec<Taint>,
    },
    /// Creates (`target` is `None`) or replaces an endpoint slice.
    ReplaceEndpointSlice {
        /// The present slice.
        target: Option<Target>,
        /// The namespace.
        namespace: Arc<str>,
        /// The complete wanted slice; serializes as the API object.
        slice: Box<EndpointSlice>,
    },
    /// Counts anew what the namespace of a quota uses, and writes it into the quota's status.
    RecountQuota {
        /// The quota.
        target: Target,
    },
    /// Removes one entry of `metadata.finalizers`.
    RemoveFinalizer {
        /// The object.
        target: Target,
        /// The finalizer.
        finalizer: Arc<str>,
    },
    /// Removes one entry of a namespace's `spec.finalizers` through its `finalize` subresource.
    FinalizeNamespace {
        /// The namespace.
        target: Target,
        /// The finalizer.
        finalizer: Arc<str>,
    },
    /// Replaces the owner references of an object: adoption, release and orphaning.
    SetOwnerReferences {
        /// The object.
        target: Target,
        /// The complete new list.
        owner_references: Vec<OwnerReference>,
    },
}

impl Action {
    /// The namespace that it creates something in.
    #[must_use]
    pub fn creates_in(&self) -> Option<&str> {
        if let Self::Create { namespace, .. }
        | Self::ReplaceEndpointSlice { target: None, namespace, .. } = self
        {
            return Some(namespace);
        }
        None
    }

    /// Whether it only tells how the action went that it follows.
    #[must_use]
    pub const fn tells(&self) -> bool {
        matches!(self, Self::Event { .. } | Self::ConditionIfFailed { .. })
    }

    /// The existing object that this action changes; `None` for creations.
    #[must_use]
    pub const fn target(&self) -> Option<&Target> {
        match self {
            Self::Create { .. } => None,
            Self::Update { target, .. }
            | Self::UpdateStatus { target, .. }
            | Self::SetConditions { target, .. }
            | Self::Delete { target, .. }
            | Self::Evict { target, .. }
            | Self::Bind { target, .. }
            | Self::Nominate { target, .. }
            | Self::RecountQuota { target }
            | Self::SetNodeTaints { target, .. }
            | Self::RemoveFinalizer { target, .. }
            | Self::FinalizeNamespace { target, .. }
            | Self::SetOwnerReferences { target, .. }
            | Self::ConditionIfFailed { target, .. }
            | Self::Event { involved: target, .. } => Some(target),
            Self::ReplaceEndpointSlice { target, .. } => target.as_ref(),
        }
    }
}
