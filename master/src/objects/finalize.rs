//! Letting go of a namespace that is being deleted.

use bramble_api::Status;
use serde_json::Value;

use super::commit::{ATTEMPTS_MAX, Outcome};
use super::{Objects, WriteOptions, meta};

impl Objects {
    /// Sets `spec.finalizers` of a namespace; the last one removed removes the namespace.
    ///
    /// # Errors
    ///
    /// 404, or 409 when others keep changing it.
    pub(crate) async fn finalize_namespace(
        &self,
        name: &str,
        finalizers: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let namespaces = Self::resource("", "namespaces");
        for _ in 0..ATTEMPTS_MAX {
            let old = self.load(namespaces, "", name).await?;
            let mut new = old.object.clone();
            if let Some(spec) = meta::child(&mut new, "spec") {
                spec.insert("finalizers".to_owned(), finalizers.clone());
            }
            match self.replace(namespaces, &old, new, options).await? {
                Outcome::Stored(object) | Outcome::Removed(object) => return Ok(object),
                Outcome::Conflict | Outcome::Outdated => {}
            }
        }
        Err(Status::conflict_modified(namespaces, name))
    }
}
