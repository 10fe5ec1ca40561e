//! Every pod runs as a service account of its namespace, and gets what that has for it.
//!
//! What it gets is `bramble_master_core::access::pod_account`.

use std::time::Duration;

use async_trait::async_trait;
use bramble_api::{Resource, Status};
use bramble_master_core::access::pod_account;
use serde_json::Value;

use super::{Attempt, Operation, Plugin, is_pod};
use crate::objects::{Objects, meta};
use crate::random;

/// Looks for the account of pods that name none, which a controller makes with the namespace.
const LOOKS_MAX: u32 = 10;
/// Pause between two looks; upstream takes between 100 and 200 ms.
const PAUSE: Duration = Duration::from_millis(150);

/// As upstream's plug-in of this name.
#[derive(Debug)]
pub(super) struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn concerns(&self, attempt: &Attempt<'_>) -> bool {
        attempt.operation == Operation::Create && is_pod(attempt.resource)
    }

    async fn mutate(
        &self,
        objects: &Objects,
        attempt: &Attempt<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let wanted = pod_account::wanted(object).to_owned();
        let account = find(objects, attempt.namespace, &wanted).await?;
        let pod = meta::text(object, "name").to_owned();
        let refuse = |why: &str| Status::forbidden(attempt.resource, &pod, why);
        let Some(account) = account else {
            let accounts: &Resource = Objects::resource("", "serviceaccounts");
            return Err(refuse(&format!(
                "error looking up service account {}/{wanted}: {} \"{wanted}\" not found",
                attempt.namespace, accounts.singular
            )));
        };
        if let Some(why) = pod_account::forbidden_secret(object, &account) {
            return Err(refuse(&why));
        }
        pod_account::add_token(object, &account, &random::name_suffix());
        pod_account::add_pull_secrets(object, &account);
        Ok(())
    }
}

/// Finds an account; waits a moment for the default one, which may be about to be made.
async fn find(objects: &Objects, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
    let accounts = Objects::resource("", "serviceaccounts");
    let looks_max = if name == pod_account::DEFAULT { LOOKS_MAX } else { 1 };
    for look in 1..=looks_max {
        if let Some(found) = objects.find(accounts, namespace, name).await? {
            return Ok(Some(found.object));
        }
        if look < looks_max {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(None)
}
