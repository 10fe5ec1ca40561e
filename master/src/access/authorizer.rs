//! What users may do: roles and bindings as the store has them, followed in memory.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bramble_api::Status;
use bramble_master_core::access::attributes::Attributes;
use bramble_master_core::access::rbac::{Decision, GROUP, Rbac, RoleRef};
use bramble_master_core::access::rule::Rule;
use bramble_master_core::access::user::User;
use bramble_store::{RangeRequest, Store, StoreError, Watch};
use embassy_time::{Duration, Timer};
use serde_json::{Value, json};

use crate::objects::{Objects, Part, WriteOptions};
use crate::telemetry::Chain;

/// Pause before the store is read again after its watch failed.
const RETRY: Duration = Duration::from_millis(200);

/// Decides who may do what.
#[derive(Debug, Default)]
pub(crate) struct Authorizer {
    index: RwLock<Rbac>,
}

impl Authorizer {
    /// Refuses what a user may not do.
    ///
    /// # Errors
    ///
    /// 403 in upstream's words.
    pub(crate) fn check(&self, user: &User, asked: &Attributes) -> Result<(), Status> {
        if user.administrator() {
            return Ok(());
        }
        let Err(reason) = self.read().check(user, asked) else { return Ok(()) };
        let why = asked.refusal(&user.name, &reason);
        Err(Status::forbidden_resource(&asked.group, &asked.resource, &asked.name, &why))
    }

    /// Whether a user may do something, and why.
    pub(crate) fn authorize(&self, user: &User, asked: &Attributes) -> Decision {
        if user.administrator() {
            return Decision::Allow { reason: String::new() };
        }
        self.read().authorize(user, asked)
    }

    /// All rules that a user has in a namespace, and what could not be looked at.
    pub(crate) fn rules_for(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        if user.administrator() {
            return (Rule::everything().to_vec(), Vec::new());
        }
        self.read().rules_for(user, namespace)
    }

    /// The rules of a role that a binding in this namespace names.
    pub(crate) fn rules_of(&self, namespace: &str, role: &RoleRef) -> Option<Arc<[Rule]>> {
        self.read().rules_of(namespace, role).cloned()
    }

    /// Reads all roles and bindings; returns the watch for what follows.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn load(&self, store: &dyn Store) -> Result<Box<dyn Watch>, StoreError> {
        let prefix = format!("/{GROUP}/");
        let request = RangeRequest { prefix: prefix.clone(), ..RangeRequest::default() };
        let reply = store.range(request).await?;
        let mut index = Rbac::default();
        for entry in &reply.entries {
            index.apply(&entry.key, Some(&entry.value));
        }
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        store.watch(&prefix, reply.revision).await
    }

    /// Follows roles and bindings, and gives aggregated cluster roles their rules; for ever.
    pub(crate) async fn follow(self: Arc<Self>, objects: Objects) {
        loop {
            if let Err(error) = self.follow_watch(&objects).await {
                if let StoreError::Stopped { .. } = error {
                    return;
                }
                tracing::warn!(error = %Chain(&error), "roles are read anew");
            }
            Timer::after(RETRY).await;
        }
    }

    async fn follow_watch(&self, objects: &Objects) -> Result<(), StoreError> {
        let mut watch = self.load(objects.store().as_ref()).await?;
        loop {
            self.aggregate(objects).await;
            let batch = watch.next().await?;
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            for event in batch.iter() {
                let value = event.current.as_ref().map(|entry| &*entry.value);
                index.apply(&event.key, value);
            }
        }
    }

    /// Writes the rules of aggregated roles; what comes of it comes back by the watch.
    async fn aggregate(&self, objects: &Objects) {
        let outdated = self.read().outdated_aggregates();
        let roles = Objects::resource(GROUP, "clusterroles");
        for (name, rules) in outdated {
            let change = move |role: &mut Value| {
                if let Some(fields) = role.as_object_mut() {
                    fields.insert("rules".to_owned(), json!(rules));
                }
                Ok(())
            };
            let options = WriteOptions::default();
            let written = objects.modify(roles, "", &name, Part::Main, &options, &change).await;
            if let Err(status) = written
                && status.code != 404
            {
                tracing::warn!(role = %name, %status, "an aggregated role could not be written");
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Rbac> {
        // A panic while it was changed left old or new entries, each whole.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}
