//! Nothing is stored that goes beyond a quota of its namespace; what it uses is noted in the same
//! transaction.
//!
//! The rules are `bramble_master_core::admission::resource_quota`.

use async_trait::async_trait;
use bramble_api::Status;
use bramble_master_core::admission::resource_quota::{self as quota, Subject};
use bramble_store::{Class, Compare, Op};
use serde_json::Value;

use super::{Attempt, Operation, Plugin, Verdict};
use crate::objects::stored::encode;
use crate::objects::{ListOptions, Objects, meta};

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct ResourceQuota;

#[async_trait]
impl Plugin for ResourceQuota {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        let resource = attempt.resource;
        let changes = matches!(&*resource.plural, "services" | "persistentvolumeclaims");
        let resized = attempt.subresource == Some("resize");
        let written = match attempt.operation {
            Operation::Create => true,
            // Whatever else changes uses no more than before.
            Operation::Update => resource.group.is_empty() && (changes || resized),
            Operation::Delete => false,
        };
        // Events come and go by themselves.
        written
            && resource.namespaced
            && (attempt.subresource.is_none() || resized)
            && !resource.strategy.outlives_namespace
    }

    async fn validate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &Value,
        verdict: &mut Verdict,
    ) -> Result<(), Status> {
        let quotas = Objects::resource("", "resourcequotas");
        let listed = objects.list(quotas, attempt.namespace, &ListOptions::default()).await?;
        let resource = attempt.resource;
        let subject = Subject { group: &resource.group, plural: &resource.plural, object };
        for mut found in listed.items {
            let used = match quota::check(&found, subject, attempt.old) {
                quota::Verdict::Unconcerned => continue,
                quota::Verdict::Refused(why) => {
                    let name = meta::text(object, "name");
                    return Err(Status::forbidden(resource, name, &why));
                }
                quota::Verdict::Used(used) => used,
            };
            let key = quotas.key(attempt.namespace, meta::text(&found, "name"));
            let revision = meta::text(&found, "resourceVersion").parse().unwrap_or_default();
            if let Some(status) = meta::child(&mut found, "status") {
                status.insert("used".to_owned(), used);
            }
            let value = encode(quotas, &found)?.into();
            verdict.exchange.compares.push(Compare { key: key.clone(), mod_revision: revision });
            verdict.exchange.ops.push(Op::Put { key, value, class: Class::Intent });
        }
        Ok(())
    }
}
