//! The step from one state of an object to the next: one store transaction.

use bramble_api::{Resource, Status};
use bramble_store::{Class, Compare, KeyValue, Op, Revision, Txn, TxnReply};
use serde_json::Value;

use super::admission::Attempt;
use super::allocation::{self, Exchange};
use super::key::store_status;
use super::stored::{decode, encode, served};
use super::{Objects, Part, WriteOptions, addresses, meta};

/// Times that a write without a resource version is tried against concurrent writers.
pub(super) const ATTEMPTS_MAX: usize = 16;

/// An object as it was read.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The object, with its resource version.
    pub(super) object: Value,
    /// Revision of its last change.
    pub(super) revision: Revision,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was stored (or would have been, in a dry run), in this state.
    Stored(Value),
    /// It was the last change of an object that is being deleted: it is gone.
    Removed(Value),
    /// Someone else was faster.
    Conflict,
    /// Someone else was faster with what was to be taken besides.
    Outdated,
}

impl Objects {
    /// Reads an object for a change.
    pub(super) async fn load(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Loaded, Status> {
        self.find(resource, namespace, name).await?.ok_or_else(|| Status::not_found(resource, name))
    }

    /// Reads an object if it exists.
    pub(super) async fn find(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Loaded>, Status> {
        let entry: Option<KeyValue> =
            self.store.get(&resource.key(namespace, name)).await.map_err(store_status)?;
        entry
            .map(|entry| {
                Ok(Loaded {
                    revision: entry.mod_revision,
                    object: decode(&served(resource, entry)?)?,
                })
            })
            .transpose()
    }

    /// Stores a new object.
    pub(super) async fn insert(
        &self,
        resource: &Resource,
        object: Value,
        besides: &Exchange,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        let key = resource.key(meta::text(&object, "namespace"), meta::text(&object, "name"));
        for _ in 0..ATTEMPTS_MAX {
            let mut object = object.clone();
            if let Err(status) = self.deal(resource, None, &mut object).await {
                // An address that its namesake has is no news: that it exists already is.
                let present = self.store.get(&key).await.map_err(store_status)?;
                return if present.is_some() { Ok(Outcome::Conflict) } else { Err(status) };
            }
            if options.dry_run {
                let present = self.store.get(&key).await.map_err(store_status)?;
                let free = present.is_none();
                return Ok(if free { Outcome::Stored(object) } else { Outcome::Conflict });
            }
            let class = options.class.unwrap_or_else(|| class(resource, None, &object));
            let put = Op::Put { key: key.clone(), value: encode(resource, &object)?.into(), class };
            let exchange = allocation::exchange(resource, None, Some(&object)).and(besides);
            match self.transact(&key, 0, put, exchange).await? {
                Transacted::Done(revision) => {
                    return Ok(Outcome::Stored(with_revision(object, revision)));
                }
                Transacted::Changed => return Ok(Outcome::Conflict),
                Transacted::Outdated => return Ok(Outcome::Outdated),
                // What was dealt is gone by now; what was asked for is then refused.
                Transacted::Taken(_) if self.deals(resource) => {}
                Transacted::Taken(taken) => return Err(taken_status(resource, &object, &taken)),
            }
        }
        Err(Status::conflict_modified(resource, meta::text(&object, "name")))
    }

    /// Stores the next state of an object, or removes it when that was all it waited for.
    pub(super) async fn replace(
        &self,
        resource: &Resource,
        old: &Loaded,
        new: Value,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        self.replace_and_take(resource, old, new, &Exchange::default(), options).await
    }

    /// As [`Self::replace`], if the next state is admitted.
    pub(super) async fn admit_next(
        &self,
        resource: &Resource,
        old: &Loaded,
        new: Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        let attempt = Attempt::update(resource, part.subresource(), &old.object, options);
        for _ in 0..ATTEMPTS_MAX {
            let verdict = self.admission.validate(self, &attempt, &new).await?;
            let (new, besides) = (new.clone(), &verdict.exchange);
            match self.replace_and_take(resource, old, new, besides, options).await? {
                Outcome::Outdated => {}
                Outcome::Conflict => return Ok(Outcome::Conflict),
                done @ (Outcome::Stored(_) | Outcome::Removed(_)) => {
                    options.notes.add(verdict);
                    return Ok(done);
                }
            }
        }
        Ok(Outcome::Conflict)
    }

    async fn replace_and_take(
        &self,
        resource: &Resource,
        old: &Loaded,
        new: Value,
        besides: &Exchange,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        let grace_over = meta::number(&new, "deletionGracePeriodSeconds").unwrap_or(0) == 0;
        if meta::deleting(&new) && grace_over && !meta::held(resource, &new) {
            return self.remove(resource, old, new, options.dry_run).await;
        }
        let key = resource.key(meta::text(&new, "namespace"), meta::text(&new, "name"));
        for _ in 0..ATTEMPTS_MAX {
            let mut new = new.clone();
            self.deal(resource, Some(&old.object), &mut new).await?;
            if !meta::differ(&old.object, &new) {
                return Ok(Outcome::Stored(old.object.clone()));
            }
            if options.dry_run {
                return Ok(Outcome::Stored(new));
            }
            let class = options.class.unwrap_or_else(|| class(resource, Some(&old.object), &new));
            let put = Op::Put { key: key.clone(), value: encode(resource, &new)?.into(), class };
            let exchange =
                allocation::exchange(resource, Some(&old.object), Some(&new)).and(besides);
            match self.transact(&key, old.revision, put, exchange).await? {
                Transacted::Done(revision) => {
                    return Ok(Outcome::Stored(with_revision(new, revision)));
                }
                Transacted::Changed => return Ok(Outcome::Conflict),
                Transacted::Outdated => return Ok(Outcome::Outdated),
                Transacted::Taken(_) if self.deals(resource) => {}
                Transacted::Taken(taken) => return Err(taken_status(resource, &new, &taken)),
            }
        }
        Err(Status::conflict_modified(resource, meta::text(&new, "name")))
    }

    /// Removes an object; `last` is its last state.
    pub(super) async fn remove(
        &self,
        resource: &Resource,
        old: &Loaded,
        last: Value,
        dry_run: bool,
    ) -> Result<Outcome, Status> {
        if dry_run {
            return Ok(Outcome::Removed(last));
        }
        let key = resource.key(meta::text(&last, "namespace"), meta::text(&last, "name"));
        let delete = Op::Delete { key: key.clone() };
        let exchange = allocation::exchange(resource, Some(&old.object), None);
        match self.transact(&key, old.revision, delete, exchange).await? {
            Transacted::Done(revision) => Ok(Outcome::Removed(with_revision(last, revision))),
            Transacted::Changed | Transacted::Outdated | Transacted::Taken(_) => {
                Ok(Outcome::Conflict)
            }
        }
    }

    /// Deals what the object needs, given what is taken now.
    async fn deal(
        &self,
        resource: &Resource,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), Status> {
        if !self.deals(resource) {
            return Ok(());
        }
        let entries = self.allocated().await?;
        let mut taken = entries.iter().map(|entry| entry.key.to_string()).collect();
        self.addresses.deal(&mut taken, resource, old, new)
    }

    /// Whether objects of this resource are dealt what they hold, and so can be dealt anew.
    fn deals(&self, resource: &Resource) -> bool {
        addresses::is_service(resource)
    }

    async fn transact(
        &self,
        key: &str,
        mod_revision: Revision,
        op: Op,
        mut exchange: Exchange,
    ) -> Result<Transacted, Status> {
        // First, so that it is what a conflict speaks of.
        exchange.compares.insert(0, Compare { key: key.to_owned(), mod_revision });
        exchange.ops.insert(0, op);
        let txn = Txn { compares: exchange.compares, ops: exchange.ops };
        Ok(match self.store.txn(txn).await.map_err(store_status)? {
            TxnReply::Committed { revision } => Transacted::Done(revision),
            TxnReply::Conflict { key, .. } if allocation::is_allocation(&key) => {
                Transacted::Taken(key)
            }
            TxnReply::Conflict { key: found, .. } if found == key => Transacted::Changed,
            TxnReply::Conflict { .. } => Transacted::Outdated,
        })
    }
}

/// What became of a transaction.
enum Transacted {
    /// It was committed at this revision.
    Done(Revision),
    /// The object is not as it was read.
    Changed,
    /// Something else that the transaction was based on has changed.
    Outdated,
    /// Another object has what this one was to have; the key of that.
    Taken(String),
}

fn taken_status(resource: &Resource, object: &Value, key: &str) -> Status {
    allocation::taken(resource, meta::text(object, "name"), key)
}

fn with_revision(mut object: Value, revision: Revision) -> Value {
    meta::set(&mut object, "resourceVersion", Value::from(revision.to_string()));
    object
}

/// Returns how durable a client's write is.
///
/// Node leases and events live in memory. Any other Lease is somebody's leader election: a write
/// that only renews it may be lost, the holder may not.
fn class(resource: &Resource, old: Option<&Value>, new: &Value) -> Class {
    match (resource.strategy.class)(old, new) {
        bramble_api::Class::Intent => Class::Intent,
        bramble_api::Class::Reported => Class::Reported,
        bramble_api::Class::Volatile => Class::Volatile,
    }
}
