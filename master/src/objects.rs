//! The object service: every read and write of API objects, for HTTP handlers and controllers.
//!
//! Applies what the API promises (defaulting, validation, generated names, uids, generations,
//! resource versions, finalizers, graceful deletion, cluster addresses) and turns it into store
//! transactions. Knows nothing of HTTP, and nothing of who is asking.
//!
//! Objects are `serde_json::Value`s as clients see them, with `metadata.resourceVersion`.
//! The namespace of a cluster-scoped resource is the empty string.

mod addresses;
mod admission;
mod allocation;
mod bind;
mod commit;
mod create;
mod delete;
mod evict;
mod finalize;
mod key;
mod list;
mod meta;
mod patch;
mod quota;
mod stored;
mod update;

use std::sync::Arc;

use bramble_api::{Registry, Resource, Status, registry};
use bramble_master_core::access::user::User;
use bramble_shared::link::Ipv4Range;
use bramble_store::{Class, KeyValue, Revision, Store};
use serde_json::Value;
use tokio::sync::watch;

use admission::Chain;

pub(crate) use addresses::{API_HOST, Addresses, DNS_HOST};
pub(crate) use admission::{AdmissionConfig, Notes};
pub(crate) use key::store_status;
pub(crate) use list::{List, ListOptions, Page, prefix};
pub(crate) use patch::{Patch, PatchRequest, Patched};
pub(crate) use stored::{Shape, append, append_at, decode, decode_for_columns, served};

/// The object service; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    store: Arc<dyn Store>,
    addresses: Arc<Addresses>,
    admission: Arc<Chain>,
    served: Arc<watch::Sender<Arc<Registry>>>,
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but `status`.
    Main,
    /// `status` only.
    Status,
    /// What the containers of a pod may use.
    Resize,
    /// The ephemeral containers of a pod.
    EphemeralContainers,
}

/// How a write is to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    /// Checks everything and stores nothing.
    pub(crate) dry_run: bool,
    /// Durability; `None` takes what is right for the resource when a client writes it
    /// (events and node leases are volatile, everything else is intent).
    pub(crate) class: Option<Class>,
    /// Who is to be named in `metadata.managedFields`; nobody for the master's own controllers.
    pub(crate) field_manager: Option<String>,
    /// Who asks; nobody for the master itself.
    pub(crate) user: Option<Arc<User>>,
    /// Where it is said what those think who admitted the write.
    pub(crate) notes: Notes,
}

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// The garbage collector deletes them later.
    #[default]
    Background,
    /// The object stays until they are gone.
    Foreground,
    /// They stay.
    Orphan,
}

/// How an object is to be deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// Seconds that a pod may take to end; `None` takes the pod's own, 0 removes it at once.
    pub(crate) grace_period_s: Option<i64>,
    /// Only if it has this uid.
    pub(crate) uid: Option<String>,
    /// Only if it has this resource version.
    pub(crate) resource_version: Option<String>,
    /// What becomes of its dependents.
    pub(crate) propagation: Option<Propagation>,
    /// Checks everything and stores nothing.
    pub(crate) dry_run: bool,
    /// Who asks; nobody for the master itself.
    pub(crate) user: Option<Arc<User>>,
}

impl Objects {
    /// Serves the objects in `store`, after putting right what is noted of addresses and ranges.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        service_range: Ipv4Range,
        node_port_range: (u16, u16),
    ) -> Result<Self, Status> {
        let addresses = Arc::new(Addresses::new(service_range, node_port_range));
        let admission = Arc::new(Chain::new(&AdmissionConfig::default()));
        let served = Arc::new(watch::Sender::new(Arc::clone(registry::built_in())));
        let objects = Self { store, addresses, admission, served };
        objects.repair_allocations().await?;
        Ok(objects)
    }

    /// Has writes admitted as an administrator wants it.
    pub(crate) fn with_admission(mut self, config: &AdmissionConfig) -> Self {
        self.admission = Arc::new(Chain::new(config));
        self
    }

    /// The store below, for watches.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The resources that are served now. Who answers a request asks once.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.served.borrow())
    }

    /// Has another set of resources served from now on.
    pub(crate) fn serve(&self, registry: Registry) {
        self.served.send_replace(Arc::new(registry));
    }

    /// Returns a built-in resource, by group (empty for core) and plural name.
    ///
    /// # Panics
    ///
    /// When there is none: callers name built-in resources only.
    pub(crate) fn resource(group: &str, plural: &str) -> &'static Arc<Resource> {
        key::built_in(group, plural)
    }

    /// Returns one object.
    ///
    /// # Errors
    ///
    /// 404 when it does not exist.
    pub(crate) async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Status> {
        self.get_object(resource, namespace, name).await
    }

    /// Returns the objects of a resource, in all namespaces if `namespace` is empty.
    ///
    /// # Errors
    ///
    /// 410 when the asked revision is compacted, 400 for a bad continue token.
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<List, Status> {
        self.list_objects(resource, namespace, options).await
    }

    /// Returns one object as it is stored.
    ///
    /// # Errors
    ///
    /// 404 when it does not exist.
    pub(crate) async fn get_entry(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<KeyValue, Status> {
        let found = self.store.get(&resource.key(namespace, name)).await.map_err(store_status)?;
        served(resource, found.ok_or_else(|| Status::not_found(resource, name))?)
    }

    /// Returns a page of the objects of a resource as they are stored, in all namespaces if
    /// `namespace` is empty.
    ///
    /// # Errors
    ///
    /// As [`Objects::list`].
    pub(crate) async fn page(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        self.list_entries(resource, namespace, options).await
    }

    /// Creates an object and returns it as stored.
    ///
    /// # Errors
    ///
    /// 409 `AlreadyExists`, 422 when it is not valid, 404 when its namespace does not exist.
    pub(crate) async fn create(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let (objects, resource) = (self.clone(), Arc::clone(resource));
        let (namespace, options) = (namespace.to_owned(), options.clone());
        to_the_end(
            async move { objects.create_object(&resource, &namespace, object, &options).await },
        )
        .await
    }

    /// Replaces an object, or its status. A `metadata.resourceVersion` in it must be the current.
    ///
    /// # Errors
    ///
    /// 404, 409 when it was changed meanwhile, 422 when it is not valid.
    pub(crate) async fn update(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        part: Part,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let (objects, resource) = (self.clone(), Arc::clone(resource));
        let (namespace, options) = (namespace.to_owned(), options.clone());
        to_the_end(async move {
            objects.update_object(&resource, &namespace, part, object, &options).await
        })
        .await
    }

    /// Reads an object, changes it with `change` and writes it back, again after a conflict.
    ///
    /// An unchanged object is not written.
    ///
    /// # Errors
    ///
    /// What `change` returns, or as [`Objects::update`].
    pub(crate) async fn modify(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        part: Part,
        options: &WriteOptions,
        change: &(dyn Fn(&mut Value) -> Result<(), Status> + Send + Sync),
    ) -> Result<Value, Status> {
        self.modify_object(resource, namespace, name, part, options, change).await
    }

    /// Applies a client's patch, again after a conflict. An apply patch may create the object.
    ///
    /// # Errors
    ///
    /// As [`Objects::update`], and 400 or 422 for a patch that does not apply.
    pub(crate) async fn patch(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &PatchRequest,
        options: &WriteOptions,
    ) -> Result<Patched, Status> {
        let (objects, resource) = (self.clone(), Arc::clone(resource));
        let (patch, options) = (patch.clone(), options.clone());
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        to_the_end(async move {
            objects.patch_object(&resource, &namespace, &name, part, &patch, &options).await
        })
        .await
    }

    /// Deletes an object, or marks it as being deleted: returns the last state, and whether it
    /// is gone.
    ///
    /// # Errors
    ///
    /// 404, or 409 when a precondition does not hold.
    pub(crate) async fn delete(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(Value, bool), Status> {
        let (objects, resource) = (self.clone(), Arc::clone(resource));
        let options = options.clone();
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        to_the_end(
            async move { objects.delete_object(&resource, &namespace, &name, &options).await },
        )
        .await
    }

    /// Removes a pod whose node says that nothing of it is left.
    ///
    /// Does nothing when it is gone already or is not being deleted; finalizers still hold it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn pod_removed(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), Status> {
        self.remove_pod(namespace, name, uid).await
    }

    /// Binds a pod to a node.
    ///
    /// # Errors
    ///
    /// 404, or 409 when it is bound already, is being deleted or has another uid.
    pub(crate) async fn bind(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        node: &str,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        self.bind_pod(namespace, name, uid, node, options).await
    }

    /// Deletes a pod on behalf of an eviction.
    ///
    /// # Errors
    ///
    /// As [`Objects::delete`], and 429 when a disruption budget forbids it.
    pub(crate) async fn evict(
        &self,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        self.evict_pod(namespace, name, options).await
    }

    /// Newest revision of the store.
    pub(crate) fn revision(&self) -> Revision {
        self.store.revision()
    }
}

/// Runs a write to its end, even if whoever asked for it goes away: an HTTP request is dropped with
/// its connection, and half of a write is worse than one that nobody hears of.
async fn to_the_end<T: Send + 'static>(
    write: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    match tokio::spawn(write).await {
        Ok(result) => result,
        // It was a panic, which is in the log; or the process ends.
        Err(_) => Err(Status::internal("the write did not end")),
    }
}
