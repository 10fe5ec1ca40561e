//! Admission: who looks at a write beside whether its object is valid, in which order.
//!
//! ```text
//! decode -> default -> mutate, each in turn -> validate -> validate, each in turn -> transaction
//! ```
//! **A plug-in is one file here and one line in [`Chain::new`].** Rules that need nothing but the
//! object are `bramble_master_core::access`'s or `bramble_api`'s; a plug-in brings them what they
//! need of the store.

mod default_storage_class;
mod escalation;
mod limit_ranger;
mod namespace_lifecycle;
mod notes;
mod pod_security;
mod priority;
mod resource_quota;
mod runtime_class;
mod service_account;
mod signing_requests;
mod storage_protection;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bramble_api::pod_security::Level;
use bramble_api::{Resource, Status};
use bramble_master_core::access::user::User;
use serde_json::Value;

use super::allocation::Exchange;
use super::{Objects, WriteOptions, meta};
use crate::access::Authorizer;

pub(crate) use notes::Notes;

/// What an administrator decides about admission.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdmissionConfig {
    /// Level of pods in namespaces that do not say.
    pub(crate) pod_security_default: Level,
    /// Whether pods need a service account. They do wherever a controller makes the default ones.
    pub(crate) service_accounts: bool,
    /// Says what users may do; without it nobody is asked whether he gives away too much.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
}

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It is to go.
    Delete,
}

/// A write that wants to be admitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    /// What is to be done.
    pub(super) operation: Operation,
    /// Of which resource the object is.
    pub(super) resource: &'a Resource,
    /// The part that is written, such as `status`; none for the object itself.
    pub(super) subresource: Option<&'static str>,
    /// Namespace of the object; empty for cluster scope.
    pub(super) namespace: &'a str,
    /// The object as it is; none for a new one.
    pub(super) old: Option<&'a Value>,
    /// Who asks; none for the master itself.
    pub(super) user: Option<&'a User>,
}

/// What those who admitted a write have to say about it.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// For the client's eyes.
    pub(super) warnings: Vec<String>,
    /// For the audit log, by key.
    pub(super) audit: Vec<(&'static str, String)>,
    /// What the transaction takes besides, such as a part of a quota. When somebody else was faster
    /// there, all of the second half is asked again.
    pub(super) exchange: Exchange,
}

/// One who looks at writes.
#[async_trait]
pub(super) trait Plugin: Debug + Send + Sync {
    /// Whether it looks at such a write at all.
    fn concerns(&self, attempt: &Attempt<'_>) -> bool;

    /// Changes the object, or refuses it, before it is checked whether it is valid. On a deletion the
    /// object is the one that goes, and changes are lost.
    async fn mutate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let _ = (objects, attempt, object);
        Ok(())
    }

    /// Refuses an object that is valid; may be asked again about the same write.
    async fn validate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &Value,
        verdict: &mut Verdict,
    ) -> Result<(), Status> {
        let _ = (objects, attempt, object, verdict);
        Ok(())
    }
}

/// All who look at writes.
#[derive(Debug)]
pub(super) struct Chain {
    plugins: Vec<Box<dyn Plugin>>,
}

impl Chain {
    /// In upstream's order.
    pub(super) fn new(config: &AdmissionConfig) -> Self {
        let mut plugins: Vec<Box<dyn Plugin>> = Vec::new();
        plugins.push(Box::new(namespace_lifecycle::NamespaceLifecycle));
        plugins.push(Box::new(limit_ranger::LimitRanger));
        if config.service_accounts {
            plugins.push(Box::new(service_account::ServiceAccount));
        }
        plugins.push(Box::new(pod_security::PodSecurity { default: config.pod_security_default }));
        plugins.push(Box::new(priority::Priority));
        plugins.push(Box::new(storage_protection::StorageProtection));
        plugins.push(Box::new(runtime_class::RuntimeClass));
        plugins.push(Box::new(default_storage_class::DefaultStorageClass));
        if let Some(authorizer) = &config.authorizer {
            let authorizer = || Arc::clone(authorizer);
            plugins.push(Box::new(escalation::Escalation { authorizer: authorizer() }));
            let authorizer = authorizer();
            plugins.push(Box::new(signing_requests::SigningRequests { authorizer }));
        }
        // Last, so that nothing is counted that is refused.
        plugins.push(Box::new(resource_quota::ResourceQuota));
        Self { plugins }
    }

    /// The first half: before it is checked whether the object is valid.
    ///
    /// # Errors
    ///
    /// What the first one says that refuses.
    pub(super) async fn mutate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        for plugin in self.plugins.iter().filter(|plugin| plugin.concerns(attempt)) {
            plugin.mutate(objects, attempt, object).await?;
        }
        Ok(())
    }

    /// The second half: of a valid object.
    ///
    /// # Errors
    ///
    /// What the first one says that refuses.
    pub(super) async fn validate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &Value,
    ) -> Result<Verdict, Status> {
        let mut verdict = Verdict::default();
        for plugin in self.plugins.iter().filter(|plugin| plugin.concerns(attempt)) {
            plugin.validate(objects, attempt, object, &mut verdict).await?;
        }
        Ok(verdict)
    }
}

impl<'a> Attempt<'a> {
    /// Whether the object is of a built-in resource.
    fn of(&self, resource: &Resource) -> bool {
        std::ptr::eq(self.resource, resource)
    }

    /// A new object.
    pub(super) fn create(
        resource: &'a Resource,
        namespace: &'a str,
        options: &'a WriteOptions,
    ) -> Self {
        let user = options.user.as_deref();
        let operation = Operation::Create;
        Self { operation, resource, subresource: None, namespace, old: None, user }
    }

    /// A change of an object.
    pub(super) fn update(
        resource: &'a Resource,
        subresource: Option<&'static str>,
        old: &'a Value,
        options: &'a WriteOptions,
    ) -> Self {
        let (namespace, user) = (meta::text(old, "namespace"), options.user.as_deref());
        let operation = Operation::Update;
        Self { operation, resource, subresource, namespace, old: Some(old), user }
    }

    /// The end of an object.
    pub(super) fn delete(resource: &'a Resource, old: &'a Value, user: Option<&'a User>) -> Self {
        let namespace = meta::text(old, "namespace");
        let operation = Operation::Delete;
        Self { operation, resource, subresource: None, namespace, old: Some(old), user }
    }
}

impl Objects {
    /// The namespace of a write, if there is one.
    async fn namespace(&self, name: &str) -> Result<Option<Value>, Status> {
        let namespaces = Self::resource("", "namespaces");
        Ok(self.find(namespaces, "", name).await?.map(|found| found.object))
    }
}

/// Whether objects of a resource are pods: their specification is that of a pod itself, and not of
/// pods that they make.
fn is_pod(resource: &Resource) -> bool {
    resource.pod_spec == Some("/spec")
}
