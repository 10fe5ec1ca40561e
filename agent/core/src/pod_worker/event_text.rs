//! Events about a pod in the kubelet's words.

use bramble_shared::link::{Event as PodEvent, Pod};

use super::Action;

/// Makes events about one pod.
#[derive(Clone, Debug)]
pub(super) struct EventText {
    namespace: String,
    name: String,
    uid: String,
}

impl EventText {
    pub(super) fn new(pod: &Pod) -> Self {
        Self { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: pod.uid.clone() }
    }

    /// `name_namespace(uid)`, as the kubelet names a pod in messages.
    pub(super) fn pod(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    pub(super) fn normal(&self, field_path: &str, reason: &str, message: &str) -> Action {
        self.event(field_path, false, reason, message)
    }

    pub(super) fn warning(&self, field_path: &str, reason: &str, message: &str) -> Action {
        self.event(field_path, true, reason, message)
    }

    fn event(&self, field_path: &str, warning: bool, reason: &str, message: &str) -> Action {
        Action::EmitEvent(PodEvent {
            namespace: self.namespace.clone(),
            pod: self.name.clone(),
            uid: self.uid.clone(),
            field_path: field_path.to_owned(),
            warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        })
    }
}
