//! Counts what a namespace uses for a quota's status.
//!
//! The rules are `bramble_master_core::admission::resource_quota`.

use bramble_api::{Resource, Status};
use bramble_master_core::action::Target;
use bramble_master_core::admission::resource_quota::{self as quota, Subject};
use serde_json::Value;

use super::{ListOptions, Objects, Part, WriteOptions, meta};

impl Objects {
    /// Counts anew what a quota's namespace uses, and stores it if the quota says something else.
    ///
    /// # Errors
    ///
    /// When the quota is another one than when this was asked for, or the store fails.
    pub(crate) async fn recount_quota(&self, target: &Target) -> Result<(), Status> {
        let quotas = Self::resource("", "resourcequotas");
        let (namespace, name) = (&*target.namespace, &*target.name);
        let before = self.get(quotas, namespace, name).await?;
        let mut objects = Vec::new();
        for (group, plural) in quota::tracked(&before) {
            let tracks = |row: &&&'static Resource| row.group == group && row.plural == plural;
            let rows = bramble_api::registry::all();
            let Some(row) = rows.iter().find(tracks).filter(|row| row.namespaced) else { continue };
            let listed = self.list(row, namespace, &ListOptions::default()).await?.items;
            objects.extend(listed.into_iter().map(|object| (*row, object)));
        }
        let subjects = objects.iter().map(|(row, object)| Subject {
            group: row.group,
            plural: row.plural,
            object,
        });
        let status = quota::recount(&before, subjects);
        if before.get("status").is_some_and(|present| quota::same_status(present, &status)) {
            return Ok(());
        }
        // Whoever is admitted meanwhile changes the quota, and it is counted once more.
        let version = meta::text(&before, "resourceVersion").to_owned();
        let change = move |quota: &mut Value| {
            if meta::text(quota, "resourceVersion") != version {
                return Err(Status::conflict_modified(quotas, meta::text(quota, "name")));
            }
            if let Some(quota) = quota.as_object_mut() {
                quota.insert("status".to_owned(), status.clone());
            }
            Ok(())
        };
        let (options, part) = (WriteOptions::default(), Part::Status);
        self.modify(quotas, namespace, name, part, &options, &change).await.map(|_| ())
    }
}
